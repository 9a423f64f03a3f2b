// Package apptest runs Freshet for tests:
//
//   - [Wire] is the wired application without a listener,
//   - [Start] is a server on a free port in the test's own process,
//   - [StartProcess] is a server process, which can be killed. The test binary is its program,
//     see [Main],
//   - [StartProgram] is a process of an example.
//
// The first two end with the test.
package apptest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet/app"
	"freshet/config"
)

// patience bounds every wait of this package.
const patience = 30 * time.Second

// Wired is an application that runs without a listener.
type Wired struct{ *app.App }

// Wire runs the application on a temporary data folder until the test ends. It logs to
// logged; args are the server's flags.
func Wire(t testing.TB, logged io.Writer, args ...string) Wired {
	t.Helper()
	return WireLogger(t, slog.New(slog.NewTextHandler(logged, nil)), args...)
}

// WireLogger is [Wire] with a logger.
func WireLogger(t testing.TB, logger *slog.Logger, args ...string) Wired {
	t.Helper()
	// httptest's requests are for example.com.
	cfg, err := config.Parse(append([]string{"--data", t.TempDir(), "--counter-interval", "20ms", "--sync", "1m", "--host", "example.com"}, args...),
		nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Open(context.WithoutCancel(t.Context()), cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return Wired{a}
}

// Do serves one request; headers are names and values in turn, of which empty values are
// left out.
func (w Wired) Do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, r)
	return recorder
}

// Get serves a GET request.
func (w Wired) Get(target string) *httptest.ResponseRecorder {
	return w.Do(http.MethodGet, target, "")
}

// Publish publishes with the publish token.
func (w Wired) Publish(topic, data string, headers ...string) *httptest.ResponseRecorder {
	headers = append([]string{"Authorization", "Bearer " + w.PublishToken()}, headers...)
	return w.Do(http.MethodPost, "/event/"+topic, data, headers...)
}
