package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"freshet/client"
)

// network is a server that a client reaches without the system's network, so that both can
// run in fake time.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
}

// connect returns a client of the handler. The test closes the network before its bubble ends.
func connect(t *testing.T, handler http.HandlerFunc, cfg client.Config) (_ *client.Client, closeAll func()) {
	t.Helper()
	cfg.URL = "http://freshet.test"
	cfg.HTTP, closeAll = serve(t, handler)
	return newClient(t, cfg), closeAll
}

// serve serves the handler over pipes, so in fake time too. All connections of the client lead to it.
func serve(t *testing.T, handler http.HandlerFunc) (_ *http.Client, closeAll func()) {
	t.Helper()
	n := &network{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(n) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case n.conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	return &http.Client{Transport: transport}, func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	close(n.closed)
	return nil
}

func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

func newClient(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A program that uses the client links nothing but the standard library and event/.
func TestTheClientNeedsTheStandardLibraryAlone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(out)), " "); got != "freshet/event freshet/client" {
		t.Errorf("the client depends on %s", got)
	}
}

func TestABadURLIsRefused(t *testing.T) {
	for _, url := range []string{"", "localhost:8080", "ftp://x", "http://", "http://x?y=1", "http://x#y", "http://x:port"} {
		if _, err := client.New(client.Config{URL: url}); err == nil || !strings.Contains(err.Error(), "Config.URL") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestATokenIsFetchedForEachRequest(t *testing.T) {
	var mu sync.Mutex
	var tokens []string
	n := 0
	c, closeAll := connect(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tokens = append(tokens, r.Header.Get("Authorization"))
		stored(w, n)
	}, client.Config{Token: "unused", TokenFunc: func(context.Context) (string, error) {
		if n++; n == 3 {
			return "", errors.New("no token today")
		}
		return strings.Repeat("x", n), nil
	}, Attempts: 1})
	defer closeAll()
	for i := range 3 {
		_, err := c.Publish(t.Context(), client.Message{Topic: "news"})
		if i < 2 && err != nil || i == 2 && (err == nil || !strings.Contains(err.Error(), "no token today")) {
			t.Errorf("publish %d: %v", i, err)
		}
	}
	if got := strings.Join(tokens, ", "); got != "Bearer x, Bearer xx" {
		t.Errorf("sent %s", got)
	}
}
