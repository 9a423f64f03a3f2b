package app_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet/app"
	"freshet/app/apptest"
)

// healthcheck runs the command with the arguments and the variables.
func healthcheck(variables []string, args ...string) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	code = app.Main(append([]string{"healthcheck"}, args...), variables, &out, &log)
	return code, out.String(), log.String()
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	ready := apptest.Start(t, t.TempDir(), "")
	draining := answers(t, http.StatusServiceUnavailable, `{"error":{"code":"draining","message":"the server is shutting down"}}`, httptest.NewServer)
	foreign := answers(t, http.StatusNotFound, "<html>", httptest.NewServer)
	secure := answers(t, http.StatusOK, "{}", httptest.NewTLSServer)
	gone := apptest.FreeAddress(t)
	_, port, _ := strings.Cut(ready.Addr, ":")
	for name, c := range map[string]struct {
		variables []string
		args      []string
		code      int
		want      string
	}{
		"ready":              {nil, []string{"--listen", ready.Addr}, 0, "ready\n"},
		"by the variable":    {[]string{"FRESHET_LISTEN=" + ready.Addr + "," + gone, "FRESHET_DRAIN=5s"}, nil, 0, "ready\n"},
		"on all addresses":   {nil, []string{"--listen", ":" + port}, 0, "ready\n"},
		"on all of IPv4":     {nil, []string{"--listen", "0.0.0.0:" + port}, 0, "ready\n"},
		"with TLS":           {nil, []string{"--listen", secure, "--tls-cert", "tls.crt"}, 0, "ready\n"},
		"with ACME":          {[]string{"FRESHET_ACME_DOMAIN=events.example.org"}, []string{"--listen", secure}, 0, "ready\n"},
		"draining":           {nil, []string{"--listen", draining}, 1, "freshet: http://" + draining + "/readyz answers 503: the server is shutting down\n"},
		"another program":    {nil, []string{"--listen", foreign}, 1, "freshet: http://" + foreign + "/readyz answers 404: Not Found\n"},
		"gone":               {nil, []string{"--listen", gone}, 1, "cannot be reached: connect: connection refused; --listen or FRESHET_LISTEN names another address\n"},
		"no TLS there":       {nil, []string{"--listen", ready.Addr, "--tls-cert", "tls.crt"}, 1, "does not answer as Freshet does: "},
		"no address":         {nil, []string{"--listen", "8080"}, 1, `freshet: --listen: "8080" is not allowed: want host:port or :port, here :8080` + "\n"},
		"of systemd":         {[]string{"FRESHET_LISTEN=systemd"}, nil, 1, `freshet: --listen: "systemd" does not say which port to ask: want the address in the socket unit, such as freshet healthcheck --listen :8080 (from FRESHET_LISTEN)` + "\n"},
		"of systemd too":     {[]string{"FRESHET_LISTEN=systemd," + ready.Addr}, nil, 0, "ready\n"},
		"a flag that is not": {nil, []string{"--url", "x"}, 1, "freshet: unknown flag --url; see freshet healthcheck --help\n"},
	} {
		code, stdout, stderr := healthcheck(c.variables, c.args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) || strings.Count(stdout+stderr, "\n") != 1 {
			t.Errorf("%s: code %d, %q, %q; want %d, %q", name, code, stdout, stderr, c.code, c.want)
		}
	}
}

// answers is the address of a server that answers everything with the status and the body.
func answers(t *testing.T, status int, body string, start func(http.Handler) *httptest.Server) string {
	t.Helper()
	s := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
