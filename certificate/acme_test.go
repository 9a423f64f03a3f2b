package certificate_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/certificate"
)

// authority is a minimal ACME authority (RFC 8555). It issues certificates for one domain once
// it has reached the server by tls-alpn-01 (RFC 8737). It checks no signatures.
type authority struct {
	*httptest.Server
	t      *testing.T
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
	target string // address that stands for the domain's port 443
	broken bool
	valid  atomic.Bool
	issued atomic.Int32
	chain  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	root, err := x509.ParseCertificate(der)
	must(t, err)
	a := &authority{t: t, root: root, key: key}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

const domain = "events.example.org"

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Replay-Nonce", "nonce")
	respond := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	if a.broken && r.URL.Path != "/directory" && r.URL.Path != "/nonce" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"type":"urn:ietf:params:acme:error:unauthorized","detail":"not today"}`))
		return
	}
	status := map[bool]string{false: "pending", true: "valid"}[a.valid.Load()]
	order := map[string]any{
		"status": map[bool]string{false: "pending", true: "ready"}[a.valid.Load()], "authorizations": []string{a.URL + "/authz"},
		"finalize": a.URL + "/finalize", "identifiers": []map[string]string{{"type": "dns", "value": domain}},
	}
	challenge := map[string]string{"type": "tls-alpn-01", "url": a.URL + "/challenge", "token": "the-token-of-the-challenge", "status": status}
	switch r.URL.Path {
	case "/directory":
		respond(200, map[string]any{
			"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/order", "revokeCert": a.URL + "/revoke", "keyChange": a.URL + "/key",
		})
	case "/nonce":
	case "/account":
		w.Header().Set("Location", a.URL+"/account/1")
		respond(201, map[string]string{"status": "valid"})
	case "/order/1":
		respond(200, order)
	case "/order":
		w.Header().Set("Location", a.URL+"/order/1")
		respond(201, order)
	case "/authz":
		respond(200, map[string]any{
			"status": status, "identifier": map[string]string{"type": "dns", "value": domain}, "challenges": []any{challenge},
		})
	case "/challenge":
		if err := a.probe(); err != nil {
			a.t.Errorf("the challenge: %v", err)
		}
		a.valid.Store(true)
		respond(200, challenge)
	case "/finalize":
		if err := a.issue(r); err != nil {
			a.t.Errorf("the request for a certificate: %v", err)
		}
		order["status"], order["certificate"] = "valid", a.URL+"/certificate"
		w.Header().Set("Location", a.URL+"/order/1")
		respond(200, order)
	case "/certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(a.chain)
	default:
		respond(404, map[string]string{"detail": r.URL.Path})
	}
}

// probe connects to the domain's port 443 as the authority does.
func (a *authority) probe() error {
	conn, err := tls.Dial("tcp", a.target, &tls.Config{ServerName: domain, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	state := conn.ConnectionState()
	if got := state.PeerCertificates[0]; state.NegotiatedProtocol != "acme-tls/1" || got.DNSNames[0] != domain {
		err = fmt.Errorf("%s for %v", state.NegotiatedProtocol, got.DNSNames)
	}
	return errors.Join(err, conn.Close())
}

func (a *authority) issue(r *http.Request) error {
	var jws struct{ Payload string }
	var payload struct{ CSR string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		return err
	}
	text, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &payload); err != nil {
		return err
	}
	der, err := base64.RawURLEncoding.DecodeString(payload.CSR)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	months := 3
	if csr.PublicKeyAlgorithm == x509.RSA {
		months = 2
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, months, 0),
	}, a.root, csr.PublicKey, a.key)
	a.issued.Add(1)
	a.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})
	return err
}

// serveTLS serves with the source's certificates until the test ends.
func serveTLS(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), TLSConfig: config, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		must(t, server.Close())
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestACMEGetsACertificate(t *testing.T) {
	a := newAuthority(t)
	cfg := certificate.ACMEConfig{Domains: []string{domain}, Folder: filepath.Join(t.TempDir(), "data", "acme"), Directory: a.URL + "/directory"}
	run := func() (address string) {
		logged := make(lines, 10)
		cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
		source, err := certificate.NewACME(cfg)
		must(t, err)
		if expires := source.Expires(); !expires.IsZero() {
			t.Errorf("without a certificate, it expires on %v", expires)
		}
		address = serveTLS(t, source.TLS())
		a.target = address
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		t.Cleanup(func() { cancel(); must(t, <-ended) })
		if text := <-logged; !strings.Contains(text, "domain="+domain) || strings.Contains(text, "WARN") {
			t.Fatalf("logged: %s", text)
		}
		if expires := source.Expires(); time.Until(expires).Round(24*time.Hour) != time.Until(time.Now().AddDate(0, 3, 0)).Round(24*time.Hour) {
			t.Errorf("the certificate expires on %v, want in three months", expires)
		}
		return address
	}
	for start := range 2 { // the second start finds the certificate in the folder
		roots := x509.NewCertPool()
		roots.AddCert(a.root)
		address := run()
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: domain, MinVersion: tls.VersionTLS12}}}
		response, err := client.Get("https://" + address)
		must(t, err)
		must(t, response.Body.Close())
		client.CloseIdleConnections()
		if response.ProtoMajor != 2 || a.issued.Load() != 1 {
			t.Errorf("start %d: %s, %d certificates were issued", start, response.Proto, a.issued.Load())
		}
		// No certificate is requested for other names.
		if conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "else.example.org", InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}); err == nil {
			t.Errorf("a handshake for another domain: %v", conn.Close())
		}
	}
	if info, err := os.Stat(cfg.Folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info, err)
	}
	entries, err := os.ReadDir(cfg.Folder)
	must(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if len(entries) == 0 {
		t.Error("nothing is stored")
	}
}

// A domain has two certificates if some of its clients only know RSA. The first that expires counts, whichever was served last.
func TestTheFirstCertificateToExpireCounts(t *testing.T) {
	a := newAuthority(t)
	source, err := certificate.NewACME(certificate.ACMEConfig{
		Domains: []string{domain}, Folder: t.TempDir(), Directory: a.URL + "/directory", Logger: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	config := source.TLS()
	a.target = serveTLS(t, config)
	modern := &tls.ClientHelloInfo{ServerName: domain, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	for i, hello := range []*tls.ClientHelloInfo{modern, {ServerName: domain}, modern} {
		served, err := config.GetCertificate(hello)
		must(t, err)
		want := served.Leaf.NotAfter
		if i > 0 {
			want = time.Now().AddDate(0, 2, 0)
		}
		if expires := source.Expires(); want.Sub(expires).Abs() > time.Hour {
			t.Errorf("after handshake %d, the first certificate expires on %v, want %v", i, expires, want)
		}
	}
	if n := a.issued.Load(); n != 2 {
		t.Errorf("%d certificates were issued", n)
	}
}

// A failure is logged once, not at each handshake, and only for configured domains.
func TestACMELogsAFailureOnce(t *testing.T) {
	a := newAuthority(t)
	a.broken = true
	var logged bytes.Buffer
	source, err := certificate.NewACME(certificate.ACMEConfig{
		Domains: []string{domain}, Folder: t.TempDir(), Directory: a.URL + "/directory", Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	must(t, err)
	config := source.TLS()
	for _, name := range []string{domain, domain, domain, "else.example.org", ""} {
		if _, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); err == nil {
			t.Errorf("%q has a certificate", name)
		}
	}
	if n := strings.Count(logged.String(), "\n"); n != 1 || !strings.Contains(logged.String(), "not today") || !strings.Contains(logged.String(), "level=WARN") {
		t.Errorf("logged:\n%s", &logged)
	}
}

func TestACMENeedsItsFolder(t *testing.T) {
	_, err := certificate.NewACME(certificate.ACMEConfig{Domains: []string{domain}, Folder: "/dev/null/acme", Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("%v", err)
	}
}

// lines sends each logged line to a channel.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
