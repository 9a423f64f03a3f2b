package middleware_test

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
)

func TestEveryAnswerIsGuarded(t *testing.T) {
	engine, _ := application(t)
	engine.GET("/ok", func(c *gin.Context) { c.String(http.StatusOK, "ok") })
	engine.GET("/panic", func(*gin.Context) { panic("x") })
	for _, r := range []*http.Request{
		request(t, "GET /ok"), request(t, "GET /nowhere"), request(t, "GET /panic"),
		request(t, "GET /ok", "Authorization: Bearer nonsense"), request(t, "POST /ok", "Origin: https://else.example"),
	} {
		response := serve(engine, r)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s: %d, %s %q, want %q", r.URL, response.StatusCode, name, got, want)
			}
		}
	}
}
