package middleware

import (
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"slices"
	"sync"
	"time"

	"freshet/auth"
	"freshet/limit"

	"github.com/gin-gonic/gin"
)

const (
	badTokenBurst     = 20 // of one client
	badTokenPerSecond = 1.0 / 3
	maxRecentTokens   = 10_000 // bounds a recentTokens to about a megabyte
)

// badTokenLimiter stops clients that guess tokens. It counts each bad token once, since a client that repeats an old token does not
// guess. While a client has to wait, tokens that were good from its network before still work. It is safe for concurrent use.
type badTokenLimiter struct {
	salt [sha256.Size]byte // makes the kept hashes useless elsewhere
	rate *limit.Rate[netip.Prefix]

	mu        sync.Mutex
	good, bad recentTokens
}

func newBadTokenLimiter() *badTokenLimiter {
	l := &badTokenLimiter{rate: limit.NewRate[netip.Prefix](badTokenPerSecond, badTokenBurst)}
	_, _ = rand.Read(l.salt[:]) // never fails
	return l
}

// badTokensError says that the client has sent too many bad tokens.
type badTokensError struct{ wait time.Duration }

func (e *badTokensError) Error() string {
	return "too many bad tokens from your address: wait for the seconds in Retry-After"
}

// Unwrap makes it a reason for which a request with a cookie is anonymous.
func (e *badTokensError) Unwrap() error { return auth.ErrUnauthenticated }

// authenticate checks the token, unless the client has to wait.
func (l *badTokenLimiter) authenticate(c *gin.Context, keys *auth.Keys, token string) (auth.Caller, error) {
	address, _ := netip.ParseAddr(c.ClientIP())
	network := limit.Network(address)
	hash := l.hash(network, token)
	l.mu.Lock()
	wasGood := l.good.has(hash)
	l.mu.Unlock()
	if wait := l.rate.Wait(network); wait > 0 && !wasGood {
		return auth.Caller{}, &badTokensError{wait}
	}
	caller, err := keys.AuthenticateRequest(c.Request, token)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && caller.Subject() != "": // else nobody could check it
		l.good.add(hash)
	case auth.Guessed(err) && !l.bad.has(hash):
		l.bad.add(hash)
		l.rate.Allow(network, 1)
	}
	return caller, err
}

// tokenHash stands for a token that came from one network.
type tokenHash [sha256.Size]byte

func (l *badTokenLimiter) hash(network netip.Prefix, token string) tokenHash {
	address := network.Addr().As16()
	return sha256.Sum256(slices.Concat(l.salt[:], address[:], []byte(token)))
}

// recentTokens is a set that forgets the oldest: it holds the last maxRecentTokens for sure, and up to twice as many.
type recentTokens struct {
	newest, older map[tokenHash]struct{}
}

func (r *recentTokens) has(hash tokenHash) bool {
	_, newest := r.newest[hash]
	_, older := r.older[hash]
	return newest || older
}

func (r *recentTokens) add(hash tokenHash) {
	if r.newest == nil || len(r.newest) >= maxRecentTokens {
		r.newest, r.older = map[tokenHash]struct{}{}, r.newest
	}
	r.newest[hash] = struct{}{}
}
