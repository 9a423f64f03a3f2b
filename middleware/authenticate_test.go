package middleware_test

import (
	"net/http"
	"strings"
	"testing"

	"freshet/auth"

	"github.com/gin-gonic/gin"
)

func TestAuthenticate(t *testing.T) {
	engine, logged := application(t)
	engine.POST("/event/:topic", func(c *gin.Context) {
		if err := auth.FromContext(c.Request.Context()).MayPublish(c.Param("topic")); err != nil {
			c.String(http.StatusTeapot, "anonymous")
			return
		}
		c.String(http.StatusOK, "publisher")
	})
	for header, want := range map[string]string{
		"":                           "anonymous",
		"Bearer " + token:            "publisher",
		"bearer " + token:            "publisher",
		"Bearer  " + token:           "publisher",
		"Basic dXNlcjpwYXNzd29yZA==": "anonymous", // a proxy's affair
	} {
		r := request(t, "POST /event/prices")
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		response := serve(engine, r)
		if got := body(t, response); got != want || response.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
	for _, header := range []string{"Bearer", "Bearer ", "Bearer not-the-token-here", "Bearer " + token + "x"} {
		response := serve(engine, request(t, "POST /event/prices", "Authorization: "+header))
		if got := response.Header.Get("WWW-Authenticate"); got != `Bearer realm="freshet", error="invalid_token", error_description="the token is not valid here"` {
			t.Errorf("%q: WWW-Authenticate %q", header, got)
		}
		wantRefusal(t, response, http.StatusUnauthorized, "unauthorized", "the token is not valid here")
	}
	for _, secret := range []string{token, "not-the-token-here", "dXNlcj"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("%q was logged:\n%s", secret, logged)
		}
	}
}
