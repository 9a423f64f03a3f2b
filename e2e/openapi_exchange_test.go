package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// exchanges compares responses with the description, and remembers the parts of it that have been seen.
type exchanges struct {
	api  *openapi3.T
	seen map[string]bool // "GET /history 200 application/json", or "GET /history 400 malformed"
}

func newExchanges(t *testing.T) *exchanges {
	t.Helper()
	return &exchanges{apiDescription(t), map[string]bool{}}
}

// described are all parts of the description that a response can have.
func (x *exchanges) described(t *testing.T) (parts []string) {
	t.Helper()
	for route, operation := range operations(x.api) {
		for _, key := range describedErrors(t, operation) {
			parts = append(parts, route+" "+key)
		}
		for status, response := range operation.Responses.Map() {
			switch {
			case status >= "400":
			case len(response.Value.Content) == 0:
				parts = append(parts, route+" "+status)
			}
			for mediaType := range response.Value.Content {
				if status < "400" {
					parts = append(parts, route+" "+status+" "+mediaType)
				}
			}
		}
	}
	slices.Sort(parts)
	return parts
}

// unseen are the described parts that no response has had.
func (x *exchanges) unseen(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(x.described(t), func(part string) bool { return x.seen[part] })
}

// do sends the request to the server, and checks the response, which has to have the status and the error code, as in "400 malformed", or the
// status alone. The route is the operation's, and the headers are names and values in turn.
func (x *exchanges) do(t *testing.T, server *inMemory, want, route, target, body string, headers ...string) {
	t.Helper()
	method, _, _ := strings.Cut(route, " ")
	x.check(t, want, route, server.send(t, method, target, body, headers...).Result())
}

// check checks a whole response.
func (x *exchanges) check(t *testing.T, want, route string, response *http.Response) {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	_ = response.Body.Close() // read to its end
	content := x.checkHead(t, want, route, response)
	if content == nil {
		if len(body) > 0 {
			t.Errorf("%s: %d has a body, which is not described: %.200s", route, response.StatusCode, body)
		}
		return
	}
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	part := mediaType
	switch mediaType {
	case "application/json":
		value := x.checkJSON(t, route, content.Schema, body)
		if failure, ok := value["error"].(map[string]any); ok {
			part = fmt.Sprint(failure["code"])
		}
		events, _ := value["events"].([]any)
		for _, e := range events {
			fields, _ := e.(map[string]any)
			x.checkData(t, route, fmt.Sprint(fields["type"]), fields["data"])
		}
	case "application/x-ndjson":
		for line := range bytes.Lines(body) {
			x.checkItem(t, route, content.Schema.Value.ContentSchema.Value.Items, line)
		}
	case "text/event-stream":
		t.Errorf("%s: a stream, want %s", route, want)
	}
	x.see(t, want, route, response.StatusCode, part)
}

func (x *exchanges) see(t *testing.T, want, route string, status int, part string) {
	t.Helper()
	got := strconv.Itoa(status)
	if part != "" {
		got += " " + part
	}
	if got != want && strconv.Itoa(status) != want {
		t.Errorf("%s: %s, want %s", route, got, want)
	}
	x.seen[route+" "+got] = true
}

// checkHead checks the status, the headers and the media type. It returns the description of the body; nil if there is none.
func (x *exchanges) checkHead(t *testing.T, want, route string, response *http.Response) *openapi3.MediaType {
	t.Helper()
	operation := operations(x.api)[route]
	described := operation.Responses.Status(response.StatusCode)
	if described == nil {
		t.Fatalf("%s: status %d is not described; want %s", route, response.StatusCode, want)
	}
	for name, header := range described.Value.Headers {
		text := response.Header.Get(name)
		if text == "" {
			if header.Value.Required {
				t.Errorf("%s: %d without %s", route, response.StatusCode, name)
			}
			continue
		}
		var value any = text
		if header.Value.Schema.Value.Type.Is("integer") {
			value, _ = strconv.ParseFloat(text, 64) // 0 is too little
		}
		if err := header.Value.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s: %d, %s %q: %v", route, response.StatusCode, name, text, err)
		}
	}
	inAll := []string{"X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy"}
	ofHTTP := []string{"Accept-Ranges", "Connection", "Content-Length", "Content-Type", "Date", "Vary"}
	for _, name := range inAll {
		if response.Header.Get(name) == "" || !strings.Contains(x.api.Info.Description, "`"+name) {
			t.Errorf("%s: %d, %s is not in every response, or not described", route, response.StatusCode, name)
		}
	}
	for name := range response.Header {
		isDescribed := slices.ContainsFunc(slices.Collect(maps.Keys(described.Value.Headers)), func(d string) bool { return strings.EqualFold(d, name) })
		if !isDescribed && !slices.Contains(inAll, name) && !slices.Contains(ofHTTP, name) && !strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: %d, the header %s is not described", route, response.StatusCode, name)
		}
	}
	if len(described.Value.Content) == 0 {
		x.see(t, want, route, response.StatusCode, "")
		return nil
	}
	contentType := response.Header.Get("Content-Type")
	mediaType, _, err := mime.ParseMediaType(contentType)
	content := described.Value.Content[mediaType]
	if err != nil || content == nil {
		t.Fatalf("%s: %d, the media type %q is not described", route, response.StatusCode, contentType)
	}
	return content
}

// checkJSON checks a JSON text. An object may have no field that is not described.
func (x *exchanges) checkJSON(t *testing.T, where string, schema *openapi3.SchemaRef, text []byte) map[string]any {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Errorf("%s: %v in %.200s", where, err, text)
	}
	if err := schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	for _, field := range unknownFields([]*openapi3.SchemaRef{schema}, value) {
		t.Errorf("%s: the field %s is not described", where, field)
	}
	object, _ := value.(map[string]any)
	return object
}

// unknownFields are the fields of the value that none of the schemas describes.
func unknownFields(schemas []*openapi3.SchemaRef, value any) (unknown []string) {
	for i := 0; i < len(schemas); i++ { // appended to below
		schemas = append(schemas, slices.Concat(schemas[i].Value.AllOf, schemas[i].Value.OneOf)...)
	}
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			var fields []*openapi3.SchemaRef
			for _, schema := range schemas {
				if property := schema.Value.Properties[name]; property != nil {
					fields = append(fields, property)
				}
			}
			if len(fields) == 0 {
				unknown = append(unknown, name)
			}
			unknown = append(unknown, unknownFields(fields, field)...)
		}
	case []any:
		for _, item := range value {
			for _, schema := range schemas {
				if schema.Value.Items != nil {
					unknown = append(unknown, unknownFields([]*openapi3.SchemaRef{schema.Value.Items}, item)...)
				}
			}
		}
	}
	return unknown
}

// checkItem checks a frame, in the form of JSON, or a line. It returns the event type.
func (x *exchanges) checkItem(t *testing.T, where string, schema *openapi3.SchemaRef, text []byte) (eventType string) {
	t.Helper()
	item := x.checkJSON(t, where, schema, text)
	eventType = fmt.Sprint(item["type"])
	if item["type"] == nil {
		eventType = fmt.Sprint(item["event"])
	}
	x.checkData(t, where, eventType, item["data"])
	return eventType
}

// checkData checks the data of an event if it is one of the server's own.
func (x *exchanges) checkData(t *testing.T, where, eventType string, data any) {
	t.Helper()
	own := x.api.Components.Schemas[map[string]string{"gap": "Gap", "end": "End", "busy": "Busy", "stats": "Stats"}[eventType]]
	if own == nil {
		return
	}
	x.checkJSON(t, where+", "+eventType, own, []byte(fmt.Sprint(data)))
	x.seen[where+" "+eventType] = true
}

// checkStream checks a stream until it has an event of the type, and at least three frames or lines; no type stands for any. It closes the stream.
func (x *exchanges) checkStream(t *testing.T, route, until string, response *http.Response) {
	t.Helper()
	defer func() { _ = response.Body.Close() }() // the rest does not matter
	content := x.checkHead(t, "200", route, response)
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	x.see(t, "200", route, response.StatusCode, mediaType)
	items := content.Schema.Value.ContentSchema.Value.Items
	lines := bufio.NewScanner(response.Body)
	frame, number := map[string]any{}, 0
	for (number < 3 || until != "") && lines.Scan() {
		text := lines.Bytes()
		if mediaType == "text/event-stream" {
			name, value, isField := strings.Cut(lines.Text(), ": ")
			if isField {
				frame[name] = value
				if ms, err := strconv.Atoi(value); err == nil && name == "retry" {
					frame[name] = ms
				}
				continue
			}
			text, _ = json.Marshal(frame) // of strings and a number
			frame = map[string]any{}
		}
		number++
		if x.checkItem(t, route, items, text) == until {
			until = ""
		}
	}
	if until != "" {
		t.Errorf("%s: the stream ended without %q: %v", route, until, lines.Err())
	}
}
