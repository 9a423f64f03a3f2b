package handlers

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"freshet/auth"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"
)

// burst is how long a publisher saves up what it did not publish.
const burst = 10 * time.Second

// publisher is what publishing is counted by: the subject of a token, or, where a token is
// for all publishers, the client's address.
type publisher struct {
	subject string
	address netip.Prefix
}

func publisherOf(c *gin.Context) publisher {
	caller := auth.FromContext(c.Request.Context())
	if caller.Operator() || caller.Subject() == "" {
		return publisher{address: addressOf(c)}
	}
	return publisher{subject: caller.Subject()}
}

// rates holds each publisher to a rate of published events, so that one run wild
// neither fills the log nor slows down the others. It is safe for concurrent use.
type rates struct {
	perSecond int // 0: no limit

	mu      sync.Mutex
	buckets map[publisher]*rate.Limiter
	tidy    int // as soon as there are so many buckets, the full ones go
}

func newRates(perSecond int) *rates {
	return &rates{perSecond: perSecond, buckets: map[publisher]*rate.Limiter{}, tidy: 1024}
}

// take takes n events from what the publisher may publish now: all, or none with an error.
func (r *rates) take(who publisher, n int) error {
	if r.perSecond == 0 {
		return nil
	}
	most := min(r.perSecond, math.MaxInt/int(burst.Seconds())) * int(burst.Seconds())
	if n > most { // they would be refused for ever
		return fmt.Errorf("%w: %d events, and --publish-rate allows %d; send fewer at a time", errBulk, n, most)
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket := r.buckets[who]
	if bucket == nil {
		r.sweep(now)
		bucket = rate.NewLimiter(rate.Limit(r.perSecond), most)
		r.buckets[who] = bucket
	}
	if bucket.AllowN(now, n) {
		return nil
	}
	missing := float64(n) - bucket.TokensAt(now)
	return &rateError{after: time.Duration(missing / float64(r.perSecond) * float64(time.Second))}
}

// sweep lets go of the buckets that are full, which say nothing that a new one would not.
// So a publisher that goes through many addresses leaves behind those of the last burst,
// and twice as many at most.
func (r *rates) sweep(now time.Time) {
	if len(r.buckets) < r.tidy {
		return
	}
	for who, bucket := range r.buckets {
		if bucket.TokensAt(now) >= float64(bucket.Burst()) {
			delete(r.buckets, who)
		}
	}
	r.tidy = max(1024, 2*len(r.buckets))
}

// rateError is errRate, with the time after which the same request would pass.
type rateError struct{ after time.Duration }

func (e *rateError) Error() string { return errRate.Error() }

func (e *rateError) Unwrap() error { return errRate }
