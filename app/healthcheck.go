package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"freshet/client"
	"freshet/config"
)

// healthcheckTimeout is longer than /readyz waits for the log.
const healthcheckTimeout = 5 * time.Second

// healthcheck asks the server on this machine whether it is ready. Docker allows the exit codes 0 and 1 only.
func healthcheck(args, environ []string, stdout, _ io.Writer) error {
	cfg, err := config.ParseHealthcheck(args, environ, stdout)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthcheckTimeout)
	defer cancel()
	if err := askReady(ctx, cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "ready")
	return err
}

// askReady returns nil if GET /readyz is answered with 200.
func askReady(ctx context.Context, cfg config.Healthcheck) error {
	address := dialable(cfg.Listen[0])
	scheme, names := "http", &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate is for the public name, not for this address
	if cfg.TLSCert != "" || len(cfg.ACMEDomains) > 0 {
		scheme = "https"
	}
	if len(cfg.ACMEDomains) > 0 {
		names.ServerName = cfg.ACMEDomains[0]
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	asker := http.Client{Transport: &http.Transport{TLSClientConfig: names, DisableKeepAlives: true}} // without the proxy of the environment
	response, err := asker.Do(r)
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s cannot be reached: %w; --listen or FRESHET_LISTEN names another address", r.URL, network.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s does not answer within %v", r.URL, healthcheckTimeout)
	}
	if err != nil {
		return fmt.Errorf("%s does not answer as Freshet does: %w; want --listen, --tls-cert and --acme-domain as on the server", r.URL, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if response.StatusCode == http.StatusOK {
		return nil
	}
	var answer struct{ Error client.Error }
	_ = json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&answer) // another program may answer with something else
	return fmt.Errorf("%s answers %d: %s", r.URL, response.StatusCode, cmp.Or(answer.Error.Message, http.StatusText(response.StatusCode)))
}

// dialable returns where this machine reaches a server that listens on the address.
func dialable(listen string) string {
	host, port, _ := net.SplitHostPort(listen) // config has checked it
	switch ip, err := netip.ParseAddr(host); { // no name, because an empty image cannot resolve localhost
	case host == "", err == nil && ip == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
