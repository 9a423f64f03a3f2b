package middleware_test

import (
	"net/http"
	"strings"
	"testing"

	"freshet/middleware"

	"github.com/gin-gonic/gin"
)

func pages(t *testing.T, origins ...string) *gin.Engine {
	t.Helper()
	engine, _ := application(t, origins...)
	engine.GET("/event", func(c *gin.Context) {
		c.Writer.Header().Add("Vary", "Accept")
		c.String(http.StatusOK, "read")
	})
	engine.HEAD("/event", func(c *gin.Context) { c.Status(http.StatusOK) })
	engine.POST("/event", func(c *gin.Context) { c.String(http.StatusCreated, "published") })
	engine.DELETE("/ticket/:id", func(c *gin.Context) { c.Status(http.StatusOK) })
	return engine
}

func TestCORS(t *testing.T) {
	const (
		app    = "https://app.example"
		other  = "https://other.example"
		self   = "https://freshet.example"
		absent = ""
	)
	everybody, listed, both := []string{"*"}, []string{app}, []string{"*", app}
	for _, test := range []struct {
		origins []string
		line    string
		origin  string
		more    []string
		status  int
		allowed string
	}{
		{everybody, "GET /event", absent, nil, 200, ""},
		{everybody, "GET /event", other, nil, 200, "*"},
		{everybody, "HEAD /event", other, nil, 200, "*"},
		{everybody, "GET /event", "null", nil, 200, "*"},
		{everybody, "GET /event", self, nil, 200, ""},
		{everybody, "POST /event", absent, nil, 201, ""},
		{everybody, "POST /event", self, nil, 201, ""},
		{everybody, "POST /event", "http://freshet.example", nil, 201, ""},
		{everybody, "POST /event", other, nil, 403, ""},
		{everybody, "POST /event?ticket=x", other, nil, 201, "*"},
		{listed, "POST /event?ticket=x", other, nil, 403, ""},
		{everybody, "DELETE /event?ticket=x", other, nil, 403, ""},
		{everybody, "POST /event", "null", nil, 403, ""},
		// A proxy that changes Host, and a page whose referrer policy hides its origin.
		{everybody, "POST /event", other, []string{"Sec-Fetch-Site: same-origin"}, 201, ""},
		{everybody, "POST /event", "null", []string{"Sec-Fetch-Site: same-origin"}, 201, ""},
		{everybody, "POST /event", other, []string{"Sec-Fetch-Site: same-site"}, 403, ""},
		{everybody, "POST /event", other, []string{"Sec-Fetch-Site: cross-site"}, 403, ""},
		{everybody, "DELETE /ticket/7", other, nil, 403, ""},
		{listed, "GET /event", absent, nil, 200, ""},
		{listed, "GET /event", app, nil, 200, app},
		{listed, "GET /event", other, nil, 403, ""},
		{listed, "GET /event", "null", nil, 403, ""},
		{listed, "GET /event", app + ".evil.example", nil, 403, ""},
		{listed, "GET /event", "http://app.example", nil, 403, ""},
		{listed, "GET /event", app + ":8443", nil, 403, ""},
		{listed, "POST /event", app, nil, 201, app},
		{listed, "POST /event", other, nil, 403, ""},
		{listed, "DELETE /ticket/7", app, nil, 200, app},
		{both, "GET /event", other, nil, 200, "*"},
		{both, "GET /event", app, nil, 200, "*"},
		{both, "POST /event", app, nil, 201, app},
		{both, "POST /event", other, nil, 403, ""},
		// The middleware also runs before the 404 of a missing page.
		{everybody, "GET /missing", other, nil, 404, "*"},

		{everybody, "OPTIONS /event", other, []string{"Access-Control-Request-Method: GET"}, 204, "*"},
		{everybody, "OPTIONS /event", other, []string{"Access-Control-Request-Method: HEAD"}, 204, "*"},
		{everybody, "OPTIONS /event", other, []string{"Access-Control-Request-Method: POST"}, 403, ""},
		{everybody, "OPTIONS /event", other, []string{"Access-Control-Request-Method: DELETE"}, 403, ""},
		{everybody, "OPTIONS /event", other, []string{"Access-Control-Request-Method: PATCH"}, 403, ""},
		{everybody, "OPTIONS /event", other, nil, 204, "*"},
		{everybody, "OPTIONS /event", absent, nil, 404, ""},
		{listed, "OPTIONS /event", app, []string{"Access-Control-Request-Method: GET"}, 204, app},
		{listed, "OPTIONS /event", app, []string{"Access-Control-Request-Method: POST"}, 204, app},
		{listed, "OPTIONS /ticket/7", app, []string{"Access-Control-Request-Method: DELETE"}, 204, app},
		{listed, "OPTIONS /event", other, []string{"Access-Control-Request-Method: GET"}, 403, ""},
		{both, "OPTIONS /event", app, []string{"Access-Control-Request-Method: POST"}, 204, app},
	} {
		r := request(t, test.line, test.more...)
		if test.origin != absent {
			r.Header.Set("Origin", test.origin)
		}
		response := serve(pages(t, test.origins...), r)
		name := strings.Join([]string{strings.Join(test.origins, ","), test.line, test.origin, strings.Join(test.more, " ")}, " | ")
		if got := response.Header.Get("Access-Control-Allow-Origin"); response.StatusCode != test.status || got != test.allowed {
			t.Errorf("%s: status %d, allowed %q; want %d, %q", name, response.StatusCode, got, test.status, test.allowed)
		}
		if vary := strings.Join(response.Header.Values("Vary"), ","); !strings.Contains(vary, "Origin") ||
			test.line == "GET /event" && test.status == 200 && !strings.Contains(vary, "Accept") {
			t.Errorf("%s: Vary %q", name, vary)
		}
		if response.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: allows credentials", name)
		}
		if exposed := response.Header.Get("Access-Control-Expose-Headers"); test.allowed != "" && test.status != 204 &&
			!strings.EqualFold(exposed, "X-Request-ID,Freshet-Stream,Retry-After") {
			t.Errorf("%s: exposes %q", name, exposed)
		}
		if test.status == 403 {
			wantRefusal(t, response, 403, "origin", "--cors-origin")
		}
	}
}

func TestPreflight(t *testing.T) {
	engine := pages(t, "*", "https://app.example")
	for method, methods := range map[string]string{"GET": "GET,HEAD", "POST": "GET,HEAD,POST,DELETE"} {
		header := serve(engine, request(t, "OPTIONS /event", "Origin: https://app.example", "Access-Control-Request-Method: "+method,
			"Access-Control-Request-Headers: authorization,last-event-id")).Header
		if got := header.Get("Access-Control-Allow-Methods"); got != methods {
			t.Errorf("%s: methods %q, want %q", method, got, methods)
		}
		if got := header.Get("Access-Control-Max-Age"); got != "3600" {
			t.Errorf("%s: max age %q, want an hour", method, got)
		}
		allowed := strings.ToLower(header.Get("Access-Control-Allow-Headers"))
		for _, name := range []string{"last-event-id", "authorization", "idempotency-key", "event-type", "cache-control", "content-type", "accept", "traceparent", "tracestate"} {
			if !strings.Contains(","+allowed+",", ","+name+",") {
				t.Errorf("%s: no %s among the allowed headers %q", method, name, allowed)
			}
		}
	}
}

func TestCORSThroughAServerWithoutRoutes(t *testing.T) {
	engine, _ := application(t)
	response := serve(engine, request(t, "OPTIONS /event", "Origin: https://a.example", "Access-Control-Request-Method: GET"))
	if text := body(t, response); response.StatusCode != http.StatusNoContent || text != "" {
		t.Errorf("status %d, body %q; want 204 and none", response.StatusCode, text)
	}
}

func TestCORSRefusesWhatIsNoOrigin(t *testing.T) {
	for _, bad := range []string{"", "app.example", "null"} {
		if _, err := middleware.CORS([]string{"*", bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCORSWithoutOrigins(t *testing.T) {
	engine := pages(t, []string{}...)
	for origin, want := range map[string]int{"https://freshet.example": 200, "https://other.example": 403} {
		if got := serve(engine, request(t, "GET /event", "Origin: "+origin)).StatusCode; got != want {
			t.Errorf("%s: status %d, want %d", origin, got, want)
		}
	}
}
