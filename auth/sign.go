package auth

import (
	"time"

	"freshet/event"

	"github.com/golang-jwt/jwt/v5"
)

// Grant is what a JSON web token allows, or what a function of the embedding program allows. A token leaves out empty fields.
type Grant struct {
	Publish, Subscribe event.Patterns
	Operator           bool
	Subject            string    // such as the user's ID; empty: somebody unknown, who may only subscribe
	Audience, Issuer   string    // of a token
	Expires            time.Time // ends the open streams; zero: never. A token needs it, in whole seconds
}

// Sign returns the JSON web token that says the grant, signed with HS256 (RFC 7519).
func Sign(secret string, grant Grant) (string, error) {
	own := map[string]any{}
	for name, patterns := range map[string]event.Patterns{"publish": grant.Publish, "subscribe": grant.Subscribe} {
		var texts []string
		for _, p := range patterns {
			texts = append(texts, p.String())
		}
		if texts != nil {
			own[name] = texts
		}
	}
	if grant.Operator {
		own["operator"] = true
	}
	claims := jwt.MapClaims{"exp": grant.Expires.Unix(), "freshet": own}
	for name, text := range map[string]string{"sub": grant.Subject, "aud": grant.Audience, "iss": grant.Issuer} {
		if text != "" {
			claims[name] = text
		}
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
}
