package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/auth"
	"freshet/event"
	"freshet/ssetest"

	"github.com/golang-jwt/jwt/v5"
)

// A server without a publish token can be operated: a claim in a JSON web token makes an operator.
func TestOperatorsWithJSONWebTokens(t *testing.T) {
	t.Parallel()
	in := time.Now().Add(time.Hour)

	// A backend with the shared secret.
	bySecret := func(operator bool) string {
		text, err := auth.Sign(jwtSecret, auth.Grant{Subject: "u", Operator: operator, Subscribe: event.Patterns{event.All}, Expires: in})
		must(t, err)
		return text
	}

	// An identity provider with a key set, whose tokens have claims of its own too.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	point, err := key.PublicKey.Bytes() // 4, x, y
	must(t, err)
	coordinate := base64.RawURLEncoding.EncodeToString
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"k1","x":"`+coordinate(point[1:33])+`","y":"`+coordinate(point[33:])+`"}]}`)
	}))
	defer provider.Close()
	byProvider := func(operator bool) string {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": "https://id.example", "sub": "auth0|17", "aud": []string{"freshet", "other"}, "iat": time.Now().Unix(), "exp": in.Unix(), "scope": "openid",
			"freshet": map[string]any{"subscribe": []string{">"}, "operator": operator},
		})
		token.Header["kid"] = "k1"
		text, err := token.SignedString(key)
		must(t, err)
		return text
	}

	for name, issuer := range map[string]struct {
		flags []string
		token func(operator bool) string
	}{
		"secret":  {[]string{"--jwt-secret", jwtSecret}, bySecret},
		"key set": {[]string{"--jwks-url", provider.URL, "--jwt-audience", "freshet"}, byProvider},
	} {
		a := apptest.Wire(t, io.Discard, issuer.flags...)
		operator, reader := "Bearer "+issuer.token(true), "Bearer "+issuer.token(false)
		stream := ssetest.Get(t, a, "/event/news")
		w := a.Do("GET", "/connections", "", "Authorization", operator)
		_, id, _ := strings.Cut(w.Body.String(), `"connections":[{"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		if w.Code != http.StatusOK || id == "" {
			t.Fatalf("%s: connections: %d %s", name, w.Code, w.Body)
		}
		for _, c := range []struct {
			method, target, authorization string
			want                          int
		}{
			{"GET", "/connections", reader, 403}, {"DELETE", "/connections/" + id, reader, 403}, {"DELETE", "/ticket?subject=another", reader, 403},
			{"POST", "/event/news", operator, 403}, {"DELETE", "/ticket?subject=another", operator, 204}, {"DELETE", "/connections/" + id, operator, 204},
		} {
			if w := a.Do(c.method, c.target, "", "Authorization", c.authorization); w.Code != c.want {
				t.Fatalf("%s: %s %s: %d %s, want %d", name, c.method, c.target, w.Code, w.Body, c.want)
			}
		}
		if f := stream.NextEvent(); f.Type != "drain" {
			t.Errorf("%s: the stream that the operator ended got %+v", name, f)
		}
	}
}
