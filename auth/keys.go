package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"freshet/event"

	"github.com/golang-jwt/jwt/v5"
)

// Config says which tokens count, and what goes without.
type Config struct {
	// PublishToken may do everything: at least 16 printable ASCII characters, no space. Empty: there is none.
	PublishToken string
	// JWTSecret signs tokens by HS256, at least MinSecret bytes. Empty: no such tokens count.
	JWTSecret string
	// JWKSURL has the key set (RFC 7517) of tokens by RS256, ES256 and EdDSA. Empty: no such tokens count.
	JWKSURL string
	// Audience and Issuer are what aud has to contain and what iss has to be; empty: anything.
	Audience, Issuer string
	// Anonymous is what may be read without a token, and with any. None: nothing.
	Anonymous event.Patterns

	Client *http.Client // fetches the key set; nil means one of its own
	Logger *slog.Logger // nil: logs nothing
}

// Keys tells good tokens from bad ones. The zero value takes none, and lets nothing be read without.
type Keys struct {
	publish  [sha256.Size]byte // zero if there is no publish token: nothing has that hash
	operator Caller
	nobody   Caller
	shared   event.Patterns // what anybody may read

	secret    []byte
	set       *keySet
	parser    *jwt.Parser    // nil: no JSON web token counts
	validator *jwt.Validator // of the claims
}

// New checks the Config. It fetches nothing yet.
func New(config Config) (*Keys, error) {
	k := &Keys{
		shared:   widest(config.Anonymous),
		operator: Caller{&identity{subject: "operator", operator: true, read: event.Patterns{event.All}}},
	}
	k.nobody = Caller{&identity{read: k.shared}}
	if config.PublishToken != "" {
		if err := CheckPublishToken(config.PublishToken); err != nil {
			return nil, fmt.Errorf("publish token: %w", err)
		}
		k.publish = sha256.Sum256([]byte(config.PublishToken))
	}
	var algorithms []string
	if config.JWTSecret != "" {
		if err := CheckSecret(config.JWTSecret); err != nil {
			return nil, fmt.Errorf("JWT secret: %w", err)
		}
		k.secret, algorithms = []byte(config.JWTSecret), append(algorithms, hmacAlgorithm)
	}
	if config.JWKSURL != "" {
		var err error
		if k.set, err = newKeySet(config.JWKSURL, config.Client, config.Logger); err != nil {
			return nil, err
		}
		algorithms = append(algorithms, setAlgorithms...)
	}
	if algorithms != nil {
		k.parser = jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
		k.validator = newValidator(config.Audience, config.Issuer)
	}
	return k, nil
}

// Authenticate returns the caller whose bearer token this is, or an error. How long it takes tells nothing about the publish token:
// hashes of one length are compared, in constant time. It may wait for the key set to be fetched, for seconds at most.
func (k *Keys) Authenticate(ctx context.Context, bearer string) (Caller, error) {
	hash := sha256.Sum256([]byte(bearer))
	if subtle.ConstantTimeCompare(hash[:], k.publish[:]) == 1 {
		return k.operator, nil
	}
	if k.parser == nil || len(bearer) > maxToken || strings.Count(bearer, ".") != 2 {
		return Caller{}, errUnknown
	}
	return k.ofJWT(ctx, bearer, hash)
}

// Anonymous is a caller without a token that counts. Whatever needs one fails by why, an error of [Keys.Authenticate] about a token
// that was sent nevertheless; nil if there was none.
func (k *Keys) Anonymous(why error) Caller {
	if why == nil && k.nobody.identity != nil {
		return k.nobody
	}
	return Caller{&identity{read: k.shared, why: why}}
}

// Fetch fetches the key set, if there is one. It is for the start, so that whoever runs the server learns at once of a URL that does
// not work, by one warning in the log; tokens that come before it works are an ErrUnavailable, and have it tried again.
func (k *Keys) Fetch(ctx context.Context) {
	if k.set != nil {
		k.set.fetchIfDue(ctx, 0)
	}
}
