package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/auth"

	"golang.org/x/net/idna"
)

// maxBody leaves room for an event's topic and headers: JetStream stores them with its data in a record of at most 32 MiB.
const maxBody Bytes = 31 << 20

// nodeName matches what can be a token of a NATS subject, a key of a NATS key-value bucket and a part of a URL.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// validate checks what the parsers of single values cannot: bounds of flags, and flags that exclude or need each other.
func (c *Config) validate() error {
	for i, address := range c.Listen {
		if address == ListenSystemd {
			if slices.Contains(c.Listen[:i], address) {
				return fmt.Errorf("--listen: %[1]s is there twice: want it once, because it stands for all sockets that systemd passes", ListenSystemd)
			}
			continue
		}
		if err := checkListen("--listen", address); err != nil {
			return err
		}
	}
	if c.MetricsListen != "" {
		if err := checkListen("--metrics-listen", c.MetricsListen); err != nil {
			return err
		}
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
		c.Anonymous = nil
	}
	var err error
	if c.NATS, err = parseNATS(c.NATS); err != nil {
		return err
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
		refuse(c.Park != "on" && c.Park != "off", "--park: %q is not allowed: want on or off", c.Park),
		refuse(c.Log != "text" && c.Log != "json", "--log: %q is not allowed: want text or json", c.Log),
		refuse(c.Node != "" && !nodeName.MatchString(c.Node), "--node: %q is not allowed: want up to 64 letters, digits, dashes and underscores, such as eu-1", c.Node),
		refuse(c.Data == "", "--data: no folder: want the path of one"),
		refuse(c.RetainAge > 0 && c.RetainAge < time.Second, "--retain-age: %v is too short: want 0 or at least 1s", c.RetainAge),
		c.checkRetain(),
		refuse(c.WindowBytes == 0, "--window-bytes: 0 is not allowed: want at least 1B"),
		refuse(c.MaxReplays == 0, "--max-replays: 0 is not allowed: want at least 1"),
		refuse(c.MaxBody == 0 || c.MaxBody > maxBody, "--max-body: %v is not allowed: want 1B to %v", c.MaxBody, maxBody),
		checkReplicas(c.Replicas),
		refuse(c.Replicas > 1 && c.NATS == "", "--replicas: more than 1 is only allowed together with --nats: the embedded log is a single copy"),
		refuse(c.UpdateStream && c.NATS == "", "--update-stream: only allowed together with --nats: the embedded log always gets the settings of its server"),
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

// checkRetain refuses times that would have no effect.
func (c *Config) checkRetain() error {
	for _, r := range c.Retain {
		if c.RetainAge > 0 && r.TTL.Duration() > c.RetainAge {
			return fmt.Errorf("--retain: %v for %v is longer than --retain-age, %v: want at most that, or a longer --retain-age", r.TTL, r.Pattern, c.RetainAge)
		}
	}
	return nil
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

func checkListen(flag, address string) error {
	_, text, err := net.SplitHostPort(address)
	if isPort(address) {
		return fmt.Errorf("%s: %q is not allowed: want host:port or :port, here :%s", flag, address, address)
	}
	_, errPort := strconv.ParseUint(text, 10, 16)
	switch {
	case errors.Is(errPort, strconv.ErrRange) || strings.HasPrefix(text, "-"):
		return fmt.Errorf("%s: port %s is out of range: want 0 to 65535", flag, text)
	case err != nil || errPort != nil:
		return fmt.Errorf("%s: %q is not allowed: want host:port or :port, such as :8080, 127.0.0.1:8080 or [::1]:8080", flag, address)
	}
	return nil
}

// parseNATS adds the scheme to servers without one, and ignores spaces and empty places, as NATS's own programs do. Such a server gets
// the scheme of the first one that has a scheme, so that tls://a,b is TLS for both. No error shows credentials.
func parseNATS(list Secret) (Secret, error) {
	var servers []string
	for server := range strings.SplitSeq(string(list), ",") {
		if server = strings.TrimSpace(server); server != "" {
			servers = append(servers, server)
		}
	}
	if len(servers) == 0 && list != "" {
		return "", fmt.Errorf("--nats: %q is not allowed: want servers such as localhost:4222 or nats://a:4222,nats://b:4222", string(list))
	}
	scheme, websockets := "nats", 0
	if i := slices.IndexFunc(servers, func(server string) bool { return strings.Contains(server, "://") }); i >= 0 {
		scheme, _, _ = strings.Cut(servers[i], "://")
	}
	for i, server := range servers {
		if !strings.Contains(server, "://") {
			servers[i] = scheme + "://" + server
		}
		shown := strconv.Quote(server)
		if strings.Contains(server, "@") {
			shown = "a server of the list"
		}
		u, err := url.Parse(servers[i])
		switch {
		case err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return "", fmt.Errorf("--nats: %s is not allowed: want host[:port] or nats://[user:password@]host[:port], or with tls, ws or wss as the scheme", shown)
		case !isPort(u.Port()) && u.Port() != "":
			return "", fmt.Errorf("--nats: the port of %s is out of range: want 1 to 65535", shown)
		case strings.HasPrefix(u.Scheme, "ws"):
			websockets++
		}
	}
	if websockets > 0 && websockets < len(servers) {
		return "", errors.New("--nats: ws:// and wss:// are not allowed together with nats:// and tls://: want one kind for all servers")
	}
	return Secret(strings.Join(servers, ",")), nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}
