package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"freshet/certificate"
	"freshet/config"
)

// certificates is where the server's certificate comes from.
type certificates interface {
	TLS() *tls.Config
	Names() []string
	Run(ctx context.Context) error
}

// openCertificates returns what the configuration names; nil is no TLS.
func openCertificates(cfg config.Config, logger *slog.Logger) (certificates, error) {
	switch {
	case cfg.TLSCert != "":
		files, err := certificate.OpenFiles(cfg.TLSCert, cfg.TLSKey, logger)
		if err != nil {
			return nil, fmt.Errorf("%w; check --tls-cert and --tls-key", err)
		}
		return files, nil
	case len(cfg.ACMEDomains) > 0:
		acme, err := certificate.NewACME(certificate.ACMEConfig{
			Domains: cfg.ACMEDomains, Folder: filepath.Join(cfg.Data, "acme"), Directory: cfg.ACMEDirectory, Logger: logger,
		})
		if err != nil {
			return nil, fmt.Errorf("%w; --acme-domain keeps certificates in the folder of --data", err)
		}
		return acme, nil
	}
	return nil, nil //nolint:nilnil // no TLS
}

// baseURL is an address in the form that one can open on this machine; over TLS with a name
// that the certificate is for.
func baseURL(addr net.Addr, certs certificates) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	switch c := certs.(type) {
	case nil:
		return "http://" + net.JoinHostPort(host, port)
	case *certificate.ACME: // it is reached at port 443, or there is no certificate
		return "https://" + c.Names()[0]
	default:
		if ip == nil || ip.IsUnspecified() {
			host = nameOn(c.Names(), host)
		}
		if port == "443" {
			return "https://" + urlHost(host)
		}
		return "https://" + net.JoinHostPort(host, port)
	}
}

// nameOn is the name, or another that can be opened if the certificate is not for it.
func nameOn(names []string, name string) string {
	other := ""
	for _, n := range names {
		if n == name {
			return name
		}
		if other == "" && !strings.HasPrefix(n, "*") {
			other = n
		}
	}
	if other == "" {
		return name
	}
	return other
}

func urlHost(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
