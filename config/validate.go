package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/auth"

	"golang.org/x/net/idna"
)

// maxBody leaves room for an event's topic and headers: JetStream stores them with its data in a record of at most 32 MiB.
const maxBody Bytes = 31 << 20

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
	for i, text := range c.Hosts {
		name, err := parseHost(text)
		if err != nil {
			return err
		}
		c.Hosts[i] = name
	}
	for i, text := range c.ACMEDomains {
		domain := strings.TrimSuffix(strings.ToLower(text), ".")
		if !isDomain(domain) {
			return fmt.Errorf("--acme-domain: %q is not allowed: want a domain such as events.example.org, in ASCII, without a wildcard or port", text)
		}
		c.ACMEDomains[i] = domain
	}
	directory, _ := url.Parse(c.ACMEDirectory)
	noJWT := c.JWTSecret == "" && c.JWKSURL == ""
	return cmp.Or(
		refuse(c.Data == "", "--data: no folder: want the path of one"),
		refuse(c.RetainAge > 0 && c.RetainAge < time.Second, "--retain-age: %v is too short: want 0 or at least 1s", c.RetainAge),
		refuse(c.WindowBytes == 0, "--window-bytes: 0 is not allowed: want at least 1B"),
		refuse(c.MaxReplays == 0, "--max-replays: 0 is not allowed: want at least 1"),
		refuse(c.MaxBody == 0 || c.MaxBody > maxBody, "--max-body: %v is not allowed: want 1B to %v", c.MaxBody, maxBody),
		refuse(c.Replicas < 1 || c.Replicas > 5, "--replicas: %d is not allowed: want 1 to 5", c.Replicas),
		refuse(c.Replicas > 1 && c.NATS == "", "--replicas: more than 1 is only allowed together with --nats: the embedded log is a single copy"),
		refuse(c.NATSCreds != "" && c.NATS == "", "--nats-creds: only allowed together with --nats"),
		refuse(c.TLSCert != "" && c.TLSKey == "", "--tls-cert: only allowed together with --tls-key"),
		refuse(c.TLSKey != "" && c.TLSCert == "", "--tls-key: only allowed together with --tls-cert"),
		refuse(len(c.ACMEDomains) > 0 && c.TLSCert != "", "--acme-domain: not allowed together with --tls-cert: certificates come either from ACME or from files"),
		refuse(c.ACMEDirectory != "" && len(c.ACMEDomains) == 0, "--acme-directory: only allowed together with --acme-domain"),
		refuse(c.ACMEDirectory != "" && (directory == nil || directory.Scheme != "https" || directory.Hostname() == ""), "--acme-directory: %q is not allowed: want an https URL", c.ACMEDirectory),
		check("--publish-token", string(c.PublishToken), auth.CheckPublishToken),
		check("--jwt-secret", string(c.JWTSecret), auth.CheckSecret),
		check("--jwks-url", c.JWKSURL, auth.CheckKeySetURL),
		refuse(c.JWTAudience != "" && noJWT, "--jwt-audience: only allowed together with --jwt-secret or --jwks-url"),
		refuse(c.JWTIssuer != "" && noJWT, "--jwt-issuer: only allowed together with --jwt-secret or --jwks-url"),
	)
}

func refuse(broken bool, format string, args ...any) error {
	if !broken {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func check(flag, value string, check func(string) error) error {
	err := check(value)
	return refuse(value != "" && err != nil, "%s: %w", flag, err)
}

// isDomain reports whether an ACME authority can issue a certificate for the name: it has two labels or more, and is no address.
func isDomain(text string) bool {
	ascii, err := idna.Registration.ToASCII(text)
	_, noAddress := netip.ParseAddr(text)
	return err == nil && ascii == text && strings.Contains(text, ".") && !strings.HasSuffix(text, ".") && noAddress != nil
}

// hostNames maps a name to the form in which browsers send it: lower-case ASCII. Names such as my_service are allowed too.
var hostNames = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

func parseHost(text string) (string, error) {
	domain, wildcard := strings.CutPrefix(strings.TrimSuffix(text, "."), "*.")
	name, err := hostNames.ToASCII(domain)
	switch {
	case text == "*":
		return text, nil
	case err != nil || strings.Trim(name, ".") != name || strings.Contains(name, "..") || name == "" || strings.ContainsAny(name, "/:@*[]?#%\\ "):
		return "", fmt.Errorf("--host: %q is not allowed: want a name such as events.example.org, without scheme or port, or *.example.org, or *", text)
	case wildcard:
		return "*." + name, nil
	}
	return name, nil
}

func isNATS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)
}
