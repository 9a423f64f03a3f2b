package doctor_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/doctor"
)

// pipes is a listener without a network, for fake time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.done) })
	return p
}

func (p *pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// examine examines the handler in fake time.
func examine(t *testing.T, handler http.HandlerFunc, cfg doctor.Config) (report doctor.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		server := &http.Server{Handler: handler}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(p) // Close ends it
		}()
		cfg.URL, cfg.Dial = "http://192.0.2.1/event", p.Dial
		var err error
		if report, err = doctor.Examine(t.Context(), cfg); err != nil {
			t.Error(err)
		}
		_ = server.Close()
		<-served
	})
	return report
}

// fake behaves as Freshet, with a proxy in front: held is for how long that collects the stream, and cut how long a stream may last.
type fake struct{ held, cut time.Duration }

func (f fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("freshet_doctor") {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"code":"unknown_parameter","message":"unknown"}}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	opening := "retry: 1000\nid: abc-1\n\n"
	if id := r.Header.Get("Last-Event-ID") + r.URL.Query().Get("last_event_id"); id != "" {
		opening += fmt.Sprintf("event: gap\ndata: {\"requested\":%q}\nid: abc-1\n\n", id)
	}
	_, _ = io.WriteString(w, opening)
	_ = http.NewResponseController(w).Flush()
	var end <-chan time.Time
	if f.cut > 0 {
		end = time.After(f.cut)
	}
	second, flush := time.NewTicker(time.Second), time.NewTicker(max(f.held, time.Millisecond))
	defer second.Stop()
	defer flush.Stop()
	waiting := ""
	for n := 1; ; {
		select {
		case <-second.C:
			if n++; r.URL.Query().Get("topic") == "counter" {
				waiting += fmt.Sprintf("data: %d\n\n", n)
			} else if n%15 == 0 {
				waiting += "id: abc-1\n\n"
			}
		case <-flush.C:
			if waiting != "" {
				_, _ = io.WriteString(w, waiting)
				waiting = ""
				_ = http.NewResponseController(w).Flush()
			}
		case <-end:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
			return
		}
	}
}

// results are the findings as lines.
func results(report doctor.Report) string {
	var text strings.Builder
	for _, f := range report.Findings {
		fmt.Fprintf(&text, "%s %s: %s", f.Result, f.Check, f.Seen)
		for _, a := range f.Advice {
			text.WriteString(" | " + a.At)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func want(t *testing.T, report doctor.Report, parts ...string) {
	t.Helper()
	text := results(report)
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in\n%s", part, text)
		}
	}
}

func TestGoodStream(t *testing.T) {
	report := examine(t, fake{}.ServeHTTP, doctor.Config{For: 20500 * time.Millisecond}) // between two events
	want(t, report, "ok status: ", "ok headers: ", "ok clock: ", "ok resume: ", "ok first-byte: ", "ok delivery: 20 events of the counter arrived one by one",
		"ok compression: ", "ok heartbeats: 1 heartbeat ", "ok time-out: streams stayed open for 20.5s")
	if !report.OK || !report.Freshet {
		t.Errorf("%+v", report)
	}
}

func TestHeldBack(t *testing.T) {
	report := examine(t, fake{held: 5 * time.Second}.ServeHTTP, doctor.Config{})
	want(t, report, "fail delivery: ", "bursts, up to 5s apart", " | nginx | HAProxy")
	if report.OK {
		t.Errorf("%+v", report)
	}
}

func TestDurationLimit(t *testing.T) {
	report := examine(t, fake{cut: 15 * time.Second}.ServeHTTP, doctor.Config{})
	want(t, report, "fail time-out: a stream with an event each second was cut off after 15s, a usual time-out of Envoy | Envoy")
}

// A stream of another server is examined as far as possible.
func TestOtherServer(t *testing.T) {
	report := examine(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Server", "nginx")
		next := 1
		if r.Header.Get("Last-Event-ID") == "1" {
			next = 2
		}
		for ; r.Context().Err() == nil; next++ {
			_, _ = fmt.Fprintf(w, "id: %d\ndata: x\n\n", next)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(3 * time.Second):
			case <-r.Context().Done():
			}
		}
	}, doctor.Config{Origin: "https://app.example"})
	want(t, report, "ok proxy: names itself: nginx", "warn headers: Cache-Control is \"\"", "fail cors: ", "ok resume: ", "skip delivery: 7 events in 20s", "ok time-out: ")
	if report.Freshet {
		t.Errorf("%+v", report)
	}
}

// Without a stream, the checks end, and the finding says what to do. The token goes to the host of the URL alone.
func TestNoStream(t *testing.T) {
	for status, part := range map[int]string{401: "fail status: status 401; ", 404: "name the stream's whole URL", 502: "fail status: status 502; "} {
		want(t, examine(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }, doctor.Config{}), part)
	}
	want(t, examine(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, doctor.Config{}), "fail headers: the header Content-Type is \"text/html")
	var leaked atomic.Bool
	report := examine(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "192.0.2.2") && r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		http.Redirect(w, r, "http://192.0.2.2/event?ticket=secret", http.StatusFound)
	}, doctor.Config{Token: "secret"})
	want(t, report, "warn redirect: status 302 leads to http://192.0.2.2/event?ticket=…", "fail redirect: more than 5 redirects")
	if leaked.Load() || strings.Contains(report.URL+results(report), "secret") {
		t.Errorf("a secret is in %v, or went to another host (%v)", report, leaked.Load())
	}
}
