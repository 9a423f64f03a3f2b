package middleware_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"freshet/middleware"

	"github.com/gin-gonic/gin"
)

func TestHosts(t *testing.T) {
	names := []string{"machine.corp.example", "events.example.org", "*.tenants.example", "xn--bcher-kva.example"}
	engine := hostsOf(names)
	for host, own := range map[string]bool{
		"": true, ":8080": true, "localhost": true, "LocalHost.:8080": true, "a.b.localhost": true, "freshet": true, "my_service:80": true,
		"127.0.0.1": true, "192.0.2.1:8080": true, "[::1]": true, "[2001:db8::1]:8080": true, "[fe80::1%25eth0]:80": true,
		"events.example.org": true, "EVENTS.example.ORG.:443": true, "machine.corp.example": true, "xn--bcher-kva.example": true,
		"a.tenants.example": true, "A.B.Tenants.example:80": true,

		"evil.example": false, "evil.example:8080": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false, "evillocalhost.example": false,
		"xlocalhost.":           true, // no dot within
		"notevents.example.org": false, "a.events.example.org": false, "events.example.org.evil": false, "events.example.org..": false,
		"tenants.example": false, "xtenants.example": false, ".tenants.example": false, "1.2.3.4.5": false, "127.0.0.1..": false, "[evil.example]": false, "[": false,
		"bücher.example": false, // browsers send the ASCII form
	} {
		if got := askHost(engine, "/history", host, false); (got == http.StatusOK) != own || got != http.StatusOK && got != http.StatusMisdirectedRequest {
			t.Errorf("host %q: %d; is it allowed? %v", host, got, own)
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if got := askHost(engine, path, "probe.example", false); got != http.StatusOK {
			t.Errorf("%s: %d", path, got)
		}
	}
	if got := askHost(engine, "/history", "evil.example", true); got != http.StatusOK {
		t.Errorf("over TLS, where the browser checks the name: %d", got)
	}
	if got := askHost(hostsOf([]string{"*"}), "/history", "any.example", false); got != http.StatusOK {
		t.Errorf("with *: %d", got)
	}
	r := httptest.NewRequest(http.MethodGet, "http://evil.example/history", nil)
	wantRefusal(t, serve(engine, r), http.StatusMisdirectedRequest, "unknown_host", "--host NAME")
}

// The check is part of every request.
func TestHostsAllocateNothing(t *testing.T) {
	check := middleware.Hosts([]string{"machine", "events.example.org", "*.tenants.example"})
	for _, host := range []string{"localhost:8080", "127.0.0.1:8080", "[::1]:8080", "Events.example.org:443", "a.tenants.example"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		c := &gin.Context{Request: r}
		if n := testing.AllocsPerRun(10, func() { check(c) }); n != 0 || c.IsAborted() {
			t.Errorf("%s: %v allocations, refused: %v", host, n, c.IsAborted())
		}
	}
}

func hostsOf(names []string) *gin.Engine {
	engine := gin.New()
	engine.Use(middleware.Hosts(names))
	for _, path := range []string{"/history", "/livez", "/readyz"} {
		engine.GET(path, func(*gin.Context) {})
	}
	return engine
}

func askHost(engine *gin.Engine, path, host string, overTLS bool) int {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if r.Host = host; overTLS {
		r.TLS = &tls.ConnectionState{}
	}
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, r)
	return w.Code
}
