package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/auth"
	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/hub"
	"freshet/middleware"
	"freshet/stream"
	"freshet/ticket"

	"github.com/gin-gonic/gin"
)

// tcpServer is the handlers behind a real listener, in real time.
type tcpServer struct {
	*httptest.Server
	*handlers.Handlers
	log     *eventlogtest.Memory
	hub     *hub.Hub
	tickets *ticket.Tickets
	records chan map[string]any // of the request log
	callers sync.Map            // of auth.Caller, by what a request has in its query as "_"
}

// operatorToken is what an operator sends as the header Operator.
const operatorToken = "a-token-for-the-tests"

// Write takes a record.
func (s *tcpServer) Write(line []byte) (int, error) {
	var record map[string]any
	err := json.Unmarshal(line, &record)
	select {
	case s.records <- record:
	default: // a test that asks in a loop has more than anybody looks at
	}
	return len(line), err
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
			tickets, err := ticket.New(ctx, ticket.Config{Store: eventlogtest.NewStore()})
			must(t, err)
			hs, err := handlers.New(handlers.Config{
				Log: log, Hub: h, Tickets: tickets, CounterInterval: 10 * time.Millisecond, Heartbeat: 50 * time.Millisecond, NoPark: !parked,
				RetryMin: time.Second, RetryMax: 3 * time.Second,
			})
			must(t, err)
			keys, err := auth.New(auth.Config{PublishToken: operatorToken})
			must(t, err)
			s := &tcpServer{nil, hs, log, h, tickets, make(chan map[string]any, 10_000), sync.Map{}}
			r := gin.New()
			r.Use(middleware.Log(slog.New(slog.NewJSONHandler(s, nil)), handlers.PublicParameters()), func(c *gin.Context) {
				caller, err := keys.Authenticate(c.Request.Context(), c.GetHeader("Operator"))
				if known, ok := s.callers.Load(c.Query("_")); ok {
					caller, err = known.(auth.Caller), nil
				}
				if err == nil {
					c.Request = c.Request.WithContext(auth.NewContext(c.Request.Context(), caller))
				}
			})
			hs.Register(r)
			run, end := context.WithCancel(ctx)
			done := make(chan error, 2)
			go func() { done <- h.Run(run) }()
			go func() { done <- hs.Run(run) }()
			s.Server = httptest.NewUnstartedServer(r)
			s.Config.ConnContext = stream.ConnContext
			s.Start()
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
	if err := apptest.Until(ctx, func() bool { return s.Parked() == n }); err != nil {
		t.Fatalf("%d streams are parked, want %d", s.Parked(), n)
	}
}

func (s *tcpServer) open(ctx context.Context, t *testing.T, path string, buffer int) *tcpReader {
	t.Helper()
	return openTCP(ctx, t, s.URL+path, buffer)
}

func next(t *testing.T, r *tcpReader, typ string) event.Frame {
	t.Helper()
	f, err := r.Event(typ)
	must(t, err)
	return f
}
