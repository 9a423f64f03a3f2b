package middleware

import (
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"freshet/auth"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"
)

// How many bad tokens one client address may send at once, and how soon it may send one more.
const (
	mostTries  = 20
	triesEvery = 3 * time.Second
)

// Bounds of the tables, about a megabyte each.
const (
	mostTriers = 10_000 // addresses with bad tokens
	mostSeen   = 10_000 // tokens, twice
)

// tries holds each client address to a rate of bad tokens. It is safe for concurrent use.
type tries struct {
	salt [sha256.Size]byte // so that what is kept of a token is of no use elsewhere

	mu        sync.Mutex
	buckets   map[netip.Prefix]*rate.Limiter
	good, bad seen // at an address
}

func newTries() *tries {
	t := &tries{buckets: map[netip.Prefix]*rate.Limiter{}}
	_, _ = rand.Read(t.salt[:]) // never fails
	return t
}

// triesError: the address has sent too many bad tokens.
type triesError struct{ after time.Duration }

func (e *triesError) Error() string {
	return "too many bad tokens came from your address: wait for the seconds of Retry-After"
}

// Unwrap has an anonymous caller who reads by a cookie told so.
func (e *triesError) Unwrap() error { return auth.ErrUnauthenticated }

// authenticate asks the keys, unless the client's address has to wait.
func (t *tries) authenticate(c *gin.Context, keys *auth.Keys, token string) (auth.Caller, error) {
	address, _ := netip.ParseAddr(c.ClientIP())
	network := networkOf(address)
	proof := t.proof(network, token)
	if after := t.wait(network, proof); after > 0 {
		return auth.Caller{}, &triesError{after}
	}
	caller, err := keys.Authenticate(c.Request.Context(), token)
	switch {
	case err == nil:
		t.succeeded(proof)
	case auth.Guessed(err):
		t.failed(network, proof)
	}
	return caller, err
}

// networkOf is what a client is counted by: its IPv4 address, or the /64 of its IPv6 address, which is the least that one
// customer has; the zero Prefix for those without an address.
func networkOf(address netip.Addr) netip.Prefix {
	bits := 64
	if address = address.Unmap(); address.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(address, bits).Masked()
}

// proof is what is kept of a token that was good at an address.
func (t *tries) proof(network netip.Prefix, token string) [sha256.Size]byte {
	address := network.Addr().As16()
	text := make([]byte, 0, len(t.salt)+len(address)+len(token))
	return sha256.Sum256(append(append(append(text, t.salt[:]...), address[:]...), token...))
}

// wait is how long the address has to wait before its token is looked at.
func (t *tries) wait(network netip.Prefix, proof [sha256.Size]byte) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	bucket := t.buckets[network]
	if bucket == nil {
		return 0
	}
	left := bucket.TokensAt(time.Now())
	if left >= 1 || t.good.has(proof) {
		return 0
	}
	return max(1, time.Duration((1-left)*float64(triesEvery)))
}

// failed counts a bad token, once: a page that sends the one that it was given again and again guesses nothing.
func (t *tries) failed(network netip.Prefix, proof [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bad.has(proof) {
		return
	}
	t.bad.add(proof)
	bucket := t.buckets[network]
	if bucket == nil {
		for other := range t.buckets {
			if len(t.buckets) < mostTriers {
				break
			}
			delete(t.buckets, other) // whichever: who has so many addresses has as many tries
		}
		bucket = rate.NewLimiter(rate.Every(triesEvery), mostTries)
		t.buckets[network] = bucket
	}
	bucket.Allow()
}

func (t *tries) succeeded(proof [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.good.add(proof)
}

// seen holds what was added last: mostSeen of it, and twice as many at most.
type seen struct {
	newest, older map[[sha256.Size]byte]struct{}
}

func (s *seen) has(proof [sha256.Size]byte) bool {
	_, newest := s.newest[proof]
	_, older := s.older[proof]
	return newest || older
}

func (s *seen) add(proof [sha256.Size]byte) {
	if s.newest == nil || len(s.newest) >= mostSeen {
		s.newest, s.older = map[[sha256.Size]byte]struct{}{}, s.newest
	}
	s.newest[proof] = struct{}{}
}
