package auth

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	errUnrecognized = fmt.Errorf("%w: log in, or send a token", ErrUnauthenticated)
	errExpired      = fmt.Errorf("%w: the login has expired", ErrUnauthenticated)
)

// Recognizes reports whether [Config.Authenticate] is set.
func (k *Keys) Recognizes() bool { return k.recognize != nil }

// Recognize returns the sender of a request without a valid token: [Keys.Anonymous], unless [Config.Authenticate] is set. why is the error of
// a token that was sent nevertheless; nil if none was sent.
//
//   - A [Grant] with a Subject is somebody known, with a subject of its own that is equal on every node.
//   - One without a Subject is somebody unknown, who may only subscribe. A request that needs more fails with why, or an ErrUnauthenticated.
//   - If the function returns an error, the caller may do nothing, and what is not open to everyone fails with that error. The error is an
//     ErrUnauthenticated or ErrForbidden, whose text the caller reads. Any other error is logged, and the caller gets ErrUnavailable.
func (k *Keys) Recognize(r *http.Request, why error) Caller {
	if k.recognize == nil {
		return k.Anonymous(why)
	}
	grant, err := k.recognize(r)
	switch {
	case errors.Is(err, ErrUnauthenticated), errors.Is(err, ErrForbidden):
	case err == nil && grant.Subject == "" && (grant.Operator || len(grant.Publish) > 0):
		err = errors.New("it returned a Grant that may publish or operate, but has no Subject")
		fallthrough
	case err != nil:
		if n := k.failures.Allow(); n > 0 {
			k.logger.Warn("the function Authenticate of the configuration has failed", "times", n, "error", err)
		}
		err = ErrUnavailable
	case grant.Subject == "":
		return Caller{&identity{read: grant.Subscribe.Widest(), why: cmp.Or(why, errUnrecognized)}}
	case !grant.Expires.IsZero() && !time.Now().Before(grant.Expires):
		err = errExpired
	}
	if err != nil {
		return Caller{&identity{why: err}}
	}
	return NewCaller(grant)
}

// NewCaller returns somebody known who may do what the grant says. The caller's subject is made from the grant's. Without one, the caller is the
// program itself.
func NewCaller(grant Grant) Caller {
	subject := programSubject
	if grant.Subject != "" {
		subject = printSubject(programSubject, sha256.Sum256([]byte(grant.Subject)))
	}
	return Caller{&identity{
		subject:  subject,
		operator: grant.Operator,
		publish:  grant.Publish,
		read:     grant.Subscribe.Widest(),
		expires:  grant.Expires,
	}}
}

// AuthenticateRequest is [Keys.Authenticate]. If the token is no valid token of this server, [Config.Authenticate] may know it.
func (k *Keys) AuthenticateRequest(r *http.Request, bearer string) (Caller, error) {
	caller, err := k.Authenticate(r.Context(), bearer)
	if k.recognize == nil || !Guessed(err) {
		return caller, err
	}
	if caller = k.Recognize(r, err); errors.Is(caller.why, ErrUnauthenticated) {
		return Caller{}, err
	}
	return caller, nil
}
