package app_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet/app"
	"freshet/config"
)

// closedConnection is the answer to a client that has closed its connection.
type closedConnection struct{ *httptest.ResponseRecorder }

func (closedConnection) Write([]byte) (int, error) { return 0, errors.New("write: broken pipe") }

// A client that closes its connection at each scrape does not fill the log.
func TestUnfinishedScrapesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data, cfg.PublishToken = t.TempDir(), "0123456789abcdef"
	var log strings.Builder
	live, err := app.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	for range 3 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/metrics", nil)
		r.Header.Set("Authorization", "Bearer 0123456789abcdef")
		live.ServeHTTP(closedConnection{httptest.NewRecorder()}, r)
	}
	must(t, live.Close())
	if n := strings.Count(log.String(), "broken pipe"); n != 1 {
		t.Errorf("%d lines, want 1:\n%s", n, log.String())
	}
}
