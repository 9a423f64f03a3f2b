package apptest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app"
	"freshet/auth"
	"freshet/config"
)

// Server is a whole server on a port of this machine.
type Server struct {
	Addr  string // host:port
	URL   string // http://host:port, https with TLS
	Token string // may do everything

	// Stop does what a signal does and waits until the server has ended. The test's end
	// calls it too.
	Stop func()

	HTTP *http.Client // trusts the server
}

// Start starts the server on the data folder and returns it once it is ready. An empty
// address stands for a free one. The flags come after flags for short intervals.
func Start(t testing.TB, dir, addr string, flags ...string) *Server {
	t.Helper()
	if addr == "" {
		addr = FreeAddress(t)
	}
	args := append([]string{
		"--listen", addr, "--data", dir, "--log-level", "warn",
		"--counter-interval", "25ms", "--heartbeat", "100ms", "--retry", "100ms-200ms", "--drain", "1s",
	}, flags...)
	cfg, err := config.Parse(args, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	stdout, ended := make(firstWrite), make(chan error, 1)
	go func() { ended <- app.Serve(ctx, func() {}, cfg, stdout, t.Output()) }()
	s := &Server{Addr: addr, URL: "http://" + addr, HTTP: &http.Client{Transport: &http.Transport{}}}
	if cfg.TLSCert != "" {
		s.URL, s.HTTP = "https://"+addr, &http.Client{Transport: Trusting(t, cfg.TLSCert)}
	}
	s.Stop = sync.OnceFunc(func() {
		s.HTTP.CloseIdleConnections()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server ended with: %v", err)
			}
		case <-time.After(patience):
			t.Error("the server did not end")
		}
	})
	t.Cleanup(s.Stop)

	select {
	case <-stdout:
		if s.Token, err = auth.PublishToken(dir); err != nil {
			t.Fatal(err)
		}
	case err := <-ended:
		ended <- nil
		t.Fatalf("the server did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the server did not get ready")
	}
	return s
}

// Publish publishes one event and returns its ID. With an empty typ the server chooses the
// type. With a key, the call may be repeated.
func (s *Server) Publish(ctx context.Context, topic, typ, data, key string) (id string, err error) {
	target := s.URL + "/event/" + url.PathEscape(topic)
	if typ != "" {
		target += "?type=" + url.QueryEscape(typ)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(data))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+s.Token)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := s.HTTP.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var published struct{ ID string }
	if response.StatusCode/100 != 2 {
		return "", fmt.Errorf("publish: %s: %s", response.Status, body)
	}
	err = json.Unmarshal(body, &published)
	return published.ID, err
}

// given holds a UDP socket for each port that FreeAddress has returned, until the process ends. Nothing is sent over them:
// they keep the port from every other test, also from those of other processes.
var given sync.Map

// FreeAddress returns an address on 127.0.0.1 that nothing listens on, with a port that the system gives to no outgoing
// connection: a server can come back to it.
func FreeAddress(t testing.TB) string {
	t.Helper()
	const first = 10_000
	end := firstOutgoingPort()
	for range 1000 {
		address := "127.0.0.1:" + strconv.Itoa(first+rand.IntN(end-first)) //nolint:gosec // a port, not a secret
		claim, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", address)
		if err != nil {
			continue
		}
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			given.Store(address, claim)
			return address
		}
		_, _ = connection.Close(), claim.Close() // a server of somebody else listens here
	}
	t.Fatal("there is no free port")
	return ""
}

// firstOutgoingPort returns the lowest port that the system gives to outgoing connections: Linux says it, other systems
// start at 49,152 or 32,768.
func firstOutgoingPort() int {
	settings, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range") // elsewhere there is no such file
	var first int
	if _, err := fmt.Sscan(string(settings), &first); err != nil || first <= 11_000 {
		return 30_000
	}
	return first
}

// Trusting returns a transport that trusts the certificate in the PEM file.
func Trusting(t testing.TB, file string) *http.Transport {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", file)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
}

// Until asks again and again whether the condition holds, until it does or ctx is done.
func Until(ctx context.Context, holds func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// firstWrite is closed by the first write to it, the ready message. There is no other.
type firstWrite chan struct{}

func (w firstWrite) Write(p []byte) (int, error) {
	close(w)
	return len(p), nil
}
