package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
	"golang.org/x/time/rate"
)

const (
	warnInterval  = time.Minute      // for each domain: every handshake without a certificate would log a warning
	retryInterval = 15 * time.Minute // Let's Encrypt allows five failures an hour
)

// ACMEConfig says which certificates to get. Only Directory is optional.
type ACMEConfig struct {
	Domains   []string // lower case
	Folder    string   // for account, keys and certificates; created with mode 0700
	Directory string   // URL of the authority; empty: Let's Encrypt
	Logger    *slog.Logger
}

// ACME gets certificates for domains, stores them in a folder, and renews them 30 days before
// they expire. The authority connects to port 443 of the domain (RFC 8737, tls-alpn-01); no
// other port is needed.
//
// Package autocert renews with timers that end only with the process.
type ACME struct {
	manager *autocert.Manager
	domains []string
	logger  *slog.Logger
	warn    map[string]*rate.Sometimes // by domain

	mu     sync.Mutex
	served map[variant]bool
}

// variant is one of the certificates of a domain: clients that only know RSA get their own.
type variant struct {
	domain string
	rsa    bool
}

// NewACME creates the folder. It does not contact the authority.
func NewACME(cfg ACMEConfig) (*ACME, error) {
	if err := os.MkdirAll(cfg.Folder, 0o700); err != nil {
		return nil, err
	}
	// Fail early if nothing can be stored: each restart would get new certificates, until the authority refuses.
	probe, err := os.CreateTemp(cfg.Folder, "probe")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return nil, err
	}
	warn := map[string]*rate.Sometimes{}
	for _, domain := range cfg.Domains {
		warn[domain] = &rate.Sometimes{Interval: warnInterval}
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
		domains: cfg.Domains,
		logger:  cfg.Logger,
		warn:    warn,
		served:  map[variant]bool{},
	}, nil
}

// TLS returns a new configuration, for one server.
func (a *ACME) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: a.get, NextProtos: []string{acme.ALPNProto}}
}

// Names returns the domains.
func (a *ACME) Names() []string { return a.domains }

// Expires returns when the first of the served certificates expires. It is the zero time while a domain has none.
func (a *ACME) Expires() (first time.Time) {
	a.mu.Lock()
	served := maps.Clone(a.served)
	a.mu.Unlock()
	for _, domain := range a.domains {
		if !served[variant{domain, false}] && !served[variant{domain, true}] {
			return time.Time{}
		}
	}
	for v := range served {
		// The manager has it in memory, and may have renewed it since it was served.
		certificate, err := a.manager.GetCertificate(v.hello())
		if err == nil && (first.IsZero() || certificate.Leaf.NotAfter.Before(first)) {
			first = certificate.Leaf.NotAfter
		}
	}
	return first
}

// hello is how a client asks for the certificate.
func (v variant) hello() *tls.ClientHelloInfo {
	hello := &tls.ClientHelloInfo{ServerName: v.domain}
	if !v.rsa {
		hello.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		hello.SignatureSchemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
		hello.SupportedCurves = []tls.CurveID{tls.CurveP256}
	}
	return hello
}

// Run gets the missing certificates, so that the first visitor does not wait and the operator
// sees problems at once. The server must be running: the authority connects to it.
func (a *ACME) Run(ctx context.Context) error {
	for _, domain := range a.domains {
		for !a.obtain(ctx, domain) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(retryInterval):
			}
		}
	}
	<-ctx.Done()
	return nil
}

// obtain reports whether the domain has a certificate. If ctx ends first, autocert continues up
// to its own limit of five minutes, because it cannot be stopped.
func (a *ACME) obtain(ctx context.Context, domain string) bool {
	got := make(chan bool, 1)
	go func() {
		// As a modern client asks. Clients that only know RSA get a certificate at their first handshake.
		certificate, err := a.get(variant{domain: domain}.hello())
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

// get logs why one of the domains has no certificate. It does not log other names: anybody can
// ask for them.
func (a *ACME) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certificate, err := a.manager.GetCertificate(hello)
	challenge := slices.Contains(hello.SupportedProtos, acme.ALPNProto) // anybody can send one
	warn := a.warn[hello.ServerName]
	switch {
	case challenge || warn == nil:
	case err == nil:
		a.mu.Lock()
		a.served[variant{hello.ServerName, certificate.Leaf.PublicKeyAlgorithm == x509.RSA}] = true
		a.mu.Unlock()
	default:
		warn.Do(func() {
			a.logger.Warn("no certificate: check that port 443 of the domain reaches this server", "domain", hello.ServerName, "error", fmt.Sprintf("%.500s", err))
		})
	}
	return certificate, err
}
