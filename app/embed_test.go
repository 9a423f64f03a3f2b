package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app"
	"freshet/app/apptest"
	"freshet/config"
	"freshet/event"
	"freshet/eventlog"

	"github.com/gin-gonic/gin"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// embed returns a server with Freshet under /live, on Gin's default router and on one of net/http.
func embed(t *testing.T) (live *app.App, servers map[string]*httptest.Server) {
	t.Helper()
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Hosts = []string{"app.example.com"}
	live, err := app.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, live.Close()) })
	router := gin.New() // without the logger of gin.Default
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	mux := http.NewServeMux()
	mux.Handle("/live/", http.StripPrefix("/live", live))
	servers = map[string]*httptest.Server{}
	for name, handler := range map[string]http.Handler{"gin": router, "net/http": mux} {
		servers[name] = httptest.NewUnstartedServer(nil)
		servers[name].Config = app.NewServer(handler, slog.New(slog.DiscardHandler))
		servers[name].Start()
		t.Cleanup(servers[name].Close)
	}
	return live, servers
}

// ask sends a request and returns the status and the body.
func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(text)
}

// An app's router may trust any X-Forwarded-For, as Gin's does: Freshet does not.
func TestAnEmbeddedServerBelievesNoHeader(t *testing.T) {
	t.Parallel()
	_, servers := embed(t)
	statuses := map[int]int{}
	for i := range 30 {
		status, _ := ask(t, http.MethodPost, servers["gin"].URL+"/live/event/news", "x", "Authorization", fmt.Sprintf("Bearer wrong-%d", i), "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		statuses[status]++
	}
	if statuses[http.StatusUnauthorized] > 22 || statuses[http.StatusTooManyRequests] < 5 {
		t.Errorf("statuses %v", statuses)
	}
}

func TestAnEmbeddedServer(t *testing.T) {
	t.Parallel()
	live, servers := embed(t)
	bearer := "Bearer " + live.PublishToken()
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			base := server.URL + "/live"
			id, err := live.PublishMessage(t.Context(), app.Message{Topic: "orders.paid", Type: "order", Data: map[string]int{"id": 17}, Key: name})
			must(t, err)
			if again, err := live.PublishMessage(t.Context(), app.Message{Topic: "orders.paid", Data: "other", Key: name}); err != nil || again != id {
				t.Errorf("a repeat is %v, %v, not %v", again, err, id)
			}
			status, text := ask(t, http.MethodGet, base+"/history?topic=orders.paid&limit=1", "")
			if status != http.StatusOK || !strings.Contains(text, `"type":"order"`) || !strings.Contains(text, `"data":"{\"id\":17}"`) {
				t.Errorf("history: %d %s", status, text)
			}
			if status, text := ask(t, http.MethodGet, server.URL+"/live", ""); status != http.StatusOK || !strings.Contains(text, `src="assets/`) {
				t.Errorf("the page: %d %.200s", status, text)
			}
			if status, text := ask(t, http.MethodGet, base+"/assets/freshet.js", "", "Origin", "https://other.example"); status != http.StatusOK {
				t.Errorf("the client module: %d %.200s", status, text)
			}
			if status, text := ask(t, http.MethodGet, base+"/livez", "", "Host", "app.example.com"); status != http.StatusOK {
				t.Errorf("under the app's name: %d %s", status, text)
			}
			if status, _ := ask(t, http.MethodGet, base+"/history", "", "Host", "evil.example"); status != http.StatusMisdirectedRequest {
				t.Errorf("under another name: %d", status)
			}
			status, text = ask(t, http.MethodPost, base+"/ticket", `{"topics":["orders.*"],"origin":"https://app.example.com"}`, "Authorization", bearer)
			var ticket struct{ URL string }
			must(t, json.Unmarshal([]byte(text), &ticket))
			if status != http.StatusCreated || !strings.HasPrefix(ticket.URL, "/event?ticket=") {
				t.Errorf("a ticket: %d %s", status, text)
			}
			status, text = ask(t, http.MethodGet, base+strings.Replace(ticket.URL, "/event", "/history", 1), "", "Origin", "https://app.example.com")
			if status != http.StatusOK || !strings.Contains(text, "orders.paid") {
				t.Errorf("with the ticket: %d %s", status, text)
			}
		})
	}
}

// An app in Gin's debug mode prints its own routes, and not those of Freshet.
func TestAnEmbeddedServerPrintsNoRoutes(t *testing.T) {
	var printed bytes.Buffer
	out := gin.DefaultWriter
	gin.DefaultWriter = &printed
	gin.SetMode(gin.DebugMode)
	t.Cleanup(func() {
		gin.DefaultWriter = out
		gin.SetMode(gin.TestMode)
	})
	var opening sync.WaitGroup
	for range 3 { // at once: one must not restore the mode that another one has set
		opening.Go(func() {
			cfg := config.Default()
			cfg.Data = t.TempDir()
			live, err := app.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if err == nil {
				err = live.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	if printed.Len() > 0 || gin.Mode() != gin.DebugMode {
		t.Errorf("in mode %s, it printed:\n%s", gin.Mode(), &printed)
	}
}

func TestPublishingInTheProcessIsRefused(t *testing.T) {
	t.Parallel()
	live, servers := embed(t)
	for _, c := range []struct {
		topic string
		data  any
		typ   string
		want  error
	}{
		{"a..b", "x", "a", &event.InvalidError{}},
		{"counter", "x", "a", &event.InvalidError{}},
		{"a", "x", "gap", &event.InvalidError{}},
		{"a", "\xff", "a", &event.InvalidError{}},
		{"a", func() {}, "a", &event.InvalidError{}},
		{"a", strings.Repeat("x", 1<<20+1), "a", eventlog.ErrTooLarge},
	} {
		_, err := live.PublishMessage(t.Context(), app.Message{Topic: c.topic, Type: c.typ, Data: c.data})
		var invalid *event.InvalidError
		if errors.As(c.want, &invalid) != errors.As(err, &invalid) || !errors.As(err, &invalid) && !errors.Is(err, c.want) {
			t.Errorf("%s %.20v %s: %v", c.topic, c.data, c.typ, err)
		}
	}
	must(t, live.Close())
	if _, err := live.Publish(t.Context(), "a", "x"); !errors.Is(err, app.ErrClosed) {
		t.Errorf("publish after Close: %v", err)
	}
	if status, _ := ask(t, http.MethodGet, servers["gin"].URL+"/live/history", ""); status != http.StatusServiceUnavailable {
		t.Errorf("a request after Close: %d", status)
	}
}

func TestAMessageWithATTL(t *testing.T) {
	t.Parallel()
	live, servers := embed(t)
	for data, ttl := range map[string]time.Duration{"short": 100 * time.Millisecond, "negative": -time.Hour} {
		var invalid *event.InvalidError
		if _, err := live.PublishMessage(t.Context(), app.Message{Topic: "a", Data: data, TTL: ttl}); !errors.As(err, &invalid) || invalid.Field != "ttl" {
			t.Errorf("%v: %v", ttl, err)
		}
	}
	for data, ttl := range map[string]time.Duration{"expires": time.Second, "stays": time.Hour} {
		_, err := live.PublishMessage(t.Context(), app.Message{Topic: "a", Data: data, TTL: ttl})
		must(t, err)
	}
	must(t, apptest.Until(t.Context(), func() bool {
		_, history := ask(t, http.MethodGet, servers["gin"].URL+"/live/history", "")
		return !strings.Contains(history, "expires") && strings.Contains(history, "stays")
	}))
}

// While Close waits for a request, others are refused at once.
func TestClosingRefusesAtOnce(t *testing.T) {
	t.Parallel()
	live, servers := embed(t)
	body, rest := io.Pipe()
	slow := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, servers["net/http"].URL+"/live/event/news", body)
		if err == nil {
			r.Header.Set("Authorization", "Bearer "+live.PublishToken())
			var response *http.Response
			if response, err = http.DefaultClient.Do(r); err == nil {
				err = response.Body.Close()
			}
		}
		slow <- err
	}()
	_, err := rest.Write(make([]byte, 512<<10)) // more than buffers hold: the request is in progress
	must(t, err)
	closed := make(chan error, 1)
	go func() { closed <- live.Close() }()
	refused := make(chan error, 1)
	go func() {
		<-live.Done()
		var err error
		for err == nil {
			_, err = live.Publish(context.Background(), "a", "x")
		}
		refused <- err
	}()
	select {
	case err := <-refused:
		if !errors.Is(err, app.ErrClosed) {
			t.Errorf("publish: %v", err)
		}
		if status, _ := ask(t, http.MethodGet, servers["gin"].URL+"/live/history", ""); status != http.StatusServiceUnavailable {
			t.Errorf("a request: %d", status)
		}
	case err := <-closed:
		t.Errorf("Close has not waited for the request: %v", err)
	case <-time.After(10 * time.Second):
		t.Error("a publish waits for Close, which waits for a request")
	}
	must(t, rest.Close())
	must(t, <-slow)
	must(t, <-closed)
}

// A log that is replaced under the server ends it, also while a stream with a goroutine of its own is open.
func TestALogThatIsReplaced(t *testing.T) {
	t.Parallel()
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	cfg := config.Default()
	cfg.Data, cfg.NATS, cfg.Park = t.TempDir(), config.Secret(nats.ClientURL()), "off"
	live, err := app.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { _ = live.Close() })
	web := httptest.NewServer(live)
	t.Cleanup(web.Close)
	stream, err := http.Get(web.URL + "/event")
	must(t, err)
	defer func() { _ = stream.Body.Close() }()

	nc, err := natsgo.Connect(nats.ClientURL())
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	must(t, js.DeleteStream(t.Context(), "freshet"))
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "freshet", Subjects: []string{"event.>"}})
	must(t, err)
	select {
	case <-live.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the app goes on without its log")
	}
	if err := live.Close(); !errors.Is(err, eventlog.ErrRenewed) {
		t.Errorf("Close: %v", err)
	}
}

// A page reads and publishes with a ticket from the program, until the program revokes it, and up to the end of the topic.
func TestTicketsAndEndsOfAnApp(t *testing.T) {
	t.Parallel()
	live, servers := embed(t)
	base, origin := servers["gin"].URL+"/live", "https://app.example"
	token, err := live.IssueTicket(t.Context(), app.Ticket{Topics: []string{"job.17"}, Publish: []string{"job.17.stop"}, Origin: origin, Subject: "user-17"})
	must(t, err)
	reads := func() int {
		status, _ := ask(t, http.MethodGet, base+"/history?topic=job.17&ticket="+token, "", "Origin", origin)
		return status
	}
	if status, text := ask(t, http.MethodPost, base+"/event/job.17.stop?ticket="+token, "", "Origin", origin); status != http.StatusCreated || reads() != http.StatusOK {
		t.Errorf("with the ticket: %d %s", status, text)
	}
	must(t, live.RevokeTickets(t.Context(), "user-18"))
	if status := reads(); status != http.StatusOK {
		t.Errorf("after another user's tickets were revoked: %d", status)
	}
	must(t, live.RevokeTickets(t.Context(), "user-17"))
	if status := reads(); status != http.StatusUnauthorized {
		t.Errorf("after the ticket was revoked: %d", status)
	}
	for _, bad := range []app.Ticket{{Origin: origin}, {Topics: []string{"a"}}, {Topics: []string{"a b"}, Origin: origin}, {Topics: []string{"a"}, Origin: origin, Lifetime: 25 * time.Hour}} {
		var invalid *event.InvalidError
		if _, err := live.IssueTicket(t.Context(), bad); !errors.As(err, &invalid) {
			t.Errorf("the ticket %+v: %v", bad, err)
		}
	}

	id, err := live.End(t.Context(), "job.17")
	must(t, err)
	if _, err := live.Publish(t.Context(), "job.17", "more"); !errors.Is(err, eventlog.ErrEnded) || id.Seq() == 0 {
		t.Errorf("after the end %v, a publish: %v", id, err)
	}
	if _, err := live.End(t.Context(), "job.17"); !errors.Is(err, eventlog.ErrEnded) {
		t.Errorf("a second end: %v", err)
	}
}

// Freshet and the app have each their own templates.
func TestAnEmbeddedServerLeavesTheTemplatesAlone(t *testing.T) {
	t.Parallel()
	live, _ := embed(t)
	router := gin.New()
	router.SetHTMLTemplate(template.Must(template.New("index.html").Parse("the app's {{.}}")))
	router.GET("/", func(c *gin.Context) { c.HTML(http.StatusOK, "index.html", "page") })
	router.Any("/a/b/live/*path", gin.WrapH(http.StripPrefix("/a/b/live", live)))
	for path, want := range map[string]string{"/": "the app's page", "/a/b/live/": "<title>freshet</title>"} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
		if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes(), []byte(want)) {
			t.Errorf("%s: %d %.300s", path, w.Code, w.Body)
		}
	}
}

// A program that ends its server itself has ended in order.
func TestRunOfAServerThatWasClosed(t *testing.T) {
	t.Parallel()
	live, _ := embed(t)
	server := &http.Server{Addr: "127.0.0.1:0", ReadHeaderTimeout: time.Second}
	must(t, server.Close())
	must(t, live.Run(t.Context(), server))
	if _, err := live.Publish(t.Context(), "news", "x"); !errors.Is(err, app.ErrClosed) {
		t.Errorf("a publish afterwards: %v", err)
	}
}

// An address in use ends Run, and the application with it.
func TestRunOnAnAddressInUse(t *testing.T) {
	t.Parallel()
	live, servers := embed(t)
	err := live.Run(t.Context(), &http.Server{Addr: servers["gin"].Listener.Addr().String(), ReadHeaderTimeout: time.Second})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the error %v", err)
	}
	if _, err := live.Publish(t.Context(), "news", "x"); !errors.Is(err, app.ErrClosed) {
		t.Errorf("a publish afterwards: %v", err)
	}
}
