package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/app"
	"freshet/auth"
	"freshet/config"
	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/hub"
	"freshet/ticket"
)

// Clients that dawdle over a request are cut off; streams that are open are left alone.
func TestSlowClientsAreCutOff(t *testing.T) {
	const token = "a-token-for-the-tests"
	post := func(path, bearer string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + bearer + "\r\nContent-Length: 1000\r\n\r\nthe body"
	}
	synctest.Test(t, func(t *testing.T) {
		server, log := servePipes(t, token)
		stream := server.dial(t, "GET /event/n HTTP/1.1\r\nHost: x\r\n\r\n")
		defer stream.Close()
		answer, err := http.ReadResponse(bufio.NewReader(stream), nil)
		must(t, err)
		frames := event.NewScanner(answer.Body, 1<<20)
		events := make(chan event.Frame)
		go func() {
			defer close(events)
			for frames.Scan() {
				if f := frames.Frame(); f.HasData {
					events <- f
				}
			}
		}()

		for _, c := range []struct {
			name, sent string
			after      time.Duration
			status     string // of the answer before the end; empty: there may be none
		}{
			{"nothing", "", 10 * time.Second, ""},
			{"a part of the preface of HTTP/2", "PRI * HTTP/2.0\r", 10 * time.Second, ""},
			{"half a header", "GET /event HTTP/1.1\r\nHost: x\r\nX-Slow: ", 10 * time.Second, ""},
			{"a body", post("/event/n", "Bearer "+token), 30 * time.Second, "HTTP/1.1 408 "},
			{"a body as JSON", post("/event", "Bearer "+token), 30 * time.Second, "HTTP/1.1 408 "},
			{"a body for a ticket", post("/ticket", "Bearer "+token), 30 * time.Second, "HTTP/1.1 408 "},
			{"a body that may not be sent", post("/event/n", "none"), 30 * time.Second, "HTTP/1.1 401 "},
			{"a body that nobody reads", post("/nowhere", "none"), 30 * time.Second, "HTTP/1.1 404 "},
			{"a body for a stream", "GET /event/n HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", 30 * time.Second, "HTTP/1.1 400 "},
			{"a body without an end", "GET /event/n HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", 30 * time.Second, "HTTP/1.1 400 "},
		} {
			for _, drips := range []bool{false, true} {
				began := time.Now()
				conn := server.dial(t, c.sent)
				must(t, conn.SetReadDeadline(began.Add(time.Hour)))
				dripped := make(chan struct{})
				go func() {
					defer close(dripped)
					for err := error(nil); drips && err == nil; {
						<-time.After(time.Second)
						_, err = conn.Write([]byte("x"))
					}
				}()
				got, err := io.ReadAll(conn)
				if took := time.Since(began); took != c.after || !strings.HasPrefix(string(got), c.status) {
					t.Errorf("%s, dripping %v: cut off after %v, %v, with %q", c.name, drips, took, err, got)
				}
				must(t, conn.Close())
				<-dripped
			}
		}
		for range 10 {
			<-time.After(time.Minute)
			id := log.Publish(t, "n", "x")
			if f, open := <-events; !open || f.ID != id.String() {
				t.Fatalf("event %+v, open %v; want %s", f, open, id)
			}
		}
	})
}

// Only a trusted proxy says who the client is, and only of whoever came to it.
func TestWhoTheClientIs(t *testing.T) {
	const v4, mapped, v6, lan = "192.0.2.1:999", "[::ffff:192.0.2.1]:999", "[2001:db8::1]:999", "10.9.8.7:999"
	trusting := []string{"--trusted-proxy", "192.0.2.1,2001:db8::1", "--trusted-proxy", "10.0.0.0/8"}
	for _, c := range []struct {
		flags             []string
		peer, header, say string
		want              string
	}{
		{nil, v4, "X-Forwarded-For", "203.0.113.7", "192.0.2.1"},
		{nil, mapped, "X-Forwarded-For", "203.0.113.7", "192.0.2.1"},
		{nil, v6, "X-Forwarded-For", "203.0.113.7", "2001:db8::1"},
		{nil, "127.0.0.1:999", "X-Forwarded-For", "203.0.113.7", "127.0.0.1"},
		{nil, v4, "X-Real-IP", "203.0.113.7", "192.0.2.1"},

		{trusting, v4, "X-Forwarded-For", "203.0.113.7", "203.0.113.7"},
		{trusting, mapped, "X-Forwarded-For", "203.0.113.7", "203.0.113.7"},
		{trusting, v6, "X-Forwarded-For", "2001:db8:7::7", "2001:db8:7::7"},
		{trusting, lan, "X-Forwarded-For", "203.0.113.7", "203.0.113.7"},
		{trusting, "192.0.2.2:999", "X-Forwarded-For", "203.0.113.7", "192.0.2.2"},
		{trusting, "[2001:db8::2]:999", "X-Forwarded-For", "203.0.113.7", "2001:db8::2"},
		{trusting, "127.0.0.1:999", "X-Forwarded-For", "203.0.113.7", "127.0.0.1"},

		// A client that sends the header itself finds its own words left of its address.
		{trusting, v4, "X-Forwarded-For", "6.6.6.6, 203.0.113.7", "203.0.113.7"},
		{trusting, v4, "X-Forwarded-For", "6.6.6.6,203.0.113.7, 10.1.1.1", "203.0.113.7"},
		{trusting, v4, "X-Forwarded-For", "6.6.6.6, 203.0.113.7, ::ffff:10.1.1.1", "203.0.113.7"},
		{trusting, v6, "X-Forwarded-For", "10.1.1.1, 2001:db8:7::7", "2001:db8:7::7"},
		{trusting, v4, "X-Forwarded-For", "6.6.6.6\n203.0.113.7", "203.0.113.7"}, // two headers
		{trusting, v4, "X-Forwarded-For", "nonsense, 203.0.113.7", "203.0.113.7"},

		// What is no address makes the proxy the client, not whoever stands left of it.
		{trusting, v4, "X-Forwarded-For", "6.6.6.6, unknown", "192.0.2.1"},
		{trusting, v4, "X-Forwarded-For", "6.6.6.6, ", "192.0.2.1"},
		{trusting, v4, "X-Forwarded-For", "", "192.0.2.1"},
		// Nor does another header count, which a proxy may pass on as it came.
		{trusting, v4, "X-Real-IP", "6.6.6.6", "192.0.2.1"},
		{trusting, v4, "Forwarded", "for=6.6.6.6", "192.0.2.1"},
		{trusting, v4, "CF-Connecting-IP", "6.6.6.6", "192.0.2.1"},
	} {
		cfg, err := config.Parse(c.flags, nil, io.Discard)
		must(t, err)
		var logged bytes.Buffer
		router, err := app.NewRouter(&handlers.Handlers{}, &auth.Keys{}, cfg, slog.New(slog.NewTextHandler(&logged, nil)))
		must(t, err)
		r := httptest.NewRequest(http.MethodGet, "/nowhere", nil)
		r.RemoteAddr = c.peer
		r.Header[http.CanonicalHeaderKey(c.header)] = strings.Split(c.say, "\n")
		router.ServeHTTP(httptest.NewRecorder(), r)
		if !strings.Contains(logged.String(), " client="+c.want+"\n") {
			t.Errorf("%v: %s, %s: %q: want %s:\n%s", c.flags, c.peer, c.header, c.say, c.want, &logged)
		}
	}
}

// pipes is the wired application, but with a log in memory, on connections in memory: it
// runs in fake time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func servePipes(t *testing.T, token string) (*pipes, *eventlogtest.Memory) {
	t.Helper()
	log := eventlogtest.NewMemory()
	h, err := hub.New(t.Context(), log, hub.Config{})
	must(t, err)
	tickets, err := ticket.New(t.Context(), ticket.Config{Store: eventlogtest.NewStore()})
	must(t, err)
	hs, err := handlers.New(handlers.Config{Log: log, Hub: h, Tickets: tickets, NoPark: true})
	must(t, err)
	keys, err := auth.New(auth.Config{PublishToken: token, Anonymous: event.Patterns{event.All}})
	must(t, err)
	logger := slog.New(slog.DiscardHandler)
	router, err := app.NewRouter(hs, keys, config.Config{CORSOrigins: []string{"*"}}, logger)
	must(t, err)
	server := app.NewServer(router, logger)

	p := &pipes{make(chan net.Conn), make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() { ended <- h.Run(ctx) }()
	go func() { ended <- hs.Run(ctx) }()
	go func() {
		err := server.Serve(p)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		must(t, errors.Join(server.Close(), <-ended, <-ended, <-ended))
	})
	return p, log
}

// dial opens a connection and sends the text.
func (p *pipes) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	if text != "" { // of an empty write, a pipe makes an empty read
		_, err := fmt.Fprint(ours, text)
		must(t, err)
	}
	return ours
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
