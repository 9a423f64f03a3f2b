package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"freshet/event"
	"freshet/limit"

	"github.com/golang-jwt/jwt/v5"
)

// Config says which tokens are valid, and what needs no token.
type Config struct {
	// Empty: no such tokens are valid.
	PublishToken string // may do everything; see [CheckPublishToken]
	JWTSecret    string // verifies tokens by HS256; see [CheckSecret]
	JWKSURL      string // has the key set (RFC 7517) for tokens by RS256, ES256 and EdDSA, which [Keys.Run] fetches

	Audience  string         // must be in a token's aud; empty: anything
	Issuer    string         // must be a token's iss; empty: anything
	Anonymous event.Patterns // what can be read without a token, and with any token
	Client    *http.Client   // its transport fetches the key set; nil: the default transport

	// Authenticate says what the sender of a request without a valid token may do, see [Keys.Recognize]; nil: what Anonymous says.
	Authenticate func(*http.Request) (Grant, error)

	Logger *slog.Logger // nil: logs nothing
}

// Keys tells valid tokens from others. The zero value accepts no token, and allows reading nothing without one.
type Keys struct {
	publish   [sha256.Size]byte // zero if there is no publish token: nothing has that hash
	publisher Caller            // with the publish token
	anonymous Caller
	shared    event.Patterns // readable by anyone
	recognize func(*http.Request) (Grant, error)
	logger    *slog.Logger
	failures  limit.Log // of recognize

	secret    []byte
	set       *keySet
	parser    *jwt.Parser    // nil: no JSON web token is valid
	validator *jwt.Validator // of the claims
}

// New checks the Config. It fetches nothing.
func New(config Config) (*Keys, error) {
	k := &Keys{
		shared:    config.Anonymous.Widest(),
		recognize: config.Authenticate,
		logger:    cmp.Or(config.Logger, slog.New(slog.DiscardHandler)),
		publisher: Caller{&identity{subject: publishSubject, operator: true, publish: event.Patterns{event.All}, read: event.Patterns{event.All}}},
	}
	k.anonymous = Caller{&identity{read: k.shared}}
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
		if err := CheckKeySetURL(config.JWKSURL); err != nil {
			return nil, fmt.Errorf("JWKS URL: %w", err)
		}
		k.set = &keySet{url: config.JWKSURL, inner: http.DefaultTransport, logger: k.logger, fetched: make(chan struct{})}
		if config.Client != nil && config.Client.Transport != nil {
			k.set.inner = config.Client.Transport
		}
		algorithms = append(algorithms, setAlgorithms...)
	}
	if algorithms != nil {
		k.parser = jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
		options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(Leeway), jwt.WithIssuer(config.Issuer)}
		if config.Audience != "" {
			options = append(options, jwt.WithAudience(config.Audience))
		}
		k.validator = jwt.NewValidator(options...)
	}
	return k, nil
}

// Authenticate returns the caller of a bearer token, or an error. It compares hashes of equal length in constant time, so its duration
// says nothing about the publish token. It may wait some seconds for the key set.
func (k *Keys) Authenticate(ctx context.Context, bearer string) (Caller, error) {
	hash := sha256.Sum256([]byte(bearer))
	if subtle.ConstantTimeCompare(hash[:], k.publish[:]) == 1 {
		return k.publisher, nil
	}
	if k.parser == nil || len(bearer) > maxToken || strings.Count(bearer, ".") != 2 {
		return Caller{}, errUnknown
	}
	return k.authenticateJWT(ctx, bearer, hash)
}

// Anonymous returns a caller without a valid token. What needs a token then fails with why, an error of [Keys.Authenticate] about a token
// that was sent nevertheless; nil if none was sent.
func (k *Keys) Anonymous(why error) Caller {
	if why == nil && k.anonymous.identity != nil {
		return k.anonymous
	}
	return Caller{&identity{read: k.shared, why: why}}
}

// Run fetches the key set, if there is one, until ctx is done: at once, every hour, and for tokens with an unknown key ID. The log says if
// it cannot be fetched. Until it could be fetched once, its tokens are an ErrUnavailable.
func (k *Keys) Run(ctx context.Context) error {
	if k.set == nil {
		return nil
	}
	return k.set.run(ctx)
}
