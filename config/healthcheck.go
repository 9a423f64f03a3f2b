package config

import (
	"fmt"
	"io"
	"slices"
)

// Healthcheck holds where the server of the same machine listens. The fields have the flags and variables of [Config].
type Healthcheck struct {
	Listen      []string `name:"listen" default:":8080" placeholder:"ADDRESS" group:"As on the server:" help:"Address that the server listens on. If there are several, the first one is asked."`
	TLSCert     string   `name:"tls-cert" placeholder:"FILE" group:"As on the server:" help:"The server has a certificate, so it is asked over TLS. The certificate is not verified."`
	ACMEDomains []string `name:"acme-domain" placeholder:"DOMAIN" group:"As on the server:" help:"The server has a certificate for this domain. Repeatable."`
}

const healthcheckOpening = `Usage: freshet healthcheck [flags]

Asks the server on this machine whether it is ready: GET /readyz. It is for
health checks of containers, whose image has no other program.

Example, in a Dockerfile:
  HEALTHCHECK CMD ["/freshet", "healthcheck"]

The variables FRESHET_LISTEN, FRESHET_TLS_CERT and FRESHET_ACME_DOMAIN, which the
server reads too, stand for the flags.

Exit codes: 0 if the server is ready, 1 if it is not or for wrong usage.
`

// ParseHealthcheck is [Parse] for the command that asks whether the server is ready.
func ParseHealthcheck(args, environ []string, stdout io.Writer) (h Healthcheck, err error) {
	err = parse("freshet healthcheck", healthcheckOpening, &h, args, environ, stdout)
	return h, err
}

func (h *Healthcheck) validate() error {
	h.Listen = slices.DeleteFunc(h.Listen, func(address string) bool { return address == ListenSystemd })
	if len(h.Listen) == 0 {
		return fmt.Errorf("--listen: %q does not say which port to ask: want the address in the socket unit, such as freshet healthcheck --listen :8080", ListenSystemd)
	}
	for _, address := range h.Listen {
		if err := checkListen("--listen", address); err != nil {
			return err
		}
	}
	return nil
}
