package handlers_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/handlers"
	"freshet/ssetest"

	"github.com/gin-gonic/gin"
)

// A stream whose client reads nothing for half a minute is closed, and does not delay others.
func TestAReaderThatTakesNothingIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
		reasons := make(chan string, 2)
		engine := gin.New()
		engine.Use(endings(reasons))
		s.Register(engine)
		server := &http.Server{Handler: engine}
		listener := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()

		stuck, healthy := open(t, listener), open(t, listener)
		payload := strings.Repeat("x", 1000)
		began := time.Now()
		for i := range 100 { // more than all buffers hold
			s.log.Publish(t, "n", fmt.Sprint(i, payload))
			for f := healthy.next(t); f.Data != fmt.Sprint(i, payload); f = healthy.next(t) {
				if f.HasData {
					t.Fatalf("event %.10s, want %d", f.Data, i)
				}
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the healthy reader waited %v", took)
		}
		if reason := <-reasons; reason != "stalled" {
			t.Errorf("closed because: %v", reason)
		}
		if took := time.Since(began); took < 30*time.Second || took > 36*time.Second {
			t.Errorf("closed after %v", took)
		}
		synctest.Wait()
		if n := s.hub.Stats().Subscribers; n != 1 {
			t.Errorf("%d subscribers are left, want the healthy one", n)
		}
		pass(2 * time.Second) // until the next stats
		if f := ssetest.Get(t, s, "/event/stats").NextEvent(); !strings.Contains(f.Data, `"stalled":1,`) {
			t.Errorf("stats %s", f.Data)
		}
		// The write deadline must not end a quiet stream.
		s.log.Publish(t, "n", "later")
		f := healthy.next(t)
		for ; !f.HasData; f = healthy.next(t) { // heartbeats
		}
		if f.Data != "later" {
			t.Errorf("event %+v", f)
		}
		must(t, errors.Join(stuck.Close(), healthy.Close()))
		<-reasons
		must(t, server.Close())
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// A slow client that keeps reading gets an event of any size.
func TestASlowReaderGetsALargeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval, cfg.Heartbeat = -1, -1 })
		server := &http.Server{Handler: s}
		listener := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		stream := open(t, listener)
		large := strings.Repeat("x", 1<<20)
		s.log.Publish(t, "n", large)
		began := time.Now()
		stream.slow = 20_000 // bytes a second: most of a minute
		if f := stream.next(t); f.Data != large {
			t.Errorf("an event of %d bytes", len(f.Data))
		}
		if took := time.Since(began); took < 50*time.Second {
			t.Errorf("it took only %v: the client was not slow", took)
		}
		must(t, errors.Join(stream.Close(), server.Close()))
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// pipeStream is an event stream over a connection in memory, which buffers nothing.
type pipeStream struct {
	net.Conn
	scanner *event.Scanner
	slow    int // bytes read a second; 0: as they come
}

func (s *pipeStream) Read(p []byte) (int, error) {
	if s.slow > 0 {
		p = p[:min(len(p), s.slow/10)]
		<-time.After(100 * time.Millisecond)
	}
	return s.Conn.Read(p)
}

func open(t *testing.T, l *pipeListener) *pipeStream {
	t.Helper()
	conn := l.dial()
	_, err := fmt.Fprint(conn, "GET /event/n HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	s := &pipeStream{Conn: conn}
	answer, err := http.ReadResponse(bufio.NewReader(s), nil)
	must(t, err)
	s.scanner = event.NewScanner(answer.Body, 2<<20)
	s.next(t) // the opening
	return s
}

func (s *pipeStream) next(t *testing.T) event.Frame {
	t.Helper()
	if !s.scanner.Scan() {
		t.Fatalf("the stream ended: %v", s.scanner.Err())
	}
	return s.scanner.Frame()
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
