package middleware_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"freshet/middleware"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
)

func TestLogOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, logged := application(t)
		engine.POST("/event/:topic", func(c *gin.Context) {
			time.Sleep(3 * time.Second)
			addToRecord(c, slog.String("event", "k7-12"), slog.Int("events", 1))
			c.String(http.StatusCreated, "payload")
		})
		r := request(t, "POST /event/prices?type=tick", "X-Request-ID: r-1", "User-Agent: curl/8", "Origin: http://freshet.example",
			"Authorization: Bearer "+token, "Cookie: freshet_token=cookie-secret", "X-Forwarded-For: 203.0.113.9")
		if response := serve(engine, r); response.StatusCode != http.StatusCreated {
			t.Fatalf("status %d: %s", response.StatusCode, body(t, response))
		}
		want := []map[string]any{{
			"time": "2000-01-01T00:00:03Z", "level": "INFO", "msg": "request", "request_id": "r-1", "method": "POST",
			"path": "/event/prices", "query": "type=tick", "status": 201.0, "duration": 3e9, "bytes": 7.0, "client": "192.0.2.7",
			"user_agent": "curl/8", "origin": "http://freshet.example", "event": "k7-12", "events": 1.0,
		}}
		got := logged.records(t)
		for _, record := range got {
			at, err := time.Parse(time.RFC3339, record["time"].(string))
			if err != nil {
				t.Fatal(err)
			}
			record["time"] = at.UTC().Format(time.RFC3339)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, secret := range []string{token, "cookie-secret", "payload"} {
			if strings.Contains(logged.String(), secret) {
				t.Errorf("%q was logged:\n%s", secret, logged)
			}
		}
	})
}

func TestLogLevels(t *testing.T) {
	engine, logged := application(t)
	status := func(c *gin.Context) {
		switch c.Query("status") {
		case "404":
			c.Status(http.StatusNotFound)
		case "500":
			_ = c.Error(errors.New("the log is away"))
			c.Status(http.StatusInternalServerError)
		case "503":
			_ = c.Error(errors.New("the log is away"))
			c.Status(http.StatusServiceUnavailable)
		case "507":
			_ = c.Error(errors.New("the log is away"))
			c.Status(http.StatusInsufficientStorage)
		case "400":
			_ = c.Error(errors.New("not for the record"))
			c.Status(http.StatusBadRequest)
		}
	}
	for _, path := range []string{"/", "/livez", "/readyz", "/assets/*file"} {
		engine.GET(path, status)
	}
	for target, want := range map[string]string{
		"/": "INFO", "/?status=400": "INFO", "/?status=503": "INFO", "/?status=507": "INFO", "/?status=500": "ERROR", "/livez": "DEBUG", "/readyz": "DEBUG", "/readyz?status=503": "INFO",
		"/assets/freshet.js": "DEBUG", "/assets/gone.js?status=404": "INFO", "/livezzz": "INFO", "/missing": "INFO",
	} {
		before := len(logged.records(t))
		serve(engine, request(t, "GET "+target))
		records := logged.records(t)[before:]
		if len(records) != 1 || records[0]["level"] != want {
			t.Errorf("%s: %v, want one record of level %s", target, records, want)
			continue
		}
		failure := records[0]["error"]
		if down := strings.Contains(target, "=5"); down && failure != "the log is away" || !down && failure != nil {
			t.Errorf("%s: error %v", target, failure)
		}
	}
}

func TestLogOfTheTarget(t *testing.T) {
	engine, logged := application(t)
	engine.RedirectTrailingSlash = false
	for _, route := range []string{"/", "/event", "/event/:topic", "/history", "/ticket/:id", "/assets/*name"} {
		engine.GET(route, func(*gin.Context) {})
	}
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.s3cret-signature"
	for target, want := range map[string]string{
		"/event?topic=a&ticket=s3cret&since=10m":                "/event topic=a&ticket=[redacted]&since=10m",
		"/event?topic=a.*&topic=%3E&since=2026-01-02T03:04:05Z": "/event topic=a.*&topic=%3E&since=2026-01-02T03:04:05Z",
		"/event?token=s3cret&ACCESS_TOKEN=s3cret":               "/event [2 hidden]",
		"/event?%74icket=s3cret&%zzticket=s3cret":               "/event [2 hidden]",
		"/event?topic=a;ticket=s3cret;since=all":                "/event topic=a&ticket=[redacted]&since=all",
		"/event?ticket=s3cret=s3cret&ticket":                    "/event ticket=[redacted]&ticket=[redacted]",
		"/?key=s3cret":                                          "/ [1 hidden]",
		"/event?s3cret":                                         "/event [1 hidden]",
		"/history?q=Bearer%20s3cret&s3cret=topic":               "/history [2 hidden]",
		"/history?topic=Bearer%20s3cret":                        "/history topic=[redacted]",
		"/event?topic=a?ticket=s3cret":                          "/event topic=[redacted]",
		"/event?topic=a%26ticket%3Ds3cret":                      "/event topic=[redacted]",
		"/event?topic=%zzs3cret":                                "/event topic=[redacted]",
		"/event?topic=" + jwt:                                   "/event topic=[redacted]",
		"/event?status=s3cret&status=200":                       "/event status=[redacted]&status=200",
		"/event/news":                                           "/event/news",
		"/event/a%20b%3Fticket=s3cret":                          "/event/:topic",
		"/event/" + jwt:                                         "/event/[redacted]",
		"/ticket/s3cret":                                        "/ticket/:id",
		"/TICKET/s3cret":                                        "/…/…",
		"//ticket/s3cret":                                       "/…/…/…",
		"/event/news/?s3cret":                                   "/…/…/… [1 hidden]",
		"/assets/s3cret":                                        "/assets/*name",
		"/event?topic=%1b%5b31m":                                "/event topic=%1b%5b31m",
		"http://s3cret:s3cret@x/event?since=1":                  "/event since=1",
		"/" + strings.Repeat("/", 5000):                         strings.Repeat("/…", 20),
	} {
		before := len(logged.records(t))
		r := request(t, "GET /")
		var err error
		if r.URL, err = url.ParseRequestURI(target); err != nil { // as the server does
			t.Fatal(err)
		}
		serve(engine, r)
		records := logged.records(t)
		if len(records) != before+1 {
			t.Fatalf("%s: %d records", target, len(records)-before)
		}
		record := records[before]
		got := record["path"].(string)
		if query, _ := record["query"].(string); query != "" {
			got += " " + query
		}
		if got != want {
			t.Errorf("%s: logged as %s, want %s", target, got, want)
		}
	}
	serve(engine, request(t, "S3CRET /event"))
	serve(engine, request(t, "GET /event", "Referer: http://x/?s3cret", "User-Agent: "+jwt))
	if strings.Contains(strings.ToLower(logged.String()), "s3cret") {
		t.Errorf("a secret was logged:\n%s", logged)
	}
}

func TestLogIsPrintableAndBounded(t *testing.T) {
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var logged bytes.Buffer
		logger := slog.New(handler(&logged))
		engine := gin.New()
		engine.Use(middleware.RequestID(), middleware.Log(logger, public), middleware.Recover(logger))
		// A line break, an escape sequence, its C1 form, a text reversal, and invalid UTF-8.
		const evil = "a\r\nlevel=ERROR\x1b[31m\u009b31m\u202e\x7f\xff"
		engine.GET("/panic", func(*gin.Context) { panic(evil) })
		r := request(t, "GET /")
		r.Method, r.URL.Path, r.URL.RawQuery = "G"+evil, "/"+evil, evil
		r.Header["User-Agent"], r.Header["Origin"], r.Header["X-Request-Id"] = []string{evil}, []string{evil}, []string{evil}
		serve(engine, r)
		if lines := strings.Count(logged.String(), "\n"); lines != 1 {
			t.Errorf("%s: %d lines, want one record in one line:\n%q", name, lines, &logged)
		}
		serve(engine, request(t, "GET /panic"))
		if text := logged.String(); strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: not printable: %q", name, text)
		}

		logged.Reset()
		r = request(t, "GET /")
		r.Header.Set("User-Agent", strings.Repeat("ü", 100_000))
		serve(engine, r)
		if logged.Len() > 2000 {
			t.Errorf("%s: one record of %d bytes", name, logged.Len())
		}
	}
}
