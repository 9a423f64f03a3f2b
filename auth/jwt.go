package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet/event"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// Leeway is how far ahead nbf may be, because clocks differ. exp has none: a stream ends when its token expires.
	Leeway = 10 * time.Second

	hmacAlgorithm = "HS256"
	maxToken      = 16 << 10 // bytes
	maxPatterns   = 256      // of a claim; each published event is compared with each
)

// authenticateJWT returns the caller of a JSON web token. Until its signature is verified, it is not trusted and no error explains it.
func (k *Keys) authenticateJWT(ctx context.Context, bearer string, hash [sha256.Size]byte) (Caller, error) {
	text, err := k.verify(ctx, bearer)
	if err != nil {
		return Caller{}, err
	}
	c, err := parseClaims(text)
	if err != nil {
		return Caller{}, err
	}
	if c.registered.ExpiresAt == nil {
		return Caller{}, &tokenError{reason: "has no exp, which is required"}
	}
	err = k.validator.Validate(c.registered)
	if err == nil && !time.Now().Before(c.registered.ExpiresAt.Time) {
		err = jwt.ErrTokenExpired // within the leeway
	}
	switch {
	case err == nil:
	case errors.Is(err, jwt.ErrTokenExpired):
		return Caller{}, &tokenError{reason: "has expired"}
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return Caller{}, &tokenError{reason: "is not valid yet"}
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return Caller{}, &tokenError{reason: "is for another audience (aud)"}
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return Caller{}, &tokenError{reason: "is from another issuer (iss)"}
	default:
		return Caller{}, &tokenError{reason: "has no aud or no iss, which are required here"}
	}
	return Caller{&identity{
		subject:  subjectOf(c.registered, hash),
		operator: c.operator,
		publish:  c.publish,
		read:     slices.Concat(k.shared, c.subscribe).Widest(),
		expires:  c.registered.ExpiresAt.Time,
	}}, nil
}

// verify checks the signature and returns the payload. The key is that of the algorithm, never another: a public key is no secret.
func (k *Keys) verify(ctx context.Context, bearer string) ([]byte, error) {
	var claims payload
	_, err := k.parser.ParseWithClaims(bearer, &claims, func(token *jwt.Token) (any, error) {
		if _, critical := token.Header["crit"]; critical {
			return nil, errUnknown // an extension that this server does not understand (RFC 7515, section 4.1.11)
		}
		if token.Method.Alg() == hmacAlgorithm {
			return k.secret, nil
		}
		keys := k.set.wait()
		if keys == nil {
			return nil, ErrUnavailable
		}
		return keys.KeyfuncCtx(context.WithoutCancel(ctx))(token) // a client that leaves does not end a fetch
	})
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, ErrUnavailable
	case err != nil:
		return nil, errUnknown
	}
	return claims.text, nil
}

// payload is the text of a token's claims.
type payload struct {
	jwt.RegisteredClaims // only to implement jwt.Claims; stays empty
	text                 []byte
}

func (p *payload) UnmarshalJSON(text []byte) error {
	p.text = bytes.Clone(text)
	return nil
}

// claims is the content of a token.
type claims struct {
	registered         jwt.RegisteredClaims
	publish, subscribe event.Patterns
	operator           bool
}

// parseClaims accepts each claim once and by its exact name (RFC 7519, section 4). encoding/json alone ignores case and repetition.
func parseClaims(text []byte) (c claims, err error) {
	members := object(text)
	if members == nil {
		return c, &tokenError{reason: "has claims that are not a JSON object, or has a claim twice"}
	}
	for name, into := range map[string]any{
		"exp": &c.registered.ExpiresAt, "nbf": &c.registered.NotBefore, "aud": &c.registered.Audience,
		"iss": &c.registered.Issuer, "sub": &c.registered.Subject,
	} {
		if value, ok := members[name]; ok && json.Unmarshal(value, into) != nil {
			return c, &tokenError{reason: "has a claim of the wrong kind: " + name}
		}
	}
	own, ok := members["freshet"]
	if !ok {
		return c, nil
	}
	if members = object(own); members == nil {
		return c, &tokenError{reason: "has a claim of the wrong kind: freshet must be an object with publish, subscribe and operator"}
	}
	for name, value := range members {
		switch name {
		case "publish":
			c.publish, err = parsePatterns(name, value)
		case "subscribe":
			c.subscribe, err = parsePatterns(name, value)
		case "operator":
			if yes := string(value) == "true"; yes || string(value) == "false" {
				c.operator = yes
			} else {
				err = &tokenError{reason: "has a claim of the wrong kind: freshet.operator must be true or false"}
			}
		default:
			err = &tokenError{reason: "has an unknown claim: freshet may have publish, subscribe and operator"}
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

func parsePatterns(name string, value []byte) (event.Patterns, error) {
	var texts []string
	if json.Unmarshal(value, &texts) != nil || len(texts) > maxPatterns {
		return nil, &tokenError{reason: fmt.Sprintf("has a claim of the wrong kind: freshet.%s must be a list of at most %d topic patterns", name, maxPatterns)}
	}
	var patterns event.Patterns
	for i, text := range texts {
		p, err := event.ParsePattern(text) // null is read as "", which is no pattern
		if err != nil {
			return nil, &tokenError{reason: fmt.Sprintf("has a claim of the wrong kind: freshet.%s[%d] is not a topic pattern", name, i)}
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// object returns the members of a JSON object. It returns nil for another value, or if a member appears twice.
func object(text []byte) map[string]json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		key, _ := name.(string)
		var value json.RawMessage
		if _, twice := members[key]; twice || err != nil || d.Decode(&value) != nil {
			return nil
		}
		members[key] = value
	}
	return members
}

func subjectOf(c jwt.RegisteredClaims, hash [sha256.Size]byte) string {
	if c.Subject != "" {
		// The length separates the two.
		hash = sha256.Sum256(fmt.Appendf(nil, "%d %s %s", len(c.Issuer), c.Issuer, c.Subject))
	} else {
		hash = sha256.Sum256(hash[:]) // not the hash that tokens are compared by
	}
	return printSubject("jwt", hash)
}

// printSubject returns a subject that is short and printable.
func printSubject(kind string, hash [sha256.Size]byte) string {
	return kind + "-" + base64.RawURLEncoding.EncodeToString(hash[:16])
}
