package handlers_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/hub"

	"github.com/gin-gonic/gin"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// server is the handlers on a log in memory. Made within a synctest bubble it runs in fake time.
type server struct {
	http.Handler
	*handlers.Handlers
	log *eventlogtest.Memory
	hub *hub.Hub
}

func newServer(t *testing.T, change func(*handlers.Config)) *server {
	t.Helper()
	log := eventlogtest.NewMemory()
	// Small: Gin's pool keeps a server for two garbage collections, so many servers in a row would hold gigabytes.
	h, err := hub.New(t.Context(), log, hub.Config{WindowBytes: 64 << 10, ReplayBytes: 8 << 20})
	must(t, err)
	cfg := handlers.Config{
		Log: log, Hub: h, CounterInterval: time.Second, Heartbeat: 15 * time.Second, MaxBody: 1000, MaxTopics: 5, Node: "n1", NoPark: true,
	}
	if change != nil {
		change(&cfg)
	}
	hs, err := handlers.New(cfg)
	must(t, err)
	keys, err := auth.New(auth.Config{PublishToken: "a-token-for-the-tests", JWTSecret: jwtSecret})
	must(t, err)

	r := gin.New()
	r.Use(func(c *gin.Context) {
		if bearer, ok := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer "); ok {
			caller, err := keys.Authenticate(c.Request.Context(), bearer)
			must(t, err)
			c.Request = c.Request.WithContext(auth.NewContext(c.Request.Context(), caller))
		}
	})
	hs.Register(r)
	r.NoRoute(hs.NoRoute)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- h.Run(ctx) }()
	go func() { done <- hs.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, errors.Join(<-done, <-done))
	})
	return &server{r, hs, log, h}
}

// pass lets fake time go by, and everything happen that happens by then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// do sends a request as the publisher.
func (s *server) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer a-token-for-the-tests")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
