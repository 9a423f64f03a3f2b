package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
)

// Config says which tokens count.
type Config struct {
	// PublishToken may publish to every topic: at least 16 printable ASCII characters, no space. Empty: there is none.
	PublishToken string
}

// Keys tells good tokens from bad ones. The zero value takes none.
type Keys struct {
	publish [sha256.Size]byte // zero if there is no publish token: nothing has that hash
}

// New checks the Config.
func New(config Config) (*Keys, error) {
	if config.PublishToken == "" {
		return &Keys{}, nil
	}
	if !wellFormed(config.PublishToken) {
		return nil, errors.New("publish token: want at least 16 printable ASCII characters and no space")
	}
	return &Keys{publish: sha256.Sum256([]byte(config.PublishToken))}, nil
}

// Authenticate returns the caller whose bearer token this is, or an error that wraps ErrUnauthenticated. How long it takes tells
// nothing about the tokens that count: hashes of one length are compared, in constant time.
func (k *Keys) Authenticate(bearer string) (Caller, error) {
	hash := sha256.Sum256([]byte(bearer))
	if subtle.ConstantTimeCompare(hash[:], k.publish[:]) == 1 {
		return Caller{publisher: true}, nil
	}
	return Caller{}, fmt.Errorf("%w: the token is not valid here", ErrUnauthenticated)
}

func wellFormed(token string) bool {
	return len(token) >= 16 && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
