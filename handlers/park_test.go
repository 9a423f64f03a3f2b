package handlers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"freshet/bench/drive"
	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/hub"

	"github.com/gin-gonic/gin"
)

// tcpServer is the handlers behind a real listener, in real time.
type tcpServer struct {
	*httptest.Server
	*handlers.Handlers
	log *eventlogtest.Memory
	hub *hub.Hub
}

// onBothPaths runs the test with streams parked and with a goroutine for each.
func onBothPaths(t *testing.T, window int64, test func(ctx context.Context, t *testing.T, s *tcpServer)) {
	for _, parked := range []bool{true, false} {
		t.Run(fmt.Sprintf("parked %v", parked), func(t *testing.T) {
			if parked && runtime.GOOS != "linux" {
				t.Skip("connections are parked on Linux only")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			log := eventlogtest.NewMemory()
			h, err := hub.New(ctx, log, hub.Config{WindowBytes: window})
			must(t, err)
			hs, err := handlers.New(handlers.Config{
				Log: log, Hub: h, CounterInterval: 10 * time.Millisecond, Heartbeat: 50 * time.Millisecond, Park: parked,
				RetryMin: time.Second, RetryMax: 3 * time.Second,
			})
			must(t, err)
			r := gin.New()
			hs.Register(r)
			run, end := context.WithCancel(ctx)
			done := make(chan error, 2)
			go func() { done <- h.Run(run) }()
			go func() { done <- hs.Run(run) }()
			s := &tcpServer{httptest.NewServer(r), hs, log, h}
			defer func() {
				s.CloseClientConnections()
				s.Close()
				end()
				must(t, errors.Join(<-done, <-done))
			}()
			test(ctx, t, s)
		})
	}
}

// settled waits until the streams are parked, where they are.
func (s *tcpServer) settled(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	if !strings.HasSuffix(t.Name(), "parked_true") {
		return
	}
	if err := drive.Until(ctx, func() bool { return s.Parked() == n }); err != nil {
		t.Fatalf("%d streams are parked, want %d", s.Parked(), n)
	}
}

func (s *tcpServer) open(ctx context.Context, t *testing.T, path string, buffer int) *drive.Reader {
	t.Helper()
	r, err := drive.Open(ctx, drive.Request{URL: s.URL + path, ReadBuffer: buffer})
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

func next(t *testing.T, r *drive.Reader, typ string) event.Frame {
	t.Helper()
	f, err := r.Event(typ)
	must(t, err)
	return f
}

func TestStreamsOverTCP(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		news, all := s.open(ctx, t, "/event/news", 0), s.open(ctx, t, "/event", 0)
		for want := range 3 {
			if f := next(t, all, "message"); f.Data != fmt.Sprint(want+1) || f.ID == "" {
				t.Fatalf("count %+v, want %d", f, want+1)
			}
		}
		s.settled(ctx, t, 2)
		for i := range 200 {
			s.log.Publish(t, "news", fmt.Sprintf("%d %s", i, strings.Repeat("x", i*10)))
			s.log.Publish(t, "other", "y")
		}
		for _, r := range []*drive.Reader{news, all} {
			for i := range 200 {
				if f := next(t, r, "news"); !strings.HasPrefix(f.Data, fmt.Sprint(i, " ")) || len(f.Data) < i*10 {
					t.Fatalf("event %d is %.20q", i, f.Data)
				}
			}
		}
		// A heartbeat moves the cursor past the other topic's events.
		last := ""
		for {
			f, err := news.Next()
			must(t, err)
			if !f.HasData && f.ID != last && last != "" {
				break
			}
			last = f.ID
			if strings.HasSuffix(f.ID, "-400") {
				break
			}
		}
		news.Close()
		if err := drive.Until(ctx, func() bool { return s.hub.Stats().Subscribers == 1 }); err != nil {
			t.Error("a reader that has gone is still a subscriber")
		}
	})
}

// Who stops reading falls behind the window and is served from the log when it reads on.
func TestAStreamThatFallsBehindOverTCP(t *testing.T) {
	onBothPaths(t, 64<<10, func(ctx context.Context, t *testing.T, s *tcpServer) {
		slow, quick := s.open(ctx, t, "/event/n", 64<<10), s.open(ctx, t, "/event/n", 0)
		s.settled(ctx, t, 2)
		const events = 3000
		pad := strings.Repeat("x", 5000)
		read := make(chan error, 1)
		go func() { read <- inOrder(quick, events) }()
		for i := range events {
			s.log.Publish(t, "n", fmt.Sprint(i, " ", pad))
		}
		must(t, <-read) // the slow one holds up nobody
		must(t, inOrder(slow, events))
		s.settled(ctx, t, 2)
		s.log.Publish(t, "n", "last")
		if f := next(t, slow, "n"); f.Data != "last" {
			t.Errorf("event %.20q", f.Data)
		}
	})
}

func inOrder(r *drive.Reader, events int) error {
	for i := range events {
		f, err := r.Event("n")
		if err != nil {
			return fmt.Errorf("before event %d: %w", i, err)
		}
		if !strings.HasPrefix(f.Data, fmt.Sprint(i, " ")) {
			return fmt.Errorf("event %d is %.20q", i, f.Data)
		}
	}
	return nil
}

// What a peer sends behind its request does no harm, and the answer ends as HTTP wants it.
func TestDrainOverTCP(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /event/n HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		r := bufio.NewReader(conn)
		answer, err := http.ReadResponse(r, nil)
		must(t, err)
		s.settled(ctx, t, 1)
		_, err = io.WriteString(conn, strings.Repeat("more of it", 1000))
		must(t, err)
		s.log.Publish(t, "n", "one")
		frames := event.NewScanner(answer.Body, 1<<20)
		for frames.Scan() && frames.Frame().Data != "one" {
		}
		must(t, s.Drain(ctx, 10*time.Millisecond))
		var last, before event.Frame
		for frames.Scan() {
			before, last = last, frames.Frame()
		}
		if frames.Err() != nil || last.Type != "drain" || before.Retry < time.Second {
			t.Errorf("the stream ended with %+v, %+v, %v", before, last, frames.Err())
		}
		if n := s.hub.Stats().Subscribers; n != 0 || s.Parked() != 0 {
			t.Errorf("%d subscribers and %d parked are left", n, s.Parked())
		}
	})
}
