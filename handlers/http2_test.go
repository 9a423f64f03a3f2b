package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/handlers"

	"github.com/gin-gonic/gin"
)

// multiplexed is the handlers and a reader, with one connection of HTTP/2 between them, in
// memory.
type multiplexed struct {
	*server
	client  *http.Client
	reasons chan string // why streams ended
}

func newMultiplexed(t *testing.T, change func(*handlers.Config)) *multiplexed {
	t.Helper()
	m := &multiplexed{server: newServer(t, change), reasons: make(chan string, 100)}
	engine := gin.New()
	engine.Use(endings(m.reasons))
	m.Register(engine)
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	listener := newPipeListener()
	web := &http.Server{Handler: engine, Protocols: protocols, WriteTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	dialled := 0
	transport := &http.Transport{
		Protocols: protocols,
		// What a stream that is not read may hold up: all of these are together one connection's.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 1 << 20},
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			dialled++
			return listener.dial(), nil
		},
	}
	m.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		if dialled != 1 {
			t.Errorf("%d connections, want one for all streams", dialled)
		}
		transport.CloseIdleConnections()
		must(t, web.Close())
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return m
}

// lane is a stream of the connection.
type lane struct {
	*event.Scanner
	body io.Closer
	slow int // bytes read a second; 0: as they come
	r    io.Reader
}

func (l *lane) Read(p []byte) (int, error) {
	if l.slow > 0 {
		p = p[:min(len(p), l.slow/10)]
		<-time.After(100 * time.Millisecond)
	}
	return l.r.Read(p)
}

func (m *multiplexed) open(t *testing.T, path string) *lane {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://pipe"+path, nil)
	must(t, err)
	answer, err := m.client.Do(r)
	must(t, err)
	if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", answer.Proto, answer.Status)
	}
	l := &lane{body: answer.Body, r: answer.Body}
	l.Scanner = event.NewScanner(l, 2<<20)
	l.frame(t) // the opening
	// The transport gives a new connection to its request first, and then offers it to others. Without the wait, the next request may dial again.
	synctest.Wait()
	return l
}

func (l *lane) frame(t *testing.T) event.Frame {
	t.Helper()
	if !l.Scan() {
		t.Fatalf("the stream ended: %v", l.Err())
	}
	return l.Frame()
}

func (l *lane) event(t *testing.T) event.Frame {
	t.Helper()
	f := l.frame(t)
	for ; !f.HasData; f = l.frame(t) { // heartbeats
	}
	return f
}

// A stream whose reader takes nothing is closed, and nothing else of its connection is.
func TestAStreamOfHTTP2ThatTakesNothingIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMultiplexed(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
		stuck, healthy := m.open(t, "/event/n"), m.open(t, "/event/n")
		payload := strings.Repeat("x", 1000)
		began := time.Now()
		for i := range 100 { // more than the stream has room for
			m.log.Publish(t, "n", fmt.Sprint(i, payload))
			if f := healthy.event(t); f.Data != fmt.Sprint(i, payload) {
				t.Fatalf("event %.10s, want %d", f.Data, i)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the healthy reader waited %v", took)
		}
		if reason := <-m.reasons; reason != "stalled" {
			t.Errorf("closed because: %v", reason)
		}
		if took := time.Since(began); took < 30*time.Second || took > 36*time.Second {
			t.Errorf("closed after %v", took)
		}
		synctest.Wait()
		if n := m.hub.Stats().Subscribers; n != 1 {
			t.Errorf("%d subscribers are left, want the healthy one", n)
		}
		for stuck.Scan() { // what had room
		}
		if stuck.Err() == nil {
			t.Error("to its reader the stream seems whole")
		}
		m.log.Publish(t, "n", "later")
		if f := healthy.event(t); f.Data != "later" {
			t.Errorf("event %+v", f)
		}
		must(t, healthy.body.Close()) // RST_STREAM
		if reason := <-m.reasons; reason != "gone" {
			t.Errorf("closed because: %v", reason)
		}
		synctest.Wait()
		if n := m.hub.Stats().Subscribers; n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

// The deadline is for writing: silence ends no stream, also without heartbeats.
func TestAQuietStreamOfHTTP2StaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMultiplexed(t, func(cfg *handlers.Config) { cfg.CounterInterval, cfg.Heartbeat = -1, -1 })
		stream := m.open(t, "/event/n")
		for i := range 3 {
			pass(10 * time.Minute)
			m.log.Publish(t, "n", fmt.Sprint(i))
			if f := stream.event(t); f.Data != fmt.Sprint(i) {
				t.Errorf("event %+v, want %d", f, i)
			}
		}
		must(t, stream.body.Close())
		<-m.reasons
	})
}

func TestASlowReaderOfHTTP2GetsALargeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMultiplexed(t, func(cfg *handlers.Config) { cfg.CounterInterval, cfg.Heartbeat = -1, -1 })
		stream := m.open(t, "/event/n")
		large := strings.Repeat("x", 1<<20)
		m.log.Publish(t, "n", large)
		began := time.Now()
		stream.slow = 20_000
		if f := stream.event(t); f.Data != large {
			t.Errorf("an event of %d bytes", len(f.Data))
		}
		if took := time.Since(began); took < 50*time.Second {
			t.Errorf("it took %v: the reader was not slow", took)
		}
		must(t, stream.body.Close())
		<-m.reasons
	})
}

// Whoever comes while the server closes is told to leave by another connection; the streams
// that are open end in their turn, each whole.
func TestDrainOfHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMultiplexed(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
		var streams []*lane
		for range 20 {
			streams = append(streams, m.open(t, "/event/n"))
		}
		drained := make(chan error, 1)
		go func() { drained <- m.Drain(t.Context(), 10*time.Second) }()
		for _, s := range streams {
			if f := s.event(t); f.Type != "drain" {
				t.Errorf("event %+v, want drain", f)
			}
			if s.Scan() || s.Err() != nil {
				t.Errorf("after drain: %+v, %v", s.Frame(), s.Err())
			}
			if reason := <-m.reasons; reason != "drain" {
				t.Errorf("closed because: %v", reason)
			}
		}
		must(t, <-drained)
	})
}
