package middleware_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"freshet/auth"
	"freshet/event"
	"freshet/middleware"

	"github.com/gin-gonic/gin"
)

const (
	token  = "correct-horse-battery"
	secret = "thirty-two-bytes-of-a-JWT-secret"
)

// public are the parameters that the log shows.
var public = map[string]func(string) bool{"topic": anything, "since": anything, "type": anything, "status": number}

func anything(string) bool { return true }

func number(value string) bool { _, err := strconv.Atoi(value); return err == nil }

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// sink keeps what is logged, as JSON lines.
type sink struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(line)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *sink) records(t *testing.T) []map[string]any {
	t.Helper()
	var records []map[string]any
	for line := range strings.Lines(s.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		records = append(records, record)
	}
	return records
}

// application is an engine with all of this package, in its order.
func application(t *testing.T, origins ...string) (*gin.Engine, *sink) {
	t.Helper()
	return applicationWhere(t, event.Patterns{event.All}, origins...)
}

// applicationWhere is an application where only these topics may be read without a token.
func applicationWhere(t *testing.T, anonymous event.Patterns, origins ...string) (*gin.Engine, *sink) {
	t.Helper()
	logged := &sink{}
	logger := slog.New(slog.NewJSONHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	keys, err := auth.New(auth.Config{PublishToken: token, JWTSecret: secret, Anonymous: anonymous})
	if err != nil {
		t.Fatal(err)
	}
	if origins == nil {
		origins = []string{"*"}
	}
	cors, err := middleware.CORS(origins)
	if err != nil {
		t.Fatal(err)
	}
	engine := gin.New()
	if err := engine.SetTrustedProxies(nil); err != nil {
		t.Fatal(err)
	}
	engine.Use(middleware.RequestID(), middleware.Log(logger, public), middleware.Recover(logger), middleware.Secure(), cors,
		middleware.Authenticate(keys, origins))
	return engine, logged
}

// accessLog is the value that handlers get under the key "access_log".
type accessLog interface {
	Add(attrs ...slog.Attr)
	Detach() (finish func(bytes int, attrs ...slog.Attr))
}

func addToRecord(c *gin.Context, attrs ...slog.Attr) {
	c.MustGet("access_log").(accessLog).Add(attrs...)
}

// request is "METHOD /target" with "Name: value" headers.
func request(t *testing.T, line string, headers ...string) *http.Request {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RequestURI, r.RemoteAddr = "", "192.0.2.7:4711"
	if r.Host == "" {
		r.Host = "freshet.example"
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func serve(engine *gin.Engine, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, response *http.Response) string {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantRefusal checks the JSON form of all errors.
func wantRefusal(t *testing.T, response *http.Response, status int, code, message string) {
	t.Helper()
	text := body(t, response)
	if response.StatusCode != status || response.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("status %d, Content-Type %q; want %d and JSON", response.StatusCode, response.Header.Get("Content-Type"), status)
	}
	var got map[string]map[string]string
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if len(got) != 1 || len(got["error"]) != 2 || got["error"]["code"] != code || !strings.Contains(got["error"]["message"], message) {
		t.Errorf("got %s, want code %q and message %q", text, code, message)
	}
}
