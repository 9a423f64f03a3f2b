package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	connectTime  = 5 * time.Second
	maxAddresses = 8
	expiresSoon  = 14 * 24 * time.Hour
)

// network checks the way to the server: names, addresses and TLS. It reports whether requests can be sent.
func (x *examination) network(ctx context.Context) bool {
	host, port := x.url.Hostname(), x.url.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[x.url.Scheme]
	}
	addresses, ok := x.dns(ctx, host)
	return ok && x.connect(ctx, addresses, port) && (x.url.Scheme == "http" || x.tls(ctx, host, port))
}

func (x *examination) dns(ctx context.Context, host string) ([]netip.Addr, bool) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, true
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		reason := err.Error()
		if failed, ok := errors.AsType[*net.DNSError](err); ok {
			reason = failed.Err
		}
		x.add("dns", Fail, fmt.Sprintf("%s has no address: %s; check the name, and its DNS records", host, reason))
		return nil, false
	}
	var texts []string
	for i, address := range addresses {
		addresses[i] = address.Unmap()
		texts = append(texts, addresses[i].String())
	}
	x.add("dns", OK, host+" has "+plural(len(texts), "the address ", "the addresses ")+strings.Join(texts, ", "))
	return addresses, true
}

// connect connects to every address, because a browser may choose any.
func (x *examination) connect(ctx context.Context, addresses []netip.Addr, port string) bool {
	left := max(0, len(addresses)-maxAddresses)
	addresses = addresses[:len(addresses)-left]
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	type attempt struct {
		err  error
		took time.Duration
	}
	var attempts []<-chan attempt
	for _, address := range addresses {
		attempts = append(attempts, async(func() attempt {
			begun := time.Now()
			conn, err := x.cfg.Dial(ctx, "tcp", net.JoinHostPort(address.String(), port))
			if err == nil {
				_ = conn.Close() // nothing was sent
			}
			return attempt{err, time.Since(begun)}
		}))
	}
	var good, bad []string
	for i, a := range attempts {
		address := net.JoinHostPort(addresses[i].String(), port)
		if a := <-a; a.err != nil {
			bad = append(bad, address+" ("+reason(a.err)+")")
		} else {
			good = append(good, fmt.Sprintf("%s in %s", address, short(a.took)))
		}
	}
	switch {
	case len(good) == 0:
		x.add("connect", Fail, "no connection to "+strings.Join(bad, ", ")+"; check that the server runs, and the firewall")
	case len(bad) > 0:
		x.add("connect", Warn, fmt.Sprintf("connects to %s, but not to %s; a browser that tries these first waits", strings.Join(good, ", "), strings.Join(bad, ", ")))
	default:
		x.add("connect", OK, "connects to "+strings.Join(good, ", "))
	}
	return len(good) > 0
}

// tls checks the certificate as a browser does. Nothing is sent to a server that fails, so a token stays secret.
func (x *examination) tls(ctx context.Context, host, port string) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := x.cfg.Dial(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		x.add("tls", Fail, "no connection: "+reason(err))
		return false
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	secure := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: x.cfg.Roots, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		x.untrusted(host, err)
		return false
	}
	state := secure.ConnectionState()
	leaf := state.PeerCertificates[0]
	// The chain can end before the certificate does.
	expires := leaf.NotAfter
	for _, c := range state.VerifiedChains[0] {
		if c.NotAfter.Before(expires) {
			expires = c.NotAfter
		}
	}
	left := time.Until(expires)
	seen := fmt.Sprintf("%s, the certificate for %s expires in %d days, on %s", tls.VersionName(state.Version), host, int(left.Hours()/24), expires.Format(time.DateOnly))
	if left < expiresSoon {
		x.add("tls", Warn, seen+"; check that it is renewed")
	} else {
		x.add("tls", OK, seen)
	}
	return true
}

// untrusted says why the handshake failed.
func (x *examination) untrusted(host string, err error) {
	refused, isRefused := errors.AsType[*tls.CertificateVerificationError](err)
	if !isRefused {
		x.add("tls", Fail, "the TLS handshake fails: "+strings.TrimPrefix(err.Error(), "remote error: ")+"; browsers need TLS 1.2 or newer, and port and scheme that match")
		return
	}
	leaf := refused.UnverifiedCertificates[0]
	wrongName, isWrongName := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch now := time.Now(); {
	case isWrongName:
		names := slices.Clone(wrongName.Certificate.DNSNames)
		for _, address := range wrongName.Certificate.IPAddresses {
			names = append(names, address.String())
		}
		x.add("tls", Fail, fmt.Sprintf("the certificate is not for %s, but for %s; use one of these names, or get a certificate for this one", host, strings.Join(names, ", ")))
	case isInvalid && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		x.add("tls", Fail, fmt.Sprintf("the certificate is valid only from %s on; check the clock of this machine", invalid.Cert.NotBefore.Format(time.DateTime)))
	case isInvalid && invalid.Reason == x509.Expired:
		x.add("tls", Fail, fmt.Sprintf("the certificate has expired on %s; renew it", invalid.Cert.NotAfter.Format(time.DateOnly)))
	case isUnknown && leaf.Issuer.String() != leaf.Subject.String() && len(refused.UnverifiedCertificates) == 1:
		x.add("tls", Fail, fmt.Sprintf("the server sends its certificate without those of its authority (%s), so some clients cannot verify it; or the authority is private", leaf.Issuer.CommonName), x.advise(chain)...)
	case isUnknown:
		x.add("tls", Fail, fmt.Sprintf("browsers do not know the authority %q that signed the certificate; if it is yours, set SSL_CERT_FILE to its certificate", leaf.Issuer.String()))
	default:
		x.add("tls", Fail, "the certificate is not valid: "+refused.Err.Error())
	}
}

// reason is the error without the address, which the finding has.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		err = network.Err
	}
	text := err.Error()
	if _, last, found := cutLast(text, ": "); found {
		return last
	}
	return text
}

// short is a duration for people.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// number is a count with its noun.
func number(n int, noun string) string {
	return fmt.Sprintf("%d %s", n, plural(n, noun, noun+"s"))
}
