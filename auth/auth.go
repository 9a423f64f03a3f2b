// Package auth says who a caller is and what the caller may do.
//
// A token goes through Keys once a request and becomes a Caller, a value that travels in the request's context; after that nothing
// handles tokens any more. The zero Caller is anonymous. Errors wrap ErrUnauthenticated or ErrForbidden, and their texts are meant
// for the caller: they say what to do and hold nothing of a token. All of it is safe for concurrent use.
package auth

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrUnauthenticated is for no or bad credentials: others may help (401).
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden is for good credentials that do not suffice (403).
	ErrForbidden = errors.New("not allowed")
)

// Caller is whoever sent a request. The zero value is anonymous and may publish nothing.
type Caller struct {
	publisher bool
}

// MayPublish is nil if the caller may publish to the topic.
func (c Caller) MayPublish(topic string) error {
	if !c.publisher {
		return fmt.Errorf(`%w: to publish, send "Authorization: Bearer <publish token>"`, ErrUnauthenticated)
	}
	return nil
}

type contextKey struct{}

// NewContext returns a context that carries the caller.
func NewContext(ctx context.Context, caller Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, caller)
}

// FromContext is the caller that ctx carries, anonymous if none.
func FromContext(ctx context.Context) Caller {
	caller, _ := ctx.Value(contextKey{}).(Caller)
	return caller
}
