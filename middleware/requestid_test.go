package middleware_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"freshet/middleware"

	"github.com/gin-gonic/gin"
)

func TestRequestID(t *testing.T) {
	engine, _ := application(t)
	engine.GET("/", func(c *gin.Context) {
		c.String(http.StatusOK, middleware.RequestIDFrom(c)+" "+c.GetString("request_id"))
	})
	made := regexp.MustCompile(`^[a-z0-9]{16}$`)
	seen := map[string]bool{}
	for sent, taken := range map[string]bool{
		"": false, "a": true, "Az09._-": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "with space": false,
		"line\nbreak": false, "ümlaut": false, `{"a":1}`: false,
	} {
		r := request(t, "GET /")
		r.Header["X-Request-Id"] = []string{sent}
		response := serve(engine, r)
		id := response.Header.Get("X-Request-ID")
		if taken && id != sent || !taken && !made.MatchString(id) || seen[id] {
			t.Errorf("%q was sent: answered %q", sent, id)
		}
		seen[id] = true
		if got := body(t, response); got != id+" "+id {
			t.Errorf("the handler sees %q, the answer says %q", got, id)
		}
	}
}

func TestRequestIDFromWithoutRequestID(t *testing.T) {
	engine := gin.New()
	engine.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "%q", middleware.RequestIDFrom(c)) })
	if got := body(t, serve(engine, request(t, "GET /"))); got != `""` {
		t.Errorf("got %s, want an empty ID", got)
	}
}

func TestSecure(t *testing.T) {
	engine, _ := application(t)
	engine.GET("/", func(*gin.Context) {})
	for _, target := range []string{"GET /", "GET /missing", "POST /", "OPTIONS /"} {
		header := serve(engine, request(t, target, "Origin: https://other.example", "Authorization: Bearer bad")).Header
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", target, header)
		}
	}
}
