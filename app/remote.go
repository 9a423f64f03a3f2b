package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"freshet/client"
	"freshet/config"
)

// localToken is where a server that was started in this folder has its publish token.
const localToken = "freshet-data/publish-token"

// remote is the server that a command talks to.
type remote struct {
	cfg  config.Server
	from string // the file that the token comes from
}

func newRemote(cfg config.Server) (*remote, error) {
	r := &remote{cfg, cfg.TokenFile}
	if cfg.Token != "" || cfg.TokenFile != "" {
		_, err := r.token(context.Background())
		return r, err
	}
	if _, err := os.Stat(localToken); err == nil && isLocal(cfg.URL) {
		r.from = localToken
	}
	return r, nil
}

// client returns a client of the server. The file of the token is read for each request, because tokens expire.
func (r *remote) client(cfg client.Config) (*client.Client, error) {
	cfg.URL, cfg.Token = r.cfg.URL, string(r.cfg.Token)
	if r.from != "" {
		cfg.TokenFunc = r.token
	}
	return client.New(cfg)
}

func (r *remote) token(context.Context) (string, error) {
	if r.from == "" {
		return string(r.cfg.Token), nil
	}
	text, err := os.ReadFile(r.from)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("--token-file: %s has no token: want one line", r.from)
	}
	return token, nil
}

// isLocal reports whether the URL leads to this machine.
func isLocal(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && address.IsLoopback()
}

// explain says in one line what went wrong, and what to do.
func (r *remote) explain(err error) error {
	refused, isRefused := errors.AsType[*client.Error](err)
	network, isNetwork := errors.AsType[*net.OpError](err)
	switch {
	case isRefused && refused.Status == http.StatusUnauthorized && r.from == "" && r.cfg.Token == "":
		return fmt.Errorf("%s wants a token: set FRESHET_TOKEN, --token or --token-file", r.cfg.URL)
	case isRefused && refused.Status == http.StatusUnauthorized:
		from := "the token"
		if r.from != "" {
			from += " in " + r.from
		}
		return fmt.Errorf("%s refuses %s: %s", r.cfg.URL, from, refused.Message)
	case isRefused && refused.Status == http.StatusForbidden:
		return fmt.Errorf("%s does not allow it: %s", r.cfg.URL, refused.Message)
	case isNetwork:
		return fmt.Errorf("%s cannot be reached: %w; is the server running? --url or FRESHET_URL names another", r.cfg.URL, network.Err)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "freshet: "))
}
