package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"freshet/auth"
)

// maxBody keeps an event with its headers well below 64 MiB, the largest message of a NATS server.
const maxBody Bytes = 32 << 20

// validate checks what the parsers of single values cannot: bounds of flags, and flags that exclude or need each other.
func (c *Config) validate() error {
	if len(c.Listen) == 0 {
		return errors.New("--listen: no address: want host:port or :port")
	}
	for _, address := range c.Listen {
		_, port, err := net.SplitHostPort(address)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			return fmt.Errorf("--listen: %q is not allowed: want host:port or :port, with a port up to 65535", address)
		}
	}
	if len(c.CORSOrigins) == 0 {
		return errors.New("--cors-origin: no origin: want * or scheme://host[:port]")
	}
	for i, text := range c.CORSOrigins {
		if text == "*" {
			continue
		}
		origin, err := auth.ParseOrigin(text)
		// Nobody should expect a path, or a wildcard in the host, to have an effect.
		if err != nil || strings.ContainsAny(text[len(text)-1:], "/:") || strings.Contains(text, "*") {
			return fmt.Errorf("--cors-origin: %q is not allowed: want * or scheme://host[:port], without a path", text)
		}
		c.CORSOrigins[i] = origin
	}
	if len(c.Anonymous) == 1 && c.Anonymous[0].String() == "none" {
		c.Anonymous = nil // the variable needs a word for it, since an empty variable means the default
	}
	for _, server := range strings.Split(string(c.NATS), ",") {
		if c.NATS != "" && !isNATS(server) {
			return errors.New("--nats: not a list of NATS URLs: want nats://host[:port][,…], or with tls, ws or wss as scheme")
		}
	}
	if err := c.validateTLS(); err != nil {
		return err
	}
	switch {
	case c.Data == "":
		return errors.New("--data: no folder: want the path of one")
	case c.RetainAge > 0 && c.RetainAge < time.Second:
		return fmt.Errorf("--retain-age: %v is too short: want 0 or at least 1s", c.RetainAge)
	case c.WindowBytes == 0:
		return errors.New("--window-bytes: 0 is not allowed: want at least 1B")
	case c.MaxReplays == 0:
		return errors.New("--max-replays: 0 is not allowed: want at least 1")
	case c.MaxBody == 0 || c.MaxBody > maxBody:
		return fmt.Errorf("--max-body: %v is not allowed: want 1B to %v", c.MaxBody, maxBody)
	case c.NATSCreds != "" && c.NATS == "":
		return errors.New("--nats-creds: only allowed together with --nats")
	case c.Replicas < 1 || c.Replicas > 5:
		return fmt.Errorf("--replicas: %d is not allowed: want 1 to 5", c.Replicas)
	case c.Replicas > 1 && c.NATS == "":
		return errors.New("--replicas: more than 1 is only allowed together with --nats: the embedded log is a single copy")
	}
	return c.validateKeys()
}

func (c *Config) validateKeys() error {
	for _, key := range []struct {
		flag, text string
		check      func(string) error
	}{
		{"--publish-token", string(c.PublishToken), auth.CheckPublishToken},
		{"--jwt-secret", string(c.JWTSecret), auth.CheckSecret},
		{"--jwks-url", c.JWKSURL, auth.CheckKeySetURL},
	} {
		if key.text == "" {
			continue
		}
		if err := key.check(key.text); err != nil {
			return fmt.Errorf("%s: %w", key.flag, err)
		}
	}
	switch {
	case c.JWTAudience != "" && c.JWTSecret == "" && c.JWKSURL == "":
		return errors.New("--jwt-audience: only allowed together with --jwt-secret or --jwks-url")
	case c.JWTIssuer != "" && c.JWTSecret == "" && c.JWKSURL == "":
		return errors.New("--jwt-issuer: only allowed together with --jwt-secret or --jwks-url")
	}
	return nil
}

func (c *Config) validateTLS() error {
	for i, domain := range c.ACMEDomains {
		domain = strings.TrimSuffix(strings.ToLower(domain), ".")
		if !isDomain(domain) {
			return fmt.Errorf("--acme-domain: %q is not allowed: want a domain such as events.example.org, in ASCII, without a wildcard or port", c.ACMEDomains[i])
		}
		c.ACMEDomains[i] = domain
	}
	switch u, err := url.Parse(c.ACMEDirectory); {
	case c.TLSCert != "" && c.TLSKey == "":
		return errors.New("--tls-cert: only allowed together with --tls-key")
	case c.TLSKey != "" && c.TLSCert == "":
		return errors.New("--tls-key: only allowed together with --tls-cert")
	case len(c.ACMEDomains) > 0 && c.TLSCert != "":
		return errors.New("--acme-domain: not allowed together with --tls-cert: certificates come either from ACME or from files")
	case c.ACMEDirectory != "" && len(c.ACMEDomains) == 0:
		return errors.New("--acme-directory: only allowed together with --acme-domain")
	case c.ACMEDirectory != "" && (err != nil || u.Scheme != "https" || u.Hostname() == ""):
		return fmt.Errorf("--acme-directory: %q is not allowed: want an https URL", c.ACMEDirectory)
	}
	return nil
}

// isDomain reports whether an ACME authority can issue a certificate for the name: it has two labels or more, and is no address.
func isDomain(text string) bool {
	labels := strings.Split(text, ".")
	if len(text) > 253 || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		odd := strings.ContainsFunc(label, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
		if odd || label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	_, err := netip.ParseAddr(text)
	return err != nil
}

func isNATS(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return false
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return true
	}
	return false
}
