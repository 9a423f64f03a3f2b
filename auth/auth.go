// Package auth says who a caller is and what the caller may do.
//
// A token goes through Keys once a request and becomes a Caller, a value that travels in the request's context; after that nothing
// handles tokens any more. A token is the publish token, or a JSON web token (RFC 7519) of one of the configured keys, which decide
// the algorithm: HS256 for the secret; RS256, ES256 or EdDSA for the key set. Its claims are
//
//	"freshet": {"publish": [patterns], "subscribe": [patterns]}
//
// and exp, which it needs; nbf, aud and iss where there are any. exp holds to the second; nbf may lie ahead by Leeway.
//
// The zero Caller is anonymous where nobody is asked: it may read everything and publish nothing. Errors wrap ErrUnauthenticated,
// ErrForbidden or ErrUnavailable. Their texts are meant for the caller: to the owner of a good token that is refused they say why,
// to others they do not, and they hold nothing of a token. All of it is safe for concurrent use.
package auth

import (
	"context"
	"errors"
)

var (
	// ErrUnauthenticated is for no or bad credentials: others may help (401).
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden is for good credentials that do not suffice (403).
	ErrForbidden = errors.New("not allowed")
	// ErrUnavailable is for a token that cannot be judged, as the key set has not been had yet (503).
	ErrUnavailable = errors.New("tokens cannot be checked at the moment")
)

// tokenError is what is wrong with a token that was sent. It is an ErrUnauthenticated.
type tokenError struct {
	reason string
	guess  bool // nobody who has a key has made the token
}

func (e *tokenError) Error() string { return ErrUnauthenticated.Error() + ": the token " + e.reason }

func (e *tokenError) Unwrap() error { return ErrUnauthenticated }

// errUnknown tells a guesser nothing.
var errUnknown = &tokenError{"is not valid here", true}

// Guessed says of an error of [Keys.Authenticate] that the token may have been a guess: unlike one that has expired, say, it is
// signed by no key that counts.
func Guessed(err error) bool {
	var bad *tokenError
	return errors.As(err, &bad) && bad.guess
}

// Challenge is the header WWW-Authenticate for an answer with the error (RFC 6750, section 3), empty if it has none.
func Challenge(err error) string {
	const realm = `Bearer realm="freshet"`
	var bad *tokenError
	switch {
	case errors.As(err, &bad):
		return realm + `, error="invalid_token", error_description="the token ` + bad.reason + `"`
	case errors.Is(err, ErrUnauthenticated):
		return realm
	case errors.Is(err, ErrForbidden):
		return realm + `, error="insufficient_scope"`
	}
	return ""
}

type contextKey struct{}

// NewContext returns a context that carries the caller.
func NewContext(ctx context.Context, caller Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, caller)
}

// FromContext is the caller that ctx carries, the zero Caller if none.
func FromContext(ctx context.Context) Caller {
	caller, _ := ctx.Value(contextKey{}).(Caller)
	return caller
}
