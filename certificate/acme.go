package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// complainEvery is how often the log tells of a domain without a certificate, which
	// each handshake finds out.
	complainEvery = time.Minute
	// retryEvery keeps to what authorities allow: Let's Encrypt five failures an hour.
	retryEvery = 15 * time.Minute
)

// ACMEConfig says which certificates to get. All but Directory is needed.
type ACMEConfig struct {
	Domains   []string // lower case
	Folder    string   // keeps account, keys and certificates; made with mode 0700
	Directory string   // URL of the authority; empty: Let's Encrypt
	Logger    *slog.Logger
}

// ACME gets certificates for domains, keeps them in a folder, and renews them 30 days
// before they end. The authority asks at port 443 of the domain, within TLS (RFC 8737,
// tls-alpn-01): no other port is needed.
//
// Renewals are on timers of package autocert, which end with the process.
type ACME struct {
	manager *autocert.Manager
	domains []string
	logger  *slog.Logger

	mu       sync.Mutex
	complain map[string]time.Time // by domain, when the log may tell of it again
}

// NewACME makes the folder. It asks the authority nothing.
func NewACME(cfg ACMEConfig) (*ACME, error) {
	if len(cfg.Domains) == 0 || cfg.Folder == "" || cfg.Logger == nil {
		return nil, errors.New("certificate: domains, a folder and a logger are needed")
	}
	if err := os.MkdirAll(cfg.Folder, 0o700); err != nil {
		return nil, err
	}
	// Without a place to keep them, each restart would ask for others, until the authority gives none.
	probe, err := os.CreateTemp(cfg.Folder, "probe")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return nil, err
	}
	return &ACME{
		manager: &autocert.Manager{
			Prompt:     autocert.AcceptTOS,
			Cache:      autocert.DirCache(filepath.Clean(cfg.Folder)),
			HostPolicy: autocert.HostWhitelist(cfg.Domains...),
			Client: &acme.Client{
				DirectoryURL: cfg.Directory, UserAgent: "freshet",
				HTTPClient: &http.Client{Timeout: 30 * time.Second}, // of each request
			},
		},
		domains:  cfg.Domains,
		logger:   cfg.Logger,
		complain: map[string]time.Time{},
	}, nil
}

// TLS is for one server; each call makes another.
func (a *ACME) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: a.get,
		NextProtos:     []string{acme.ALPNProto},
	}
}

// Names are the domains.
func (a *ACME) Names() []string { return a.domains }

// Run asks for what certificates are missing, so that the first visitor need not wait and
// the operator sees at once what is wrong. The server has to be up: the authority asks it.
func (a *ACME) Run(ctx context.Context) error {
	for _, domain := range a.domains {
		for !a.obtain(ctx, domain) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(retryEvery):
			}
		}
	}
	<-ctx.Done()
	return nil
}

// obtain returns once there is a certificate, there is none, or ctx is done: then autocert
// is left to its own limit of five minutes, as it cannot be told to stop.
func (a *ACME) obtain(ctx context.Context, domain string) bool {
	got := make(chan bool, 1)
	go func() {
		// As of any reader of today. Those that know RSA alone get one at their first handshake.
		certificate, err := a.get(&tls.ClientHelloInfo{
			ServerName:       domain,
			CipherSuites:     []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
			SupportedCurves:  []tls.CurveID{tls.CurveP256},
		})
		if err == nil {
			a.logger.Info("certificate", "domain", domain, "to", certificate.Leaf.NotAfter)
		}
		got <- err == nil
	}()
	select {
	case ok := <-got:
		return ok
	case <-ctx.Done():
		return false
	}
}

// get logs why a domain of ours has no certificate. Of other names there is nothing to
// log: anybody can ask for those.
func (a *ACME) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certificate, err := a.manager.GetCertificate(hello)
	asked := slices.Contains(hello.SupportedProtos, acme.ALPNProto) // by whoever plays an authority
	if err != nil && !asked && slices.Contains(a.domains, hello.ServerName) && a.mayComplain(hello.ServerName) {
		a.logger.Warn("no certificate: does port 443 of the domain lead here?", "domain", hello.ServerName, "error", fmt.Sprintf("%.500s", err))
	}
	return certificate, err
}

func (a *ACME) mayComplain(domain string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if now.Before(a.complain[domain]) {
		return false
	}
	a.complain[domain] = now.Add(complainEvery)
	return true
}
