package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/assets"

	"github.com/getkin/kin-openapi/openapi3"
)

// Each example of docs/openapi.yaml works on a real server, and each response that is no error has its description.
func TestOpenAPIExamples(t *testing.T) {
	t.Parallel()
	source := apptest.Start(t, t.TempDir(), "")
	server := apptest.Start(t, t.TempDir(), "", "--cloudevents", "--relay", "other="+source.URL+"/event/news", "--max-connections", "20")
	c := &openAPIClient{exchanges: newExchanges(t), server: server}
	for _, topic := range []string{"news", "orders.eu.new"} {
		_, err := server.Publish(t.Context(), topic, "", "hello", "")
		must(t, err)
	}
	for _, route := range slices.Sorted(maps.Keys(operations(c.api))) {
		for _, e := range c.examples(t, route) {
			c.send(t, route, e)
		}
	}
	c.otherSuccesses(t)
	for _, part := range c.unseen(t) {
		if status := strings.Fields(part)[2]; status < "400" {
			t.Errorf("no response was %s", part)
		}
	}
	for _, part := range []string{"GET /event gap", "GET /event busy", "GET /event stats", "GET /history gap"} {
		if !c.seen[part] {
			t.Errorf("no response of %s", part)
		}
	}
}

// openAPIClient sends requests to a server.
type openAPIClient struct {
	*exchanges
	server *apptest.Server
}

// example is a request. Its query and headers are those of the parameters in an example.
type example struct {
	path      string
	query     url.Values
	header    http.Header
	body      string
	want      string // empty: any success
	anonymous bool
	until     string // a type of event that a stream has
}

func (e example) clone() example {
	e.query, e.header = url.Values(http.Header(e.query).Clone()), e.header.Clone()
	return e
}

// examples are one request with the required parameters, and one for each example of a body and of an optional parameter.
func (c *openAPIClient) examples(t *testing.T, route string) (all []example) {
	t.Helper()
	_, path, _ := strings.Cut(route, " ")
	operation := operations(c.api)[route]
	anonymous := slices.ContainsFunc(*operation.Security, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 })
	required := example{path: path, query: url.Values{}, header: http.Header{}, anonymous: anonymous}
	var optional []*openapi3.Parameter
	for _, p := range parametersOf(c.api, route) {
		switch values := examplesOf(p.Example, p.Examples); {
		case p.In == openapi3.ParameterInPath && values != nil:
			required.path = strings.ReplaceAll(required.path, "{"+p.Name+"}", url.PathEscape(fmt.Sprint(values[0])))
		case p.In == openapi3.ParameterInPath: // send replaces it
		case p.Required:
			required.query.Set(p.Name, fmt.Sprint(values[0]))
		default:
			optional = append(optional, p)
		}
	}
	if operation.RequestBody != nil {
		contents := operation.RequestBody.Value.Content
		for _, mediaType := range slices.Sorted(maps.Keys(contents)) {
			content := contents[mediaType]
			for _, value := range examplesOf(content.Example, content.Examples) {
				e := required.clone()
				e.header.Set("Content-Type", mediaType)
				text, isText := value.(string)
				if !isText || mediaType == "application/json" {
					encoded, err := json.Marshal(value)
					must(t, err)
					text = string(encoded)
				}
				e.body = text
				all = append(all, e)
			}
		}
		last := all[len(all)-1] // text/plain, if there is one: every header goes with it
		required.header, required.body = last.header.Clone(), last.body
	} else {
		all = append(all, required)
	}
	for _, p := range optional {
		for _, value := range examplesOf(p.Example, p.Examples) {
			e := required.clone()
			values, several := value.([]any)
			if !several {
				values = []any{value}
			}
			for _, value := range values {
				if p.In == openapi3.ParameterInHeader {
					e.header.Set(p.Name, fmt.Sprint(value))
				} else {
					e.query.Add(p.Name, fmt.Sprint(value))
				}
			}
			if value == "stats" || several && values[0] == "stats" {
				e.until = "stats"
			}
			all = append(all, e)
		}
	}
	return all
}

func examplesOf(one any, several openapi3.Examples) (values []any) {
	if one != nil {
		values = append(values, one)
	}
	for _, e := range several {
		values = append(values, e.Value.Value)
	}
	return values
}

// id is the ID of a new ticket or stream, for the operation that ends it.
func (c *openAPIClient) id(t *testing.T, route string) string {
	t.Helper()
	if strings.Contains(route, "/ticket/") {
		return c.ticket(t)["id"].(string)
	}
	return c.open(t, example{path: "/event/news", anonymous: true}).Header.Get("Freshet-Stream")
}

// ticket is a new ticket for all topics.
func (c *openAPIClient) ticket(t *testing.T) map[string]any {
	t.Helper()
	response := c.request(t, http.MethodPost, example{path: "/ticket", body: `{"origin":"` + c.server.URL + `"}`})
	defer func() { _ = response.Body.Close() }() // read to its end
	var ticket map[string]any
	must(t, json.NewDecoder(response.Body).Decode(&ticket))
	return ticket
}

// open opens a stream, until the test ends.
func (c *openAPIClient) open(t *testing.T, e example) *http.Response {
	t.Helper()
	response := c.request(t, http.MethodGet, e)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func (c *openAPIClient) request(t *testing.T, method string, e example) *http.Response {
	t.Helper()
	target := c.server.URL + e.path
	if len(e.query) > 0 {
		target += "?" + e.query.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(e.body))
	must(t, err)
	maps.Copy(r.Header, e.header)
	if !e.anonymous {
		r.Header.Set("Authorization", "Bearer "+c.server.Token)
	}
	response, err := c.server.HTTP.Do(r)
	must(t, err)
	return response
}

// send sends the request, and checks the response.
func (c *openAPIClient) send(t *testing.T, route string, e example) {
	t.Helper()
	method, _, _ := strings.Cut(route, " ")
	if strings.Contains(e.path, "{id}") {
		e.path = strings.ReplaceAll(e.path, "{id}", c.id(t, route))
	}
	response := c.request(t, method, e)
	if response.StatusCode >= 400 && e.want == "" {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("%s %+v: %s %s", route, e, response.Status, body)
	}
	if strings.HasPrefix(route, "GET /event") && e.want == "" {
		c.checkStream(t, route, e.until, response)
		return
	}
	want := e.want
	if want == "" {
		want = fmt.Sprint(response.StatusCode)
	}
	c.check(t, want, route, response)
}

// otherSuccesses sends requests for the responses that no example has.
func (c *openAPIClient) otherSuccesses(t *testing.T) {
	t.Helper()
	key, lines := http.Header{"Idempotency-Key": {"twice"}}, http.Header{"Accept": {"application/x-ndjson"}}
	for _, want := range []string{"201", "200"} {
		c.send(t, "POST /event", example{path: "/event", header: key, body: `{"topic":"news","data":"x"}`, want: want + " application/json"})
		c.send(t, "POST /event/{topic}", example{path: "/event/sport", header: key, body: "x", want: want + " application/json"})
	}
	for _, topic := range []string{"", "/{topic}"} {
		path := "/event" + strings.Replace(topic, "{topic}", "news", 1)
		c.send(t, "GET /event"+topic, example{path: path, header: lines, query: url.Values{"last_event_id": {"nonsense"}}, until: "gap"})
		c.send(t, "GET /event"+topic, example{path: path, query: url.Values{"last_event_id": {"nonsense"}}, until: "gap"})
	}
	c.send(t, "GET /history", example{path: "/history", header: lines, query: url.Values{"cursor": {"nonsense"}}, want: "200 application/x-ndjson"})

	// A topic that ends, with a last event, and readers that have all of it.
	open := c.open(t, example{path: "/event/closing", anonymous: true})
	c.send(t, "POST /event/{topic}", example{path: "/event/closing", query: url.Values{"end": {""}}, body: "bye", want: "201 application/json"})
	c.checkStream(t, "GET /event/{topic}", "end", open)
	c.send(t, "GET /event/{topic}", example{path: "/event/closing", want: "204"})
	c.send(t, "GET /event", example{path: "/event", query: url.Values{"topic": {"closing"}}, want: "204"})
	c.send(t, "DELETE /event/{topic}", example{path: "/event/closing", want: "200 application/json"})
	c.send(t, "GET /event/{topic}", example{path: "/event/closing", query: url.Values{"since": {"all"}}, until: "gap"})

	// A ticket, with which nothing but streams and history can be read.
	ticket := c.ticket(t)
	fromPage := http.Header{"Origin": {c.server.URL}}
	for route, path := range map[string]string{"GET /event": "/event", "GET /event/{topic}": "/event/news", "GET /history": "/history"} {
		c.send(t, route, example{path: path, query: url.Values{"ticket": {ticket["ticket"].(string)}}, header: fromPage, anonymous: true})
	}
	open = c.open(t, example{path: "/event/news", query: url.Values{"ticket": {ticket["ticket"].(string)}}, header: fromPage, anonymous: true})
	c.send(t, "DELETE /ticket/{id}", example{path: "/ticket/" + ticket["id"].(string), want: "204"})
	c.checkStream(t, "GET /event/{topic}", "auth-expired", open)

	// A stream that an operator ends, by the cookie of a page.
	open = c.open(t, example{path: "/event/news", anonymous: true})
	fromPage.Set("Cookie", "freshet_token="+c.server.Token)
	c.send(t, "GET /connections", example{path: "/connections", header: fromPage, anonymous: true, want: "200 application/json"})
	c.send(t, "DELETE /connections/{id}", example{path: "/connections/" + open.Header.Get("Freshet-Stream"), header: fromPage, anonymous: true, want: "204"})
	c.checkStream(t, "GET /event/{topic}", "drain", open)

	c.send(t, "GET /", example{path: "/", anonymous: true, want: "200 text/html"})
	must(t, fs.WalkDir(assets.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			c.send(t, "GET /assets/{name}", example{path: "/assets/" + name, anonymous: true})
		}
		return err
	}))
	for route, path := range map[string]string{"GET /": "/", "GET /assets/{name}": "/assets/freshet.js", "GET /openapi.yaml": "/openapi.yaml"} {
		first := c.request(t, http.MethodGet, example{path: path})
		_ = first.Body.Close() // only its headers matter
		c.send(t, route, example{path: path, header: http.Header{"If-None-Match": first.Header["Etag"]}, want: "304"})
	}

	eventSource := http.Header{"Accept": {"text/event-stream"}}
	for range 20 {
		c.open(t, example{path: "/event/news", header: eventSource})
	}
	c.send(t, "GET /event", example{path: "/event", header: eventSource, until: "busy"})
	c.send(t, "GET /event/{topic}", example{path: "/event/news", header: eventSource, until: "busy"})
}

// The served document is the one in docs/.
func TestOpenAPIIsServed(t *testing.T) {
	t.Parallel()
	a := apptest.Wire(t, io.Discard, "--anonymous", "none")
	w := a.Do("GET", "/openapi.yaml", "", "Accept-Encoding", "gzip", "Origin", "https://else.example")
	if h := w.Header(); w.Code != http.StatusOK || h.Get("Content-Encoding") != "gzip" || h.Get("ETag") == "" || h.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", w.Code, h)
	}
	if w := a.Get("/openapi.yaml"); !bytes.Equal(w.Body.Bytes(), []byte(read(t, "docs/openapi.yaml"))) {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}
