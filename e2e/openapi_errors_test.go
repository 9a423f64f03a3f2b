package e2e_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/app/apptest"
	"freshet/auth"
	"freshet/config"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/ssetest"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// plain is a request of each operation that no error of its own stops.
var plain = map[string]struct{ target, body string }{
	"GET /event":               {"/event", ""},
	"GET /event/{topic}":       {"/event/news", ""},
	"POST /event":              {"/event", `{"topic":"news","data":"x"}`},
	"POST /event/{topic}":      {"/event/news", "x"},
	"DELETE /event/{topic}":    {"/event/news", ""},
	"GET /history":             {"/history", ""},
	"POST /ticket":             {"/ticket", `{"topics":["news"],"origin":"https://app.example"}`},
	"DELETE /ticket":           {"/ticket?subject=operator", ""},
	"DELETE /ticket/{id}":      {"/ticket/x", ""},
	"GET /connections":         {"/connections", ""},
	"DELETE /connections/{id}": {"/connections/x", ""},
	"GET /livez":               {"/livez", ""},
	"GET /readyz":              {"/readyz", ""},
	"GET /metrics":             {"/metrics", ""},
	"GET /backup":              {"/backup", ""},
	"GET /":                    {"/", ""},
	"GET /assets/{name}":       {"/assets/freshet.js", ""},
	"GET /openapi.yaml":        {"/openapi.yaml", ""},
}

// Each error that docs/openapi.yaml describes is provoked, and each response is as described.
func TestOpenAPIErrors(t *testing.T) {
	t.Parallel()
	x := newExchanges(t)
	synctest.Test(t, x.errorsOfEveryRoute)
	x.invalidRequests(t)
	x.fullServers(t)
	synctest.Test(t, x.errorsOfLimits)
	x.errorsOfTheLog(t)
	x.errorsOfNodes(t)
	synctest.Test(t, x.errorsOfSlowness)
	var missing []string
	for _, part := range x.unseen(t) {
		internal := strings.HasSuffix(part, " 500 internal") // any fault; some routes have none that a test can provoke
		if status := strings.Fields(part)[2]; status >= "400" && !internal {
			missing = append(missing, part)
		}
	}
	if diff := cmp.Diff([]string(nil), missing); diff != "" {
		t.Errorf("described, but not provoked:\n%s", diff)
	}
}

// bearer are the headers of a request with the token.
func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// errorsOfEveryRoute provokes the errors of the middleware, and of tokens that do not allow something.
func (x *exchanges) errorsOfEveryRoute(t *testing.T) {
	t.Helper()
	server := newInMemory(t, nil)
	closed := newInMemory(t, func(_ *handlers.Config, a *auth.Config, c *config.Config) {
		a.Anonymous, c.CORSOrigins = nil, []string{"https://app.example"}
	})
	guessed := newInMemory(t, nil)
	for n := range 21 {
		guessed.send(t, "GET", "/livez", "", bearer(fmt.Sprint("a-bad-token-", n))...)
	}
	without := newInMemory(t, func(_ *handlers.Config, a *auth.Config, _ *config.Config) {
		a.JWKSURL, a.Client = "https://keys.example", &http.Client{Transport: noServer{}}
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix()})
	token.Header["kid"] = "k"
	unchecked, err := token.SignedString(key)
	must(t, err)
	powerless, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"exp": time.Now().Add(time.Minute).Unix(), "sub": "u", "freshet": map[string]any{"publish": []string{}, "subscribe": []string{}},
	}).SignedString([]byte(jwtSecret))
	must(t, err)

	for route, p := range plain {
		responses := operations(x.api)[route].Responses
		separator := "?"
		if strings.Contains(p.target, "?") {
			separator = "&"
		}
		x.do(t, server, "401 unauthorized", route, p.target, p.body, bearer("a-bad-token")...)
		x.do(t, guessed, "429 too_many_failures", route, p.target, p.body, bearer("a-bad-token")...)
		x.do(t, closed, "403 origin", route, p.target, p.body, "Origin", "https://other.example")
		if responses.Status(http.StatusMisdirectedRequest) != nil {
			x.do(t, server, "421 unknown_host", route, p.target, p.body, "Host", "evil.example")
		}
		if responses.Status(http.StatusBadRequest) != nil {
			x.do(t, server, "400 malformed", route, p.target+separator+"%zz", p.body, bearer(inMemoryToken)...)
			x.do(t, server, "400 unknown_parameter", route, p.target+separator+"nonsense", p.body, bearer(inMemoryToken)...)
		}
		if strings.Contains(*responses.Status(http.StatusForbidden).Value.Description, "token") {
			target := p.target
			if route == "DELETE /ticket/{id}" {
				target = "/ticket/" + closed.ticket(t)
			}
			x.do(t, closed, "403 forbidden", route, target, p.body, bearer(powerless)...)
			x.do(t, closed, "401 unauthorized", route, target, p.body) // the token is missing
		}
	}
	for route, p := range plain { // each waits for the keys, and time changes the other responses
		x.do(t, without, "503 auth_unavailable", route, p.target, p.body, bearer(unchecked)...)
	}
}

// ticket returns the ID of a new ticket of the operator.
func (s *inMemory) ticket(t *testing.T) string {
	t.Helper()
	w := s.send(t, "POST", "/ticket", plain["POST /ticket"].body, bearer(inMemoryToken)...)
	var ticket struct{ ID string }
	must(t, json.Unmarshal(w.Body.Bytes(), &ticket))
	return ticket.ID
}

func (x *exchanges) invalidRequests(t *testing.T) {
	t.Helper()
	server := newInMemory(t, func(h *handlers.Config, _ *auth.Config, _ *config.Config) { h.MaxBody, h.CloudEvents = 1<<20, true })
	for _, c := range []struct{ want, route, target, body, header, value string }{
		{want: "400 invalid_topic", route: "GET /event", target: "/event?topic=a..b"},
		{want: "400 invalid_topic", route: "GET /event/{topic}", target: "/event/a..b"},
		{want: "400 invalid_topic", route: "GET /history", target: "/history?topic=a,b"},
		{want: "400 invalid_since", route: "GET /event", target: "/event?since=soon"},
		{want: "400 invalid_since", route: "GET /event/{topic}", target: "/event/news?since=soon"},
		{want: "400 invalid_merge", route: "GET /event", target: "/event?merge=x"},
		{want: "400 invalid_merge", route: "GET /event/{topic}", target: "/event/news?merge=x"},
		{want: "400 invalid_since", route: "GET /history", target: "/history?since=soon"},
		{want: "400 malformed", route: "GET /event", target: "/event", body: "a stream has no body"},
		{want: "400 malformed", route: "GET /history", target: "/history?ticket=x"}, // and a token
		{want: "400 invalid_limit", route: "GET /history", target: "/history?limit=0"},
		{want: "400 invalid_limit", route: "GET /connections", target: "/connections?limit=x"},
		{want: "400 invalid_topic", route: "POST /event/{topic}", target: "/event/a..b"},
		{want: "400 invalid_type", route: "POST /event/{topic}", target: "/event/news?type=%20"},
		{want: "400 invalid_type", route: "POST /event/{topic}", target: "/event/news", header: "Event-Type", value: "gap"},
		{want: "400 invalid_ttl", route: "POST /event/{topic}", target: "/event/news?ttl=0"},
		{want: "400 invalid_ttl", route: "POST /event/{topic}", target: "/event/news", header: "Event-TTL", value: "soon"},
		{want: "400 invalid_ttl", route: "POST /event", target: "/event", body: `{"topic":"news","data":"x","ttl":"0"}`},
		{want: "400 invalid_data", route: "POST /event/{topic}", target: "/event/news", body: "\xff"},
		{want: "400 invalid_idempotency_key", route: "POST /event/{topic}", target: "/event/news", header: "Idempotency-Key", value: "ü"},
		{want: "400 invalid_topic", route: "DELETE /event/{topic}", target: "/event/counter"},
		{want: "400 invalid_join", route: "POST /event/{topic}", target: "/event/news?join=text"},
		{want: "400 invalid_line", route: "POST /event/{topic}", target: "/event/news?line=2"},
		{want: "201", route: "POST /event/{topic}", target: "/event/ended?end"},
		{want: "409 ended", route: "POST /event/{topic}", target: "/event/ended"},
		{want: "409 ended", route: "POST /event", target: "/event", body: `{"topic":"ended","data":"x"}`},
		{want: "400 invalid_topic", route: "POST /event", target: "/event", body: `{"topic":"a..b","data":"x"}`},
		{want: "400 invalid_type", route: "POST /event", target: "/event", body: `{"topic":"news","type":"gap","data":"x"}`},
		{want: "400 invalid_data", route: "POST /event", target: "/event", body: `{"topic":"news"}`},
		{want: "400 malformed", route: "POST /event", target: "/event", body: `{}{}`},
		{want: "400 invalid_idempotency_key", route: "POST /event", target: "/event", header: "Idempotency-Key", value: "ü"},
		{want: "413 too_large", route: "POST /event/{topic}", target: "/event/news", body: strings.Repeat("x", 1<<20+1)},
		{want: "413 too_large", route: "POST /event", target: "/event", body: strings.Repeat("x", 1<<20+1)},
		{want: "413 too_many_events", route: "POST /event", target: "/event", body: strings.Repeat("{}\n", 100_001), header: "Content-Type", value: "application/x-ndjson"},
		{want: "413 too_many_events", route: "POST /event/{topic}", target: "/event/news", body: "[" + strings.Repeat("{},", 100_000) + "{}]", header: "Content-Type", value: "application/cloudevents-batch+json"},
		{want: "415 unsupported_format", route: "POST /event/{topic}", target: "/event/news", header: "Content-Type", value: "application/cloudevents+xml"},
		{want: "200 application/x-ndjson", route: "POST /event", target: "/event", body: "{}\n", header: "Content-Type", value: "application/x-ndjson"},
		{want: "413 too_large", route: "POST /ticket", target: "/ticket", body: strings.Repeat("x", 32<<10+1)},
		{want: "400 malformed", route: "POST /ticket", target: "/ticket", body: `{"topic":"news"}`},
		{want: "400 invalid_topic", route: "POST /ticket", target: "/ticket", body: `{"topics":["a..b"],"origin":"https://app.example"}`},
		{want: "400 invalid_topics", route: "POST /ticket", target: "/ticket", body: `{"topics":[],"origin":"https://app.example"}`},
		{want: "400 invalid_origin", route: "POST /ticket", target: "/ticket", body: `{}`},
		{want: "400 invalid_lifetime", route: "POST /ticket", target: "/ticket", body: `{"lifetime":"1y","origin":"https://app.example"}`},
		{want: "400 invalid_subject", route: "DELETE /ticket", target: "/ticket?subject=no+subject"},
		{want: "404 no_ticket", route: "DELETE /ticket/{id}", target: "/ticket/x"},
		{want: "404 no_connection", route: "DELETE /connections/{id}", target: "/connections/zz"},
		{want: "404 not_found", route: "GET /assets/{name}", target: "/assets/none.js"},
	} {
		headers := bearer(inMemoryToken)
		if c.header != "" {
			headers = append(headers, c.header, c.value)
		}
		x.do(t, server, c.want, c.route, c.target, c.body, headers...)
	}
}

// fullServers have one open stream, and refuse another one.
func (x *exchanges) fullServers(t *testing.T) {
	t.Helper()
	full := newInMemory(t, func(h *handlers.Config, _ *auth.Config, _ *config.Config) { h.MaxConnections = 1 })
	forAddress := newInMemory(t, func(h *handlers.Config, _ *auth.Config, _ *config.Config) { h.MaxConnectionsPerAddress = 1 })
	for s, want := range map[*inMemory]string{full: "503 full", forAddress: "429 too_many_connections"} {
		stream := ssetest.Get(t, s.router, "http://localhost/event/news")
		stream.Next() // it is open
		for _, route := range []string{"GET /event", "GET /event/{topic}"} {
			x.do(t, s, want, route, plain[route].target, "")
		}
		stream.Close()
	}
}

// errorsOfLimits provokes the errors of other limits, and of a server that stops. Time stands still, so nothing is allowed again.
func (x *exchanges) errorsOfLimits(t *testing.T) {
	limited := newInMemory(t, func(h *handlers.Config, _ *auth.Config, _ *config.Config) { h.PublishRate = 1 })
	for range 10 {
		x.do(t, limited, "201", "POST /event", "/event", plain["POST /event"].body, bearer(inMemoryToken)...)
	}
	for _, route := range []string{"POST /event", "POST /event/{topic}", "DELETE /event/{topic}"} {
		x.do(t, limited, "429 rate_limited", route, plain[route].target, plain[route].body, bearer(inMemoryToken)...)
	}

	// A subject has a burst of 200 tickets, and of 200 revocations.
	user := bearer(mint(t, time.Minute, "news", "news"))
	var own struct{ ID, Subject string }
	for range 200 {
		must(t, json.Unmarshal(limited.send(t, "POST", "/ticket", plain["POST /ticket"].body, user...).Body.Bytes(), &own))
		limited.send(t, "DELETE", "/ticket/"+own.ID, "", user...)
	}
	x.do(t, limited, "429 too_many_tickets", "POST /ticket", "/ticket", plain["POST /ticket"].body, user...)
	x.do(t, limited, "429 too_many_tickets", "DELETE /ticket/{id}", "/ticket/"+own.ID, "", user...)
	x.do(t, limited, "429 too_many_tickets", "DELETE /ticket", "/ticket?subject="+own.Subject, "", user...)

	// Of 17 history requests that wait for the log, one is refused.
	slow := newInMemory(t, nil)
	slow.log.Publish(t, "news", "x")
	wait := make(chan struct{})
	slow.log.OnRead = func() { <-wait }
	responses := make(chan *httptest.ResponseRecorder)
	for range 17 {
		go func() { responses <- slow.send(t, "GET", "/history", "") }()
	}
	x.check(t, "429 too_many_pages", "GET /history", (<-responses).Result())
	close(wait)
	for range 16 {
		<-responses
	}

	x.errorsOfBackups(t)
	must(t, slow.handlers.Drain(t.Context(), 0))
	x.do(t, slow, "503 draining", "GET /backup", "/backup", "", bearer(inMemoryToken)...)
	for _, route := range []string{"GET /event", "GET /event/{topic}", "GET /readyz"} {
		x.do(t, slow, "503 draining", route, plain[route].target, "")
	}
}

// errorsOfBackups provokes the errors of two backups at once, and of an old NATS.
func (x *exchanges) errorsOfBackups(t *testing.T) {
	t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	server := newInMemory(t, func(h *handlers.Config, _ *auth.Config, _ *config.Config) {
		h.Backup = func(context.Context) (*eventlog.Backup, error) {
			close(begun)
			<-end
			return nil, eventlog.ErrOldNATS
		}
	})
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- server.send(t, "GET", "/backup", "", bearer(inMemoryToken)...) }()
	<-begun
	x.do(t, server, "409 backup_running", "GET /backup", "/backup", "", bearer(inMemoryToken)...)
	close(end)
	x.check(t, "501 nats_too_old", "GET /backup", (<-first).Result())
}

// errorsOfTheLog provokes the errors of a log, and of a store of tickets, that fail.
func (x *exchanges) errorsOfTheLog(t *testing.T) {
	t.Helper()
	server := newInMemory(t, nil)
	boom := errors.New("the log has failed")
	ticket := "/ticket/" + server.ticket(t)
	operator := bearer(inMemoryToken)
	for err, want := range map[error]string{
		eventlog.ErrUnavailable: "503 log_unavailable", eventlog.ErrRefused: "503 nats_refused", eventlog.ErrFull: "507 log_full", boom: "500 internal",
	} {
		server.log.Fail(err)
		server.store.Fail(err)
		x.do(t, server, want, "POST /event", "/event", plain["POST /event"].body, operator...)
		x.do(t, server, want, "POST /event/{topic}", "/event/news", "x", operator...)
		x.do(t, server, want, "DELETE /event/{topic}", "/event/news", "", operator...)
		if !errors.Is(err, eventlog.ErrFull) { // reading needs no space
			x.do(t, server, want, "GET /event", "/event?since=all", "")
			x.do(t, server, want, "GET /event/{topic}", "/event/news?since=all", "")
			x.do(t, server, want, "GET /history", "/history", "")
			x.do(t, server, want, "GET /backup", "/backup", "", operator...)
		}
		ready := "503 not_ready"
		if errors.Is(err, eventlog.ErrRefused) {
			ready = want
		}
		x.do(t, server, ready, "GET /readyz", "/readyz", "")
		want = strings.Replace(want, "log_full", "tickets_full", 1)
		x.do(t, server, want, "DELETE /ticket", "/ticket?subject=operator", "", operator...)
		x.do(t, server, want, "DELETE /ticket/{id}", ticket, "", operator...)
	}
	server.log.Fail(eventlog.ErrNoTTL)
	x.do(t, server, "501 no_ttl", "POST /event", "/event", plain["POST /event"].body, operator...)
	x.do(t, server, "501 no_ttl", "POST /event/{topic}", "/event/news", "x", operator...)
}

// errorsOfNodes provokes the errors of nodes that do not exist, do not answer, or share a name.
func (x *exchanges) errorsOfNodes(t *testing.T) {
	t.Helper()
	server := newInMemory(t, nil)
	heard := func() bool {
		return strings.Contains(server.send(t, "GET", "/connections", "", bearer(inMemoryToken)...).Body.String(), `"node_id":"b"`)
	}
	must(t, apptest.Until(t.Context(), heard))
	for node, want := range map[string]string{"none": "404 no_node", "twin": "400 invalid_node", "a": "504 node_unreachable"} {
		for _, route := range []string{"GET /connections", "DELETE /connections/{id}"} {
			x.do(t, server, want, route, plain[route].target+"?node="+node, "", bearer(inMemoryToken)...)
		}
	}
}

// errorsOfSlowness provokes the errors of bodies that take longer than the server waits, and of a page that gets no turn in time.
func (x *exchanges) errorsOfSlowness(t *testing.T) {
	server, _ := servePipes(t, inMemoryToken)
	for _, route := range []string{"POST /event", "POST /event/{topic}", "POST /ticket"} {
		conn := server.dial(t, "POST "+plain[route].target+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+inMemoryToken+"\r\nContent-Length: 10\r\n\r\nx")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		x.check(t, "408 timeout", route, response)
		must(t, conn.Close())
	}
	slow := newInMemory(t, nil)
	slow.log.Publish(t, "news", "x")
	slow.log.OnRead = func() { <-time.After(time.Minute) }
	ended := make(chan struct{})
	go func() {
		slow.send(t, "GET", "/history", "")
		close(ended)
	}()
	synctest.Wait() // it reads
	x.do(t, slow, "503 busy", "GET /history", "/history?cursor=10-0", "")
	<-ended
}

// noServer is the transport of a network without servers.
type noServer struct{}

func (noServer) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no server") }
