// Package auth decides who a caller is and what the caller may do.
//
// Keys turns the bearer token of a request into a Caller, a value that travels in the request's context; no other part handles bearer
// tokens. A token is the publish token, or a JSON web token (RFC 7519) of a configured key. The key decides the algorithm: HS256 for the
// secret; RS256, ES256 or EdDSA for the key set. The claims are
//
//	"freshet": {"publish": [patterns], "subscribe": [patterns], "operator": true}
//
// and exp, which is required; nbf, aud and iss are checked where present. exp is exact to the second; nbf may be ahead by Leeway.
//
// The zero Caller is for servers without authentication: it may read everything and publish nothing.
//
// Errors wrap ErrUnauthenticated, ErrForbidden or ErrUnavailable. Their texts are for the caller. They say what is wrong with a token
// only if its signature is good, and contain no part of it. Everything here is safe for concurrent use.
package auth

import (
	"context"
	"errors"
)

var (
	// ErrUnauthenticated is for missing or bad credentials (401).
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden is for good credentials without the right (403).
	ErrForbidden = errors.New("not allowed")
	// ErrUnavailable is for tokens and tickets that cannot be checked yet: the keys are not loaded (503).
	ErrUnavailable = errors.New("the server cannot check tokens yet")
)

// tokenError says what is wrong with a token that was sent. It is an ErrUnauthenticated.
type tokenError struct {
	reason string
	guess  bool // no valid key signed the token
}

func (e *tokenError) Error() string { return ErrUnauthenticated.Error() + ": the token " + e.reason }
func (e *tokenError) Unwrap() error { return ErrUnauthenticated }

// errUnknown gives a guesser no explanation.
var errUnknown = &tokenError{"is not valid here", true}

// Guessed reports whether an error of [Keys.Authenticate] is for a token that may be a guess. One that a valid key signed, and that has
// expired, for example, is no guess.
func Guessed(err error) bool {
	bad, ok := errors.AsType[*tokenError](err)
	return ok && bad.guess
}

// Challenge is the header WWW-Authenticate of a response to the error (RFC 6750, section 3); empty: none.
func Challenge(err error) string {
	const realm = `Bearer realm="freshet"`
	bad, isBad := errors.AsType[*tokenError](err)
	switch {
	case isBad:
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

// FromContext returns the caller that ctx carries; the zero Caller if none.
func FromContext(ctx context.Context) Caller {
	caller, _ := ctx.Value(contextKey{}).(Caller)
	return caller
}
