package middleware_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/middleware"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
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
		"Basic dXNlcjpwYXNzd29yZA==": "anonymous", // for a proxy
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

// callers is an application that answers whether the caller is an operator.
func callers(t *testing.T, anonymous event.Patterns, origins ...string) (*gin.Engine, *sink) {
	t.Helper()
	engine, logged := applicationWhere(t, anonymous, origins...)
	answer := func(c *gin.Context) {
		caller := auth.FromContext(c.Request.Context())
		if err := caller.MayReadAnything(); err != nil && caller.MayOperate() != nil {
			c.String(http.StatusTeapot, err.Error())
			return
		}
		c.String(http.StatusOK, "operator %v", caller.MayOperate() == nil)
	}
	engine.GET("/event", answer)
	engine.POST("/event", answer)
	engine.DELETE("/ticket/:id", answer)
	return engine, logged
}

func TestCookies(t *testing.T) {
	const (
		good, bad = "Cookie: a=b; freshet_token=" + token, "Cookie: freshet_token=not-the-token-here"
		own       = "Origin: https://freshet.example"
		cookie403 = "with a cookie, this request needs the header Origin"
	)
	all := event.Patterns{event.All}
	for _, test := range []struct {
		name      string
		line      string
		headers   []string
		anonymous event.Patterns
		status    int
		text      string
	}{
		{"reads", "GET /event", []string{good}, nil, http.StatusOK, "operator true"},
		{"a bad one reads what anyone can read", "GET /event", []string{bad}, all, http.StatusOK, "operator false"},
		{"a bad one is named in other errors", "GET /event", []string{bad}, nil, http.StatusTeapot, "the token is not valid here"},
		{"the header beats it", "GET /event", []string{bad, "Authorization: Bearer " + token}, nil, http.StatusOK, "operator true"},
		{"also a bad header", "GET /event", []string{good, "Authorization: Bearer not-the-token-here"}, all, http.StatusUnauthorized, "not valid here"},
		{"another scheme does not", "GET /event", []string{good, "Authorization: Basic eDp5"}, nil, http.StatusOK, "operator true"},
		{"two of them", "GET /event", []string{good, "Cookie: freshet_token=" + token}, nil, http.StatusTeapot, "more than once"},
		{"two of them", "POST /event", []string{good, "Cookie: freshet_token=" + token, own}, nil, http.StatusUnauthorized, "more than once"},

		{"changes with its own origin", "POST /event", []string{good, own}, nil, http.StatusOK, "operator true"},
		{"changes with its own origin", "DELETE /ticket/1", []string{good, own}, nil, http.StatusOK, "operator true"},
		{"changes over plain HTTP", "POST /event", []string{good, "Origin: http://freshet.example"}, nil, http.StatusOK, "operator true"},
		{"changes for a listed origin", "POST /event", []string{good, "Origin: https://app.example"}, nil, http.StatusOK, "operator true"},
		{"with Sec-Fetch-Site", "POST /event", []string{good, "Origin: null", "Sec-Fetch-Site: same-origin"}, nil, http.StatusOK, "operator true"},
		{"without an origin", "POST /event", []string{good}, all, 403, cookie403},
		{"without an origin", "DELETE /ticket/1", []string{good}, all, 403, cookie403},
		{"without an origin, with Sec-Fetch-Site", "POST /event", []string{good, "Sec-Fetch-Site: same-origin"}, nil, 403, cookie403},
		{"for another origin", "POST /event", []string{good, "Origin: https://evil.example"}, nil, http.StatusForbidden, "origin"},
		{"for another port", "POST /event", []string{good, "Origin: https://freshet.example:8443"}, nil, http.StatusForbidden, "origin"},
		{"for origin null", "POST /event", []string{good, "Origin: null"}, nil, http.StatusForbidden, "origin"},
		{"for origin *", "POST /event", []string{good, "Origin: *"}, nil, http.StatusForbidden, "origin"},
		{"a bad one changes nothing", "POST /event", []string{bad, own}, all, http.StatusUnauthorized, "not valid here"},
		{"a header needs no origin", "POST /event", []string{good, "Authorization: Bearer " + token}, nil, http.StatusOK, "operator true"},
		{"a ticket beats it", "POST /event?ticket=x", []string{good, "Origin: https://page.example"}, all, http.StatusOK, "operator false"},
		{"a ticket beats a bad one", "POST /event?ticket=x", []string{bad, own}, all, http.StatusOK, "operator false"},
		{"nor does a cookie of another name", "POST /event", []string{"Cookie: token=" + token}, all, http.StatusOK, "operator false"},
	} {
		engine, logged := callers(t, test.anonymous, "*", "https://app.example")
		response := serve(engine, request(t, test.line, test.headers...))
		if text := body(t, response); response.StatusCode != test.status || !strings.Contains(text, test.text) {
			t.Errorf("%s: %s %q: %d %s, want %d %s", test.name, test.line, test.headers, response.StatusCode, text, test.status, test.text)
		}
		for _, secret := range []string{token, "not-the-token-here"} {
			if strings.Contains(logged.String(), secret) {
				t.Errorf("%s: logged:\n%s", test.name, logged)
			}
		}
	}
}

// Over TLS, a page of the same host over plain HTTP is another origin.
func TestCookiesOverTLS(t *testing.T) {
	engine, _ := callers(t, nil)
	for origin, want := range map[string]int{"https://freshet.example": http.StatusOK, "http://freshet.example": http.StatusForbidden} {
		r := request(t, "POST /event", "Cookie: freshet_token="+token, "Origin: "+origin)
		r.TLS = &tls.ConnectionState{}
		if response := serve(engine, r); response.StatusCode != want {
			t.Errorf("%s: %d, want %d", origin, response.StatusCode, want)
		}
	}
}

func TestGuessesAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, logged := callers(t, event.Patterns{event.All})
		try := func(address, token string) *http.Response {
			r := request(t, "GET /event", "Authorization: Bearer "+token)
			r.RemoteAddr = address
			return serve(engine, r)
		}
		const guesser, neighbour = "[2001:db8:0:1::66]:999", "[2001:db8:0:1::7]:999" // of one /64
		if r := try(neighbour, token); r.StatusCode != http.StatusOK {
			t.Fatal(r.StatusCode)
		}
		for i := range 20 {
			if r := try(guesser, fmt.Sprint("guess-number-", i)); r.StatusCode != http.StatusUnauthorized {
				t.Fatalf("guess %d: %d", i, r.StatusCode)
			}
		}
		refused := try(guesser, "guess-number-20")
		if after := refused.Header.Get("Retry-After"); after != "3" {
			t.Errorf("Retry-After %q", after)
		}
		wantRefusal(t, refused, http.StatusTooManyRequests, "too_many_failures", "wait")
		for name, c := range map[string]struct {
			address, token string
			want           int
		}{
			"a token that was good there": {neighbour, token, http.StatusOK},
			"another address of the /64":  {neighbour, "another-guess-now", http.StatusTooManyRequests},
			"another /64":                 {"[2001:db8:0:2::66]:999", "guess-number-21", http.StatusUnauthorized},
			"an IPv4 address":             {"192.0.2.9:999", "guess-number-21", http.StatusUnauthorized},
			"the same, as IPv6 writes it": {"[::ffff:192.0.2.9]:999", token, http.StatusOK},
			"a good token from elsewhere": {"192.0.2.10:999", token, http.StatusOK},
			"no token, from the same /64": {guesser, "", http.StatusTooManyRequests},
		} {
			r := try(c.address, c.token)
			if r.StatusCode != c.want {
				t.Errorf("%s: %d, want %d", name, r.StatusCode, c.want)
			}
		}
		if r := serve(engine, request(t, "GET /event")); r.StatusCode != http.StatusOK {
			t.Errorf("without a token: %d", r.StatusCode)
		}
		// Requests with a cookie still read what anyone can read.
		r := request(t, "GET /event", "Cookie: freshet_token="+token)
		r.RemoteAddr = guesser
		if response := serve(engine, r); response.StatusCode != http.StatusOK {
			t.Errorf("by a cookie that was good there: %d", response.StatusCode)
		}
		r = request(t, "GET /event", "Cookie: freshet_token=a-guess-by-cookie")
		r.RemoteAddr = guesser
		if response := serve(engine, r); response.StatusCode != http.StatusOK || body(t, response) != "operator false" {
			t.Errorf("by a cookie: %d", response.StatusCode)
		}
		<-time.After(3 * time.Second)
		if r := try(guesser, "guess-number-22"); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("one more after three seconds: %d", r.StatusCode)
		}
		if r := try(guesser, "guess-number-23"); r.StatusCode != http.StatusTooManyRequests {
			t.Errorf("and another: %d", r.StatusCode)
		}
		if strings.Contains(logged.String(), "guess-") {
			t.Errorf("logged:\n%s", logged)
		}
	})
}

// Tokens that the app could not check may be guesses too: later they are no tokens that were good.
func TestATokenThatCouldNotBeCheckedWasNotGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		keys, err := auth.New(auth.Config{Authenticate: func(*http.Request) (auth.Grant, error) {
			if down {
				return auth.Grant{}, errors.New("the database is down")
			}
			return auth.Grant{}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		engine := gin.New()
		engine.Use(middleware.Authenticate(keys, nil))
		engine.GET("/event", func(c *gin.Context) { c.Status(http.StatusNoContent) })
		try := func(n int) int {
			return serve(engine, request(t, "GET /event", fmt.Sprint("Authorization: Bearer guess-number-", n))).StatusCode
		}
		if status := try(0); status != http.StatusNoContent {
			t.Errorf("while the database is down: %d", status)
		}
		down = false
		for n := range 20 {
			if status := try(n + 1); status != http.StatusUnauthorized {
				t.Errorf("guess %d: %d", n+1, status)
			}
		}
		if status := try(0); status != http.StatusTooManyRequests {
			t.Errorf("after too many guesses, the first one: %d", status)
		}
	})
}

// A page that keeps sending an expired token does not guess.
func TestExpiredTokensAreNoGuesses(t *testing.T) {
	engine, _ := callers(t, event.Patterns{event.All})
	old, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": 1}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		wantRefusal(t, serve(engine, request(t, "GET /event", "Authorization: Bearer "+old)), http.StatusUnauthorized, "unauthorized", "has expired")
	}
}

// A page that keeps sending a token of a removed key has guessed once.
func TestTheSameTokenIsOneGuess(t *testing.T) {
	engine, _ := callers(t, event.Patterns{event.All})
	for range 100 {
		wantRefusal(t, serve(engine, request(t, "GET /event", "Authorization: Bearer signed-by-the-last-key")), http.StatusUnauthorized, "unauthorized", "not valid")
	}
	if r := serve(engine, request(t, "GET /event", "Authorization: Bearer "+token)); r.StatusCode != http.StatusOK {
		t.Errorf("another who has the address: %d", r.StatusCode)
	}
}

// Bad tokens from many addresses do not fill the memory.
func TestTheTableOfGuessersIsBounded(t *testing.T) {
	keys, err := auth.New(auth.Config{PublishToken: token})
	if err != nil {
		t.Fatal(err)
	}
	engine := gin.New()
	engine.Use(middleware.Authenticate(keys, nil))
	before := heap()
	for i := range 100_000 {
		r := request(t, "GET /event", "Authorization: Bearer a-guess-of-many-addresses")
		r.RemoteAddr = fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>16, i&0xffff)
		if i%2 == 0 {
			r.Header.Set("Authorization", fmt.Sprint("Bearer a-guess-of-its-own-", i))
		}
		engine.ServeHTTP(nowhere{http.Header{}}, r)
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("grown by %d bytes", grown)
	}
	runtime.KeepAlive(engine)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header         { return w.header }
func (w nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w nowhere) WriteHeader(int)             {}
