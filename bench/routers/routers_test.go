package routers_test

import (
	"bufio"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet/app"
	"freshet/config"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
)

// mounted returns each router with Freshet under /live, and with middleware that wraps the response.
func mounted(live http.Handler) map[string]http.Handler {
	stripped := http.StripPrefix("/live", live)

	mux := http.NewServeMux()
	mux.Handle("/live/", stripped)

	g := gin.New()
	g.Use(gin.Recovery())
	g.Any("/live/*path", gin.WrapH(stripped))

	c := chi.NewRouter()
	c.Use(chimiddleware.RequestID, chimiddleware.Recoverer)
	c.Mount("/live", stripped)

	e := echo.New()
	e.Use(echomiddleware.RequestID(), echomiddleware.Recover())
	e.Any("/live/*", echo.WrapHandler(stripped))

	return map[string]http.Handler{"net/http": mux, "gin": g, "chi": c, "echo": e}
}

// On each router a stream opens, gets an event that is published afterwards, and ends when the application is closed.
func TestRouters(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	cfg := config.Default()
	cfg.Data = t.TempDir()
	live, err := app.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]*bufio.Scanner{}
	for name, router := range mounted(live) {
		s := httptest.NewUnstartedServer(nil)
		s.Config = app.NewServer(router, slog.New(slog.DiscardHandler))
		s.Start()
		t.Cleanup(s.Close)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/live/event/orders.paid", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: %s, %s", name, response.Status, response.Header.Get("Content-Type"))
		}
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() && lines.Text() != "" { // the first frame, with the cursor
		}
		open[name] = lines
	}
	if _, err := live.Publish(t.Context(), "orders.paid", map[string]int{"id": 17}); err != nil {
		t.Fatal(err)
	}
	for name, lines := range open {
		var data string
		for data == "" && lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				data = text
			}
		}
		if data != `{"id":17}` {
			t.Errorf("%s: the event has %q: %v", name, data, lines.Err())
		}
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	for name, lines := range open {
		for lines.Scan() { // until the end
		}
		if err := lines.Err(); err != nil {
			t.Errorf("%s: the stream did not end well: %v", name, err)
		}
	}
}
