package auth_test

import (
	"testing"
	"time"

	"freshet/auth"
	"freshet/event"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func TestSign(t *testing.T) {
	const secret = "thirty-two-bytes-of-a-JWT-secret"
	news, err := event.ParsePattern("news.>")
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(time.Hour)
	for _, c := range []struct {
		grant auth.Grant
		want  jwt.MapClaims
	}{
		{auth.Grant{Expires: expires}, jwt.MapClaims{"exp": float64(expires.Unix()), "freshet": map[string]any{}}},
		{
			auth.Grant{Publish: event.Patterns{news}, Subscribe: event.Patterns{event.All, news}, Operator: true, Subject: "u", Audience: "a", Issuer: "i", Expires: expires},
			jwt.MapClaims{"exp": float64(expires.Unix()), "sub": "u", "aud": "a", "iss": "i", "freshet": map[string]any{
				"publish": []any{"news.>"}, "subscribe": []any{">", "news.>"}, "operator": true,
			}},
		},
	} {
		text, err := auth.Sign(secret, c.grant)
		if err != nil {
			t.Fatal(err)
		}
		claims := jwt.MapClaims{}
		if _, err := jwt.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return []byte(secret), nil }, jwt.WithValidMethods([]string{"HS256"})); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, claims); diff != "" {
			t.Error(diff)
		}
	}
}
