package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"freshet/certificate"
	"freshet/config"
)

// certificates is where the server's certificate comes from.
type certificates interface {
	TLS() *tls.Config
	Names() []string
	Expires() time.Time
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
	host, port, _ := net.SplitHostPort(addr.String()) // a TCP address has both
	ip := net.ParseIP(host)
	anyHost := ip == nil || ip.IsUnspecified()
	if anyHost {
		host = "localhost"
	}
	switch c := certs.(type) {
	case nil:
		return "http://" + net.JoinHostPort(host, port)
	case *certificate.ACME: // it is reached at port 443, or there is no certificate
		return "https://" + c.Names()[0]
	default:
		names := slices.DeleteFunc(slices.Clone(c.Names()), func(name string) bool { return strings.HasPrefix(name, "*") })
		if anyHost && len(names) > 0 && !slices.Contains(names, host) {
			host = names[0]
		}
		return "https://" + strings.TrimSuffix(net.JoinHostPort(host, port), ":443")
	}
}
