package main_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/ssetest"

	"github.com/gin-gonic/gin"
	"github.com/nats-io/nats-server/v2/server"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// A page whose name was pointed at this server is of the same origin for the browser, so CORS does not stop it.
func TestAReboundNameReadsNothing(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	a := apptest.Wire(t, io.Discard, "--cors-origin", "https://app.example", "--host", "events.example.org")
	for host, want := range map[string]int{
		"evil.example:8080": http.StatusMisdirectedRequest, "events.example.org:8080": http.StatusOK, "localhost:8080": http.StatusOK,
		"127.0.0.1:8080": http.StatusOK, machine: http.StatusOK, machine + ".local": http.StatusOK,
	} {
		if w := a.Do(http.MethodGet, "http://"+host+"/history", "", "Origin", "http://"+host); w.Code != want || w.Header().Get("X-Content-Type-Options") == "" {
			t.Errorf("%s: %d %s", host, w.Code, w.Body)
		}
	}
}

func TestTheWiredApplication(t *testing.T) {
	var logged apptest.Buffer
	a := apptest.Wire(t, &logged, "--cors-origin", "*", "--cors-origin", "https://partner.example")
	stream := ssetest.Get(t, a, "/event", "Origin", "https://else.example")
	if h := stream.Header(); h.Get("Access-Control-Allow-Origin") != "*" || h.Get("X-Request-ID") == "" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a stream of another origin: %v", h)
	}
	first := stream.Next()
	if count := stream.NextEvent(); count.Data != "1" || count.Type != "message" {
		t.Errorf("count %+v", count)
	}

	for _, c := range []struct {
		origin string
		want   int
	}{{"", 201}, {"http://example.com", 201}, {"https://partner.example", 201}, {"https://else.example", 403}} {
		w := a.Publish("news", "from "+c.origin, "Origin", c.origin)
		if w.Code != c.want {
			t.Errorf("published from origin %q: %d %s", c.origin, w.Code, w.Body)
		}
	}
	if w := a.Publish("news", "x", "Authorization", "Bearer wrong"); w.Code != http.StatusUnauthorized {
		t.Errorf("with a wrong token: %d", w.Code)
	}
	for _, origin := range []string{"", "http://example.com", "https://partner.example"} {
		f := stream.NextEvent()
		for f.Type == "message" {
			f = stream.NextEvent() // a count
		}
		if f.Type != "news" || f.Data != "from "+origin {
			t.Errorf("event %+v, want the one from %q", f, origin)
		}
	}
	if w := a.Get("/"); w.Code != 200 || !strings.Contains(w.Body.String(), `id="cnt"`) || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("the page: %d %v", w.Code, w.Header())
	}
	// Pages of other origins import the client module.
	for _, origin := range []string{"https://else.example", "https://partner.example"} {
		r := httptest.NewRequest(http.MethodGet, "/assets/freshet.js", nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		h := w.Header()
		allowed := h.Get("Access-Control-Allow-Origin")
		if w.Code != 200 || allowed != "*" && allowed != origin || h.Get("Content-Type") != "text/javascript; charset=utf-8" ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("ETag") == "" || h.Get("Cache-Control") != "no-cache" {
			t.Errorf("the module for %s: %d %v", origin, w.Code, h)
		}
	}
	if w := a.Get("/readyz"); w.Code != 200 {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]int{"/nowhere": 404, "/history/x": 404} {
		if w := a.Get(path); w.Code != want || !strings.Contains(w.Body.String(), `{"error":{"code":`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := a.Get("/event?ticket=secret-ticket"); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "secret-ticket") {
		t.Errorf("with a bad ticket: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest(http.MethodPut, "/event", nil)
	w := httptest.NewRecorder()
	if a.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("PUT /event: %d %v", w.Code, w.Header())
	}
	stream.Close()

	log := logged.String()
	for _, want := range []string{"stream opened", "stream closed", "reason=gone", "from=" + first.ID, "events="} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	for _, secret := range []string{a.PublishToken(), "secret-ticket", "Bearer"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log says %q:\n%s", secret, log)
		}
	}
}

// One node's events reach the readers of all, and a reader of one resumes on another.
func TestTwoNodes(t *testing.T) {
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	a := apptest.Wire(t, io.Discard, "--nats", nats.ClientURL(), "--counter-interval", "0")
	b := apptest.Wire(t, io.Discard, "--nats", nats.ClientURL(), "--counter-interval", "0")

	onA := ssetest.Get(t, a, "/event/news")
	onA.Next()
	onB := ssetest.Get(t, b, "/event/news")
	onB.Next()
	a.Publish("news", "1")
	b.Publish("news", "2")
	for _, stream := range []*ssetest.Stream{onA, onB} {
		if first, second := stream.NextEvent(), stream.NextEvent(); first.Data != "1" || second.Data != "2" {
			t.Errorf("events %+v, %+v", first, second)
		}
	}
	a.Publish("news", "3")
	third := onA.NextEvent()
	onA.Close()
	a.Publish("news", "4")
	resumed := ssetest.Get(t, b, "/event/news", "Last-Event-ID", third.ID)
	if f := resumed.NextEvent(); f.Data != "4" {
		t.Errorf("resumed on the other node with %+v", f)
	}
	// Ahead of what this node may have seen yet, and no gap.
	w := a.Publish("news", "5")
	id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(w.Body.String())[1]
	ahead := ssetest.Get(t, b, "/event/news", "Last-Event-ID", id)
	a.Publish("news", "6")
	if f := ahead.NextEvent(); f.Data != "6" {
		t.Errorf("resumed ahead of the node with %+v", f)
	}
	// An operator sees both nodes on each, and ends a stream of one on the other.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	type answer struct {
		NodeID      string `json:"node_id"`
		Connections []struct{ ID string }
		Cluster     struct{ Nodes int }
	}
	ask := func(node apptest.Wired, query string) (a answer) {
		t.Helper()
		w := node.Do(http.MethodGet, "/connections"+query, "", "Authorization", "Bearer "+node.PublishToken())
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
			t.Errorf("GET /connections%s: %d %s", query, w.Code, w.Body)
		}
		return a
	}
	for _, node := range []apptest.Wired{a, b} {
		if err := apptest.Until(ctx, func() bool { return ask(node, "").Cluster.Nodes == 2 }); err != nil {
			t.Fatalf("it lists %+v", ask(node, ""))
		}
	}
	query := "?node=" + ask(b, "").NodeID
	list := ask(a, query)
	if len(list.Connections) != 3 {
		t.Fatalf("one node lists the streams %+v of the other, want 3", list.Connections)
	}
	oldest := list.Connections[2].ID
	if w := a.Do(http.MethodDelete, "/connections/"+oldest+query, "", "Authorization", "Bearer "+a.PublishToken()); w.Code != http.StatusNoContent {
		t.Errorf("ending a stream of the other node: %d %s", w.Code, w.Body)
	}
	for f := onB.NextEvent(); f.Type != "drain"; f = onB.NextEvent() {
		if f.Type != "news" {
			t.Fatalf("event %+v", f)
		}
	}
}

// A ticket from one node opens streams on all nodes, and any node revokes it on all. The other tickets stay valid.
func TestTicketsOfTwoNodes(t *testing.T) {
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	var logged apptest.Buffer
	a := apptest.Wire(t, &logged, "--nats", nats.ClientURL(), "--counter-interval", "0")
	b := apptest.Wire(t, &logged, "--nats", nats.ClientURL(), "--counter-interval", "0")
	const page = "https://app.example"
	ask := func(a apptest.Wired, method, target, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+a.PublishToken())
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w
	}
	var ticket struct{ Ticket, ID, URL string }
	w := ask(a, http.MethodPost, "/ticket", `{"topics":["news"],"origin":"`+page+`"}`)
	if err := json.Unmarshal(w.Body.Bytes(), &ticket); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("a ticket: %d %s", w.Code, w.Body)
	}
	onA := ssetest.Get(t, a, ticket.URL, "Origin", page)
	onA.Next()
	a.Publish("news", "1")
	first := onA.NextEvent()
	onA.Close()
	b.Publish("secret", "none of its topics")
	b.Publish("news", "2")
	onB := ssetest.Get(t, b, ticket.URL, "Origin", page, "Last-Event-ID", first.ID)
	if f := onB.NextEvent(); f.Data != "2" {
		t.Errorf("reconnected on the other node: %+v", f)
	}
	onA = ssetest.Get(t, a, ticket.URL, "Origin", page)
	onA.Next()
	if w := ask(b, http.MethodPost, "/ticket/"+ticket.ID, ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("extended: %d %s", w.Code, w.Body)
	}
	w = ask(b, http.MethodPost, "/ticket", `{"topics":["news"],"origin":"`+page+`","lifetime":"24h"}`)
	var other struct{ Subject, URL string }
	if err := json.Unmarshal(w.Body.Bytes(), &other); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("another ticket: %d %s", w.Code, w.Body)
	}
	stays := ssetest.Get(t, a, other.URL, "Origin", page)
	stays.Next()
	for range 2 {
		if w := ask(b, http.MethodDelete, "/ticket/"+ticket.ID, ""); w.Code != http.StatusNoContent {
			t.Errorf("revoked: %d %s", w.Code, w.Body)
		}
	}
	for _, stream := range []*ssetest.Stream{onA, onB} {
		f := stream.NextEvent()
		for f.Type == "news" {
			f = stream.NextEvent()
		}
		if f.Type != "auth-expired" {
			t.Errorf("event %+v, want the end", f)
		}
		if rest := stream.Rest(); len(rest) > 0 {
			t.Errorf("after the end: %+v", rest)
		}
	}
	refuse := func(url string) {
		t.Helper()
		for _, a := range []apptest.Wired{a, b} {
			r := httptest.NewRequest(http.MethodGet, url, nil)
			r.Header.Set("Origin", page)
			w := httptest.NewRecorder()
			if a.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
				t.Errorf("accepted after it was revoked: %d %s", w.Code, w.Body)
			}
		}
	}
	refuse(ticket.URL)
	a.Publish("news", "3")
	f := stays.NextEvent()
	if f.Data == "2" {
		f = stays.NextEvent() // the stream opened before its node had seen it
	}
	if f.Data != "3" {
		t.Errorf("the stream of another ticket has %+v", f)
	}
	if w := ask(b, http.MethodDelete, "/ticket?subject="+other.Subject, ""); w.Code != http.StatusNoContent {
		t.Errorf("revoked by subject: %d %s", w.Code, w.Body)
	}
	if f := stays.NextEvent(); f.Type != "auth-expired" {
		t.Errorf("after all tickets of the subject are revoked: %+v", f)
	}
	refuse(other.URL)
	if text := logged.String(); strings.Contains(text, ticket.Ticket[strings.LastIndex(ticket.Ticket, "."):]) || !strings.Contains(text, "ticket=[redacted]") {
		t.Errorf("logged:\n%s", text)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
