package auth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/event"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func TestWhatATokenAllows(t *testing.T) {
	keys := newKeys(t, auth.Config{JWTSecret: secret, Anonymous: patterns(t, "news", "public.>", "public.a")})
	expires := inAMinute()
	caller, err := keys.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{
		"sub": "u1", "exp": expires,
		"freshet": map[string]any{"publish": []string{"orders.*", "chat"}, "subscribe": []string{"orders.>", "public.b", "news"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !caller.Expires().Equal(time.Unix(expires, 0)) || caller.MayOperate() == nil || caller.Subject() == "" || strings.Contains(caller.Subject(), "u1") {
		t.Errorf("expires %v, operator %v, subject %q", caller.Expires(), caller.MayOperate() == nil, caller.Subject())
	}
	var readable []string
	for _, p := range caller.Readable() {
		readable = append(readable, p.String())
	}
	if diff := cmp.Diff([]string{"news", "public.>", "orders.>"}, readable); diff != "" {
		t.Errorf("readable, each once: %s", diff)
	}
	for topic, want := range map[string]bool{"": true, "orders.eu": true, "chat": true, "orders": false, "orders.eu.x": false, "news": false, "no topic": false} {
		if err := caller.MayPublish(topic); (err == nil) != want || err != nil && (!errors.Is(err, auth.ErrForbidden) || !strings.Contains(err.Error(), topic)) {
			t.Errorf("publish to %q: %v", topic, err)
		}
	}
	for pattern, want := range map[string]bool{
		"news": true, "orders.eu": true, "orders.*": true, "orders.>": true, "orders.*.x": true, "public.a": true, "counter": true, "stats": true,
		"orders": false, ">": false, "*": false, "*.eu": false, "*.>": false, "public": false, "chat": false,
	} {
		err := caller.MayRead(patterns(t, pattern)[0])
		if (err == nil) != want || err != nil && (!errors.Is(err, auth.ErrForbidden) || !strings.Contains(err.Error(), fmt.Sprintf("%q", pattern))) {
			t.Errorf("read %s: %v", pattern, err)
		}
		err = keys.Anonymous(nil).MayRead(patterns(t, pattern)[0])
		if want = want && !strings.HasPrefix(pattern, "orders"); (err == nil) != want || err != nil && !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("read %s without a token: %v", pattern, err)
		}
	}
}

// The claim makes an operator, who may read the server's own topics, and nothing else.
func TestOperatorsByClaim(t *testing.T) {
	t.Parallel()
	keys := newKeys(t, auth.Config{JWTSecret: secret, PublishToken: token})
	for _, c := range []struct {
		grant auth.Grant
		want  bool
	}{
		{auth.Grant{Operator: true}, true},
		{auth.Grant{Operator: true, Subject: "ops"}, true},
		{auth.Grant{Subject: "ops", Publish: event.Patterns{event.All}, Subscribe: event.Patterns{event.All}}, false},
	} {
		c.grant.Expires = time.Now().Add(time.Minute)
		text, err := auth.Sign(secret, c.grant)
		if err != nil {
			t.Fatal(err)
		}
		caller, err := keys.Authenticate(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		err = caller.MayOperate()
		if c.want != (err == nil) || caller.Shared() {
			t.Errorf("%+v: %v, shared %v", c.grant, err, caller.Shared())
		}
		if !c.want {
			if !errors.Is(err, auth.ErrForbidden) || !strings.Contains(err.Error(), `"freshet": {"operator": true}`) {
				t.Errorf("the error does not name the claim: %v", err)
			}
			continue
		}
		if caller.MayPublish("") == nil || caller.MayPublish("a") == nil || caller.MayRead(event.All) == nil || caller.MayRead(patterns(t, "a")[0]) == nil {
			t.Error("the claim allows to publish or to read events")
		}
		if caller.MayReadAnything() != nil || caller.MayRead(patterns(t, "stats")[0]) != nil {
			t.Error("an operator may not read the stats")
		}
		if ticket := auth.TicketCaller(caller.Subject(), event.Patterns{event.All}, event.Patterns{event.All}, time.Now(), auth.Ticket{ID: "x"}); ticket.MayOperate() == nil {
			t.Error("a ticket has the right")
		}
	}
	if err := keys.Anonymous(nil).MayOperate(); !errors.Is(err, auth.ErrUnauthenticated) || !keys.Anonymous(nil).Shared() {
		t.Errorf("without a token: %v", err)
	}
	if all, err := keys.Authenticate(t.Context(), token); err != nil || !all.Shared() {
		t.Errorf("the publish token: %v, shared %v", err, all.Shared())
	}
}

func TestOthersThanTokens(t *testing.T) {
	keys := newKeys(t, auth.Config{PublishToken: token, JWTSecret: secret})
	operator, err := keys.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	all, nobody := event.All, keys.Anonymous(nil)
	if operator.MayRead(all) != nil || operator.MayPublish("any.topic") != nil || operator.MayOperate() != nil || !operator.Expires().IsZero() {
		t.Error("the publish token may not do everything")
	}
	if err := nobody.MayReadAnything(); !errors.Is(err, auth.ErrUnauthenticated) || nobody.Subject() != "" || nobody.MayOperate() == nil {
		t.Errorf("anonymous: %v", err)
	}
	if why := auth.ErrUnavailable; !errors.Is(keys.Anonymous(why).MayRead(all), why) || !errors.Is(keys.Anonymous(why).MayPublish("a"), why) {
		t.Error("what was wrong with the token is not told")
	}
	if (auth.Caller{}).MayRead(all) != nil || (auth.Caller{}).MayPublish("a") == nil {
		t.Error("the zero Caller reads all and publishes nothing")
	}
	if err := (auth.Caller{}).MayRead(event.Pattern{}); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("no pattern: %v", err)
	}
}

func TestSubjectsTellCallersApart(t *testing.T) {
	keys := newKeys(t, auth.Config{JWTSecret: secret})
	subject := func(claims jwt.MapClaims) string {
		claims["exp"] = inAMinute()
		caller, err := keys.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(secret), "", claims))
		if err != nil {
			t.Fatal(err)
		}
		return caller.Subject()
	}
	one := subject(jwt.MapClaims{"iss": "i", "sub": "a"})
	if again := subject(jwt.MapClaims{"iss": "i", "sub": "a", "jti": "2"}); again != one {
		t.Error("another token of the subject is another subject")
	}
	seen := map[string]bool{one: true}
	for _, claims := range []jwt.MapClaims{{"iss": "i", "sub": "b"}, {"iss": "j", "sub": "a"}, {"iss": "i a", "sub": ""}, {"sub": "i a"}, {"jti": "1"}, {"jti": "2"}} {
		s := subject(claims)
		if seen[s] {
			t.Errorf("%v has another's subject", claims)
		}
		seen[s] = true
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	server := serveSet(t, jwk(t, "r", &rsaKey.PublicKey))
	both := newKeys(t, auth.Config{PublishToken: token, JWTSecret: secret, JWKSURL: server.URL})
	bySecret := newKeys(t, auth.Config{PublishToken: token, JWTSecret: secret})
	bySet := newKeys(t, auth.Config{PublishToken: token, JWKSURL: server.URL})
	run(t, both)
	run(t, bySet)
	good := func() jwt.MapClaims { return jwt.MapClaims{"exp": inAMinute(), "sub": "attacker"} }
	hs256 := func(key []byte) string { return sign(t, jwt.SigningMethodHS256, key, "r", good()) }
	whole := hs256([]byte(secret))
	parts := strings.Split(whole, ".")

	for name, bad := range map[string]struct {
		keys  *auth.Keys
		token string
	}{
		"the public key as a secret, PEM":      {both, hs256(public)},
		"the public key as a secret, DER":      {both, hs256(der)},
		"the public key as a secret, set only": {bySet, hs256(public)},
		"the modulus as a secret":              {bySet, hs256(rsaKey.N.Bytes())},
		"an empty secret":                      {bySet, hs256(nil)},
		"the secret where there is none":       {bySet, whole},
		"RS256 where there is a secret":        {bySecret, sign(t, jwt.SigningMethodRS256, rsaKey, "r", good())},
		"none":                                 {both, sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "r", good())},
		"none with the signature of another":   {both, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "." + parts[2]},
		"None":                                 {both, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None"}`)) + "." + parts[1] + "."},
		"another secret":                       {both, hs256([]byte("another-secret-of-thirty-two-bytes"))},
		"HS384":                                {both, sign(t, jwt.SigningMethodHS384, []byte(secret), "", good())},
		"PS256":                                {both, sign(t, jwt.SigningMethodPS256, rsaKey, "r", good())},
		"RS512":                                {both, sign(t, jwt.SigningMethodRS512, rsaKey, "r", good())},
		"no algorithm":                         {both, signed(t, `{}`, `{"exp":9999999999}`)},
		"an algorithm that is a number":        {both, signed(t, `{"alg":256}`, `{"exp":9999999999}`)},
		"no signature":                         {both, parts[0] + "." + parts[1] + "."},
		"two parts":                            {both, parts[0] + "." + parts[1]},
		"four parts":                           {both, whole + "." + parts[2]},
		"five parts":                           {both, whole + ".a.b"},
		"other claims under the signature":     {both, parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":9999999999}`)) + "." + parts[2]},
		"a critical extension":                 {both, signed(t, `{"alg":"HS256","crit":["b64"],"b64":false}`, `{"exp":9999999999}`)},
		"padding":                              {both, whole + "="},
		"huge":                                 {both, signed(t, `{"alg":"HS256"}`, `{"exp":9999999999,"a":"`+strings.Repeat("a", 16<<10)+`"}`)},
		"dots":                                 {both, strings.Repeat(".", 30_000)},
		"a kid that is a path":                 {both, sign(t, jwt.SigningMethodRS256, rsaKey, "../../../../dev/null", good())},
		"a kid that is a URL":                  {both, sign(t, jwt.SigningMethodRS256, rsaKey, "http://attacker.example/jwks", good())},
		"a kid that is a number":               {both, signedBy(t, rsaKey, `{"alg":"RS256","kid":7}`)},
		"a key of its own":                     {both, signedBy(t, mustRSA(t), `{"alg":"RS256","jwk":{"kty":"RSA"},"jku":"http://attacker.example/"}`)},
		"another RSA key under a known kid":    {both, sign(t, jwt.SigningMethodRS256, mustRSA(t), "r", good())},
		"unsigned claims that would be told about": {both, sign(t, jwt.SigningMethodHS256, []byte("another-secret-of-thirty-two-bytes"), "", jwt.MapClaims{"exp": 1})},
	} {
		caller, err := bad.keys.Authenticate(t.Context(), bad.token)
		if err == nil || err.Error() != "not authenticated: the token is not valid here" || !errors.Is(err, auth.ErrUnauthenticated) || !auth.Guessed(err) {
			t.Errorf("%s: %v, guessed %v", name, err, auth.Guessed(err))
		}
		if caller != (auth.Caller{}) {
			t.Errorf("%s: %+v", name, caller)
		}
	}
}

// What is wrong with a token that is signed is told to its owner, and holds nothing of it.
func TestWhatOwnersAreTold(t *testing.T) {
	keys := newKeys(t, auth.Config{JWTSecret: secret, Audience: "freshet", Issuer: "https://id.example"})
	const header = `{"alg":"HS256","typ":"JWT"}`
	rest := `"aud":"freshet","iss":"https://id.example","exp":9999999999`
	future := time.Now().Add(time.Hour).Unix()
	for payload, want := range map[string]string{
		`{` + rest + `}`: "",
		`{"aud":["other","freshet"],"iss":"https://id.example","exp":9999999999}`: "",
		`{` + rest + `,"freshet":{"publish":null}}`:                               "",
		`{` + rest + `,"EXP":1,"Freshet":7,"FRESHET":{}}`:                         "", // other names
		`{"aud":"freshet","iss":"https://id.example","exp":1}`:                    "has expired",
		fmt.Sprintf(`{%s,"nbf":%d}`, rest, future):                                "is not valid yet",
		`{"aud":"other","iss":"https://id.example","exp":9999999999}`:             "is for another audience (aud)",
		`{"aud":"freshet","iss":"https://else","exp":9999999999}`:                 "is from another issuer (iss)",
		`{"iss":"https://id.example","exp":9999999999}`:                           "has no aud or no iss",
		`{"aud":"freshet","exp":9999999999}`:                                      "has no aud or no iss",
		`{"aud":"freshet","iss":"https://id.example"}`:                            "has no exp",
		`{"aud":"freshet","iss":"https://id.example","exp":"later"}`:              "wrong kind: exp",
		`{"aud":"freshet","iss":"https://id.example","exp":{}}`:                   "wrong kind: exp",
		`{"aud":"freshet","iss":"https://id.example","exp":1e300}`:                "has expired",
		`{` + rest + `,"nbf":"now"}`:                                              "wrong kind: nbf",
		`{` + rest + `,"sub":7}`:                                                  "wrong kind: sub",
		`{"aud":7,"iss":"https://id.example","exp":9999999999}`:                   "wrong kind: aud",
		`{"aud":"freshet","iss":["https://id.example"],"exp":9999999999}`:         "wrong kind: iss",
		`{` + rest + `,"freshet":"hunter2"}`:                                      "freshet must be an object",
		`{` + rest + `,"freshet":["hunter2"]}`:                                    "freshet must be an object",
		`{` + rest + `,"freshet":{"publish":">"}}`:                                "freshet.publish must be a list",
		`{` + rest + `,"freshet":{"subscribe":{"hunter2":1}}}`:                    "freshet.subscribe must be a list",
		`{` + rest + `,"freshet":{"subscribe":[1]}}`:                              "freshet.subscribe must be a list",
		`{` + rest + `,"freshet":{"subscribe":["a","hunter2."]}}`:                 "freshet.subscribe[1] is not a topic pattern",
		`{` + rest + `,"freshet":{"publish":[null]}}`:                             "freshet.publish[0] is not a topic pattern",
		`{` + rest + `,"freshet":{"subscribes":["hunter2"]}}`:                     "freshet may have publish, subscribe and operator",
		`{` + rest + `,"freshet":{"operator":"hunter2"}}`:                         "freshet.operator must be true or false",
		`{` + rest + `,"freshet":{"operator":1}}`:                                 "freshet.operator must be true or false",
		`{` + rest + `,"freshet":{"operator":false}}`:                             "",
		`{` + rest + `,"freshet":{"publish":[],"publish":[">"]}}`:                 "freshet must be an object",
		`{` + rest + `,"exp":99999999999}`:                                        "a claim twice",
		`{` + rest + `,"freshet":{},"freshet":{"publish":[">"]}}`:                 "a claim twice",
		`["hunter2"]`: "not a JSON object",
		`null`:        "not a JSON object",
		`{` + rest + `,"freshet":{"publish":[` + strings.Repeat(`"a",`, 256) + `"a"]}}`: "at most 256",
	} {
		caller, err := keys.Authenticate(t.Context(), signed(t, header, payload))
		switch {
		case want == "":
			if err != nil {
				t.Errorf("%s: %v", payload, err)
			} else if caller.MayPublish("a") == nil {
				t.Errorf("%s: may publish", payload)
			}
			continue
		case err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, auth.ErrUnauthenticated) || auth.Guessed(err):
			t.Errorf("%s: %v, want %q", payload, err, want)
			continue
		case !strings.Contains(auth.Challenge(err), `error="invalid_token", error_description="the token `) || strings.Contains(auth.Challenge(err), `\`):
			t.Errorf("%s: challenge %s", payload, auth.Challenge(err))
		}
		if strings.Contains(err.Error()+auth.Challenge(err), "hunter2") {
			t.Errorf("%s: of the token is told: %v", payload, err)
		}
	}
}

func TestTokensHoldTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := newKeys(t, auth.Config{JWTSecret: secret})
		now := time.Now()
		text := sign(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{
			"nbf": now.Add(30 * time.Second).Unix(), "exp": now.Add(time.Minute).Unix(),
		})
		for _, want := range []struct {
			at   time.Duration
			text string
		}{
			{19 * time.Second, "is not valid yet"}, {20 * time.Second, ""}, {59 * time.Second, ""}, {time.Minute, "has expired"},
			{65 * time.Second, "has expired"}, {time.Hour, "has expired"},
		} {
			<-time.After(time.Until(now.Add(want.at)))
			_, err := keys.Authenticate(t.Context(), text)
			if (err == nil) != (want.text == "") || err != nil && !strings.Contains(err.Error(), want.text) {
				t.Errorf("after %v: %v, want %q", want.at, err, want.text)
			}
		}
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, config := range []auth.Config{
		{JWTSecret: secret[1:]}, {JWKSURL: "id.example"}, {JWKSURL: "ftp://id.example/"}, {JWKSURL: "http://"}, {JWKSURL: "://"},
	} {
		if _, err := auth.New(config); err == nil || config.JWTSecret != "" && strings.Contains(err.Error(), config.JWTSecret) {
			t.Errorf("%+v: %v", config, err)
		}
	}
}
