package middleware

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
)

// Hosts answers 421 (RFC 9110, 15.5.20) to requests for host names that are not this server's own. A hostile page can have its own name
// resolve to this server's address (DNS rebinding): for the browser, the server's answers are then of the page's own origin, whatever
// the server allows to other origins.
//
// These are always this server's own: localhost and its subdomains; names without a dot, which no public DNS resolves; IP addresses,
// because no name is left that could be rebound; and an absent Host, which no browser sends. The names are lower-case ASCII; `*.` stands for all
// subdomains, and `*` for all names. Over TLS, the browser has compared the name with the certificate. Health checks may use any name.
func Hosts(names []string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if c.Request.TLS != nil || ownHost(c.Request.Host, names) || c.FullPath() == "/livez" || c.FullPath() == "/readyz" {
			return
		}
		refuse(c, http.StatusMisdirectedRequest, "unknown_host",
			"this server does not answer to the host name in this URL; the operator can allow it with --host NAME, also if it is the name of a proxy")
	}
}

// ownHost runs for each request, so it allocates nothing.
func ownHost(host string, names []string) bool {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		host = host[:colon]
	}
	if bracketed := strings.TrimPrefix(host, "["); bracketed != host {
		_, err := netip.ParseAddr(strings.TrimSuffix(bracketed, "]"))
		return err == nil
	}
	host = strings.TrimSuffix(host, ".")
	if !strings.Contains(host, ".") || hasDomain(host, "localhost") {
		return true
	}
	if last := host[len(host)-1]; '0' <= last && last <= '9' { // no top-level domain ends in a digit
		if _, err := netip.ParseAddr(host); err == nil {
			return true
		}
	}
	for _, name := range names {
		domain, wildcard := strings.CutPrefix(name, "*.")
		if name == "*" || wildcard && hasDomain(host, domain) || strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

// hasDomain reports whether the host is a subdomain of the domain.
func hasDomain(host, domain string) bool {
	dot := len(host) - len(domain) - 1
	return dot > 0 && host[dot] == '.' && strings.EqualFold(host[dot+1:], domain)
}
