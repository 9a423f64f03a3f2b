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
	"unicode"
	"unicode/utf8"
)

// maxBody keeps an event, with its headers, well under the 64 MiB that a NATS server takes at most.
const maxBody Bytes = 32 << 20

// validate holds the rules that types cannot: bounds of single flags, and what must not stand together.
func (c *Config) validate() error {
	if len(c.Listen) == 0 {
		return errors.New("--listen: no address: want host:port or :port")
	}
	for _, address := range c.Listen {
		_, port, err := net.SplitHostPort(address)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			return fmt.Errorf("--listen: %q is not allowed: want host:port or :port", address)
		}
	}
	if len(c.CORSOrigins) == 0 {
		return errors.New("--cors-origin: no origin: want * or scheme://host[:port]")
	}
	for i, text := range c.CORSOrigins {
		origin, ok := parseOrigin(text)
		if !ok {
			return fmt.Errorf("--cors-origin: %q is not allowed: want * or scheme://host[:port], without a path", text)
		}
		c.CORSOrigins[i] = origin
	}
	if len(c.Anonymous) == 1 && (c.Anonymous[0] == "" || c.Anonymous[0] == "none") {
		c.Anonymous = nil // a variable set to nothing would be the default
	}
	for _, pattern := range c.Anonymous {
		if !isPattern(pattern) {
			return fmt.Errorf("--anonymous: %q is not allowed: want a topic pattern such as news, orders.* or public.>, or none alone", pattern)
		}
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
	case c.PublishToken != "" && !isToken(string(c.PublishToken)):
		return errors.New("--publish-token: too weak or malformed: want at least 16 printable ASCII characters and no space")
	case c.JWTSecret != "" && len(c.JWTSecret) < 32:
		return errors.New("--jwt-secret: too short: want at least 32 bytes, best of them random")
	case c.JWKSURL != "" && !isWeb(c.JWKSURL):
		return errors.New("--jwks-url: not allowed: want http:// or https://, a host and a path, without user or password")
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
		return errors.New("--acme-domain: not allowed together with --tls-cert: certificates are either got by ACME or read from files")
	case c.ACMEDirectory != "" && len(c.ACMEDomains) == 0:
		return errors.New("--acme-directory: only allowed together with --acme-domain")
	case c.ACMEDirectory != "" && (err != nil || u.Scheme != "https" || u.Hostname() == ""):
		return fmt.Errorf("--acme-directory: %q is not allowed: want an https URL", c.ACMEDirectory)
	}
	return nil
}

// isDomain says whether an authority may be asked for a certificate of that name: two labels or more, and no address.
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

// parseOrigin gives an origin the form in which browsers send it: lower case, no default port.
func parseOrigin(text string) (string, bool) {
	if text == "*" {
		return text, true
	}
	text = strings.ToLower(text)
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || text != u.Scheme+"://"+u.Host {
		return "", false
	}
	// A wildcard inside would match nothing, and browsers write other alphabets as punycode.
	if strings.ContainsFunc(text, func(r rune) bool { return r == '*' || r <= ' ' || r > '~' }) {
		return "", false
	}
	switch u.Scheme {
	case "http":
		text = strings.TrimSuffix(text, ":80")
	case "https":
		text = strings.TrimSuffix(text, ":443")
	}
	return text, true
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

func isWeb(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.Fragment == ""
}

// isPattern is package event's rule for patterns.
func isPattern(text string) bool {
	tokens := strings.Split(text, ".")
	for i, token := range tokens {
		if token == "*" || token == ">" && i == len(tokens)-1 {
			continue
		}
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return strings.ContainsRune(" *>/", r) || !unicode.IsPrint(r) }) {
			return false
		}
	}
	return len(text) <= 200 && utf8.ValidString(text)
}

func isToken(text string) bool {
	return len(text) >= 16 && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
