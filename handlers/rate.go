package handlers

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"freshet/auth"
	"freshet/limit"

	"github.com/gin-gonic/gin"
)

// publisher is the key of the publish rate: the subject of a token, or the client's network if many share the token.
type publisher struct {
	subject string
	network netip.Prefix
}

// newPublishRate allows bursts of ten seconds' worth of events.
func newPublishRate(perSecond int) *limit.Rate[publisher] {
	return limit.NewRate[publisher](float64(perSecond), min(perSecond, math.MaxInt/10)*10)
}

// allowPublish counts n events of the publisher: all, or none and an error.
func (h *Handlers) allowPublish(c *gin.Context, n int) error {
	key := publisher{network: networkOf(c)}
	if caller := auth.FromContext(c.Request.Context()); !caller.Shared() {
		key = publisher{subject: caller.Subject()}
	}
	wait, ok := h.publishRate.Allow(key, n)
	switch {
	case ok:
		return nil
	case wait == limit.Never:
		return fmt.Errorf("%w: %d events, but --publish-rate allows %d; send fewer at once", errBulk, n, h.publishRate.Burst())
	}
	return &rateError{wait}
}

// rateError is errRate with the time to wait.
type rateError struct{ wait time.Duration }

func (e *rateError) Error() string { return errRate.Error() }

func (e *rateError) Unwrap() error { return errRate }

// networkOf returns the network of the client's address, the key of its limits. Gin reads the address from the header
// of a trusted proxy.
func networkOf(c *gin.Context) netip.Prefix {
	address, _ := netip.ParseAddr(c.ClientIP()) // a client on a Unix socket has none
	return limit.Network(address)
}
