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
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/certificate"
)

// identity returns a self-signed certificate for the name, and its key, as PEM.
func identity(t *testing.T, name string, until time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.AddDate(-1, 0, 0), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// pair is a pair of files behind a symbolic link to their folder, as Kubernetes mounts a secret.
type pair struct {
	top, cert, key string
	n              int
}

func newPair(t *testing.T, name string) *pair {
	t.Helper()
	top := t.TempDir()
	p := &pair{top: top, cert: filepath.Join(top, "tls.crt"), key: filepath.Join(top, "tls.key")}
	must(t, os.Symlink(filepath.Join("..data", "tls.crt"), p.cert))
	must(t, os.Symlink(filepath.Join("..data", "tls.key"), p.key))
	cert, key := identity(t, name, time.Now().AddDate(0, 1, 0))
	p.swap(t, cert, key)
	return p
}

// swap replaces both files at once.
func (p *pair) swap(t *testing.T, cert, key []byte) {
	t.Helper()
	p.n++
	folder := "..v" + string(rune('0'+p.n))
	must(t, os.Mkdir(filepath.Join(p.top, folder), 0o700))
	must(t, os.WriteFile(filepath.Join(p.top, folder, "tls.crt"), cert, 0o600))
	must(t, os.WriteFile(filepath.Join(p.top, folder, "tls.key"), key, 0o600))
	must(t, os.Symlink(folder, filepath.Join(p.top, "..tmp")))
	must(t, os.Rename(filepath.Join(p.top, "..tmp"), filepath.Join(p.top, "..data")))
}

func (p *pair) open(t *testing.T) (*certificate.Files, *bytes.Buffer) {
	t.Helper()
	var logged bytes.Buffer
	f, err := certificate.OpenFiles(p.cert, p.key, slog.New(slog.NewTextHandler(&logged, nil)))
	must(t, err)
	return f, &logged
}

// served returns the name in the certificate of a handshake.
func served(t *testing.T, config *tls.Config) string {
	t.Helper()
	got, err := config.GetCertificate(&tls.ClientHelloInfo{})
	must(t, err)
	return got.Leaf.DNSNames[0]
}

func TestRenewedFilesAreServed(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, p *pair, cert, key []byte){
		"a symbolic link above": func(t *testing.T, p *pair, cert, key []byte) { p.swap(t, cert, key) },
		"renamed into place": func(t *testing.T, p *pair, cert, key []byte) {
			for file, text := range map[string][]byte{p.cert: cert, p.key: key} {
				must(t, os.WriteFile(file+".new", text, 0o600))
				must(t, os.Rename(file+".new", file))
			}
		},
		"written over": func(t *testing.T, p *pair, cert, key []byte) {
			info, err := os.Stat(p.cert)
			must(t, err)
			must(t, os.WriteFile(p.cert, cert, 0o600))
			must(t, os.WriteFile(p.key, key, 0o600))
			must(t, os.Chtimes(p.cert, info.ModTime(), info.ModTime())) // the content changes, the time does not
			must(t, os.Chtimes(p.key, info.ModTime(), info.ModTime()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, "old.example")
			f, logged := p.open(t)
			config := f.TLS()
			if f.Check(); served(t, config) != "old.example" {
				t.Fatalf("served: %s", served(t, config))
			}
			before := f.Expires()
			cert, key := identity(t, "new.example", time.Now().AddDate(0, 2, 0))
			replace(t, p, cert, key)
			if f.Check(); served(t, config) != "new.example" || f.Names()[0] != "new.example" || !f.Expires().After(before) {
				t.Errorf("served: %s", served(t, config))
			}
			f.Check()
			if n := strings.Count(logged.String(), "certificate renewed"); n != 1 || strings.Contains(logged.String(), "WARN") {
				t.Errorf("logged:\n%s", logged)
			}
		})
	}
}

// If the new pair is invalid, the previous one is served, and the log says so once.
func TestABrokenPairIsNotServed(t *testing.T) {
	cert, key := identity(t, "new.example", time.Now().AddDate(0, 1, 0))
	_, otherKey := identity(t, "new.example", time.Now().AddDate(0, 1, 0))
	for name, c := range map[string]struct{ cert, key []byte }{
		"another's key":    {cert, otherKey},
		"half a file":      {cert[:len(cert)/2], key},
		"empty":            {nil, nil},
		"no PEM":           {[]byte("not a certificate"), key},
		"the other way":    {key, cert},
		"endless":          {bytes.Repeat([]byte("x"), 2<<20), key},
		"an encrypted key": {cert, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, "old.example")
			f, logged := p.open(t)
			config := f.TLS()
			p.swap(t, c.cert, c.key)
			f.Check()
			if strings.Contains(logged.String(), "WARN") {
				t.Errorf("warned at the first check:\n%s", logged)
			}
			for range 5 {
				f.Check()
			}
			if got := served(t, config); got != "old.example" {
				t.Errorf("served: %s", got)
			}
			if n := strings.Count(logged.String(), "WARN"); n != 1 || strings.Contains(logged.String(), "PRIVATE KEY") {
				t.Errorf("%d warnings:\n%s", n, logged)
			}
			p.swap(t, cert, key)
			if f.Check(); served(t, config) != "new.example" {
				t.Errorf("once it is valid, served: %s", served(t, config))
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		p := newPair(t, "old.example")
		f, logged := p.open(t)
		must(t, os.Remove(p.key))
		f.Check()
		f.Check()
		f.Check()
		if got := served(t, f.TLS()); got != "old.example" || strings.Count(logged.String(), "WARN") != 1 {
			t.Errorf("served: %s, logged:\n%s", got, logged)
		}
	})
}

func TestRunChecksTheFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "old.example")
		f, _ := p.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		cert, key := identity(t, "new.example", time.Now().AddDate(0, 1, 0))
		p.swap(t, cert, key)
		<-time.After(10 * time.Second)
		synctest.Wait()
		if got := served(t, f.TLS()); got != "new.example" {
			t.Errorf("after ten seconds served: %s", got)
		}
		cancel()
		must(t, <-ended)
	})
}

func TestInvalidFilesCannotBeOpened(t *testing.T) {
	p := newPair(t, "old.example")
	_, otherKey := identity(t, "old.example", time.Now())
	other := filepath.Join(t.TempDir(), "other.key")
	must(t, os.WriteFile(other, otherKey, 0o600))
	for _, c := range []struct{ cert, key, want string }{
		{"/nowhere/a.pem", p.key, "/nowhere/a.pem"},
		{p.cert, "/nowhere/a.key", "/nowhere/a.key"},
		{p.top, p.key, p.top},
		{p.cert, other, "does not match"},
		{p.key, p.cert, p.key},
	} {
		_, err := certificate.OpenFiles(c.cert, c.key, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s, %s: %v, want one line with %q", c.cert, c.key, err, c.want)
		}
	}
}

// It is served anyway: its clients may not check.
func TestAnExpiredCertificateIsLoggedAsAWarning(t *testing.T) {
	p := newPair(t, "old.example")
	cert, key := identity(t, "old.example", time.Now().AddDate(0, 0, -1))
	p.swap(t, cert, key)
	if _, logged := p.open(t); !strings.Contains(logged.String(), "WARN") || !strings.Contains(logged.String(), "expired") {
		t.Errorf("logged:\n%s", logged)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
