package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet/app"
	"freshet/assets"
	"freshet/auth"
	"freshet/config"
	"freshet/docs"
	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/hub"
	"freshet/templates"
	"freshet/ticket"

	"github.com/gin-gonic/gin"
)

// inMemory is the wired application with all routes, but with a log and a store in memory, which can fail.
type inMemory struct {
	router   *gin.Engine
	handlers *handlers.Handlers
	log      *eventlogtest.Memory
	store    *eventlogtest.Store
}

// inMemoryToken is its publish token. JSON web tokens are signed with jwtSecret.
const inMemoryToken = "a-token-for-the-tests"

// newInMemory runs the application until the test ends; change may be nil.
func newInMemory(t *testing.T, change func(*handlers.Config, *auth.Config, *config.Config)) *inMemory {
	t.Helper()
	s := &inMemory{log: eventlogtest.NewMemory(), store: eventlogtest.NewStore()}
	h, err := hub.New(t.Context(), s.log, hub.Config{Replays: 1}) // one slow reader of the log stops the others
	must(t, err)
	tickets, err := ticket.New(t.Context(), ticket.Config{Store: s.store})
	must(t, err)
	page, err := templates.Parse()
	must(t, err)
	logger := slog.New(slog.DiscardHandler)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/plain") })
	handlersConfig := handlers.Config{
		Log: s.log, Hub: h, Tickets: tickets, Nodes: deafNodes{}, Page: page, Assets: assets.Files(), OpenAPI: docs.OpenAPI(), Metrics: metrics, Backup: s.backup, NoPark: true,
	}
	authConfig := auth.Config{PublishToken: inMemoryToken, JWTSecret: jwtSecret, Anonymous: event.Patterns{event.All}}
	appConfig := config.Config{CORSOrigins: []string{"*"}}
	if change != nil {
		change(&handlersConfig, &authConfig, &appConfig)
	}
	s.handlers, err = handlers.New(handlersConfig)
	must(t, err)
	keys, err := auth.New(authConfig)
	must(t, err)
	s.router, err = app.NewRouter(s.handlers, keys, appConfig, logger)
	must(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- h.Run(ctx) }()
	go func() { ended <- s.handlers.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, errors.Join(<-ended, <-ended))
	})
	return s
}

// send sends a request, and returns the whole response. The headers are names and values in turn.
func (s *inMemory) send(t *testing.T, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r.Host = cmp.Or(r.Header.Get("Host"), r.Host)
	w := httptest.NewRecorder()
	s.router.ServeHTTP(w, r)
	return w
}

// deafNodes hears two nodes of one name, which do not answer.
type deafNodes struct{}

func (deafNodes) ID() string     { return "own" }
func (deafNodes) Publish([]byte) {}

func (deafNodes) Request(context.Context, string, []byte) ([]byte, error) {
	return nil, eventlog.ErrNodeAway
}

func (deafNodes) Listen(ctx context.Context, hear func(id string, data []byte), _ func([]byte) []byte) error {
	hear("a", []byte(`{"node":"twin"}`))
	hear("b", []byte(`{"node":"twin"}`))
	hear("a", []byte(`{"node":"twin"}`)) // so b has not replaced it
	<-ctx.Done()
	return nil
}

// backup fails as the log does, which cannot be copied.
func (s *inMemory) backup(ctx context.Context) (*eventlog.Backup, error) {
	_, err := s.log.State(ctx)
	return nil, cmp.Or(err, eventlog.ErrUnavailable)
}
