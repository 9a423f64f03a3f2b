package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// startTraefik starts Traefik with the files in deploy/ in front of the server at the address upstream. Debian has no Traefik, so these tests run
// only where it is installed.
func startTraefik(ctx context.Context, t *testing.T, upstream string) *proxy {
	t.Helper()
	if _, err := exec.LookPath("traefik"); err != nil {
		t.Skip("needs traefik in the PATH")
	}
	p := newProxy(t, "traefik")
	for name, moved := range map[string][]string{
		"traefik.yaml": {
			`":80"`, `"` + p.plain + `"`, `":443"`, `"` + p.secure + `"`,
			"directory: /etc/traefik/dynamic", "filename: freshet.yaml\n    watch: false",
			// The test's certificate.
			"certificatesResolvers:", "unused:",
		},
		"freshet.yaml": {
			"http://127.0.0.1:8080", "http://" + upstream,
			"Host(`freshet.example.org`)", "PathPrefix(`/`)",
			"      tls:\n        certResolver: letsencrypt\n", "      tls: {}\n",
			"\nhttp:\n", fmt.Sprintf("\ntls:\n  stores:\n    default:\n      defaultCertificate:\n        certFile: %[1]s\n        keyFile: %[1]s\nhttp:\n", p.identity),
		},
	} {
		text, err := os.ReadFile(filepath.Join("..", "deploy", "traefik", name))
		must(t, err)
		config, _, _ := strings.Cut(replaceEach(t, string(text), moved), "\nunused:")
		must(t, os.WriteFile(filepath.Join(p.dir, name), []byte(config), 0o600))
	}
	p.listens = []string{p.plain, p.secure}
	p.start(ctx, t)
	// It listens before it has its routes.
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/livez", nil)
		must(t, err)
		answer, err := p.Client.Do(r)
		if err == nil {
			_ = answer.Body.Close()
		}
		if err == nil && answer.StatusCode == http.StatusOK {
			return p
		}
		if ctx.Err() != nil {
			t.Fatalf("Traefik has no route to Freshet: %v", err)
		}
	}
}

// Traefik with our files passes each event on at once, and a stream waits for a server that restarts.
func TestTraefik(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	dir, upstream := t.TempDir(), ownAddress(t)
	args := []string{"--listen", upstream, "--counter-interval", "0", "--heartbeat", "0", "--trusted-proxy", "127.0.0.1"}
	s := start(ctx, t, dir, args...)
	p := startTraefik(ctx, t, upstream)
	old := &http.Client{Transport: &http.Transport{DialTLSContext: p.from("")}}
	for _, transport := range []*http.Client{old, p.Client} {
		for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
			pingPong(ctx, t, transport, p.URL, s.Token, accept)
		}
	}
	open(ctx, t, p.reader(t, "127.0.0.9"), client.Subscription{Topics: []string{"addresses"}, Header: http.Header{"X-Forwarded-For": {"203.0.113.1"}, "X-Real-Ip": {"203.0.113.3"}}})
	must(t, apptest.Until(ctx, func() bool { return strings.Contains(s.Log(), " client=127.0.0.9 ") }))
	if strings.Contains(s.Log(), "203.0.113") {
		t.Error("a client can forge its address")
	}
	body := strings.Repeat("x", 1<<20)
	c := p.client(t, p.Client, s.Token)
	_, err := c.Publish(ctx, client.Message{Topic: "news", Data: body})
	must(t, err)
	if id, err := c.Publish(ctx, client.Message{Topic: "news", Data: body + "x"}); err == nil || !strings.Contains(err.Error(), "too_large") {
		t.Errorf("a byte more than --max-body: %v, %v", id, err)
	}
	must(t, s.Signal(syscall.SIGTERM))
	must(t, s.Wait(ctx))
	if id, err := c.Publish(ctx, client.Message{Topic: "news", Data: "lost"}); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("a publisher without a server: %v, %v", id, err)
	}
	opened := make(chan error, 1)
	go func() {
		r, err := p.reader(t, "").Open(ctx, client.Subscription{Topics: []string{"news"}, Header: asBrowser()})
		if err == nil {
			r.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Errorf("a stream without a server ended at once: %v", err)
	case <-time.After(2 * time.Second):
	}
	start(ctx, t, dir, args...)
	must(t, <-opened)
}
