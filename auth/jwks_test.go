package auth_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// jwk is a public key in the form of a key set.
func jwk(t *testing.T, kid string, key any) jwkset.JWKMarshal {
	t.Helper()
	k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		t.Fatal(err)
	}
	return k.Marshal()
}

func setOf(t *testing.T, keys ...jwkset.JWKMarshal) string {
	t.Helper()
	text, err := json.Marshal(jwkset.JWKSMarshal{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func serveSet(t *testing.T, keys ...jwkset.JWKMarshal) *httptest.Server {
	t.Helper()
	text := setOf(t, keys...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	t.Cleanup(server.Close)
	return server
}

// source is a server of keys without a network.
type source struct {
	mu      sync.Mutex
	text    string // empty: it is away
	fetches atomic.Int32
	slow    time.Duration
}

func (s *source) set(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

func (s *source) RoundTrip(r *http.Request) (*http.Response, error) {
	s.fetches.Add(1)
	if s.slow > 0 {
		select {
		case <-time.After(s.slow):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text == "" {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(s.text)), Request: r}, nil
}

func (s *source) keys(t *testing.T, logged io.Writer) *auth.Keys {
	t.Helper()
	keys := newKeys(t, auth.Config{
		JWKSURL: "https://id.example/keys?key=hunter2", Client: &http.Client{Transport: s}, Logger: slog.New(slog.NewTextHandler(logged, nil)),
	})
	run(t, keys)
	return keys
}

// run runs the keys until the test ends.
func run(t *testing.T, keys *auth.Keys) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	t.Cleanup(func() {
		if stop(); <-done != nil {
			t.Error("Run failed")
		}
	})
}

func TestTokensOfAKeySet(t *testing.T) {
	r, ec, ed, p384 := mustRSA(t), mustEC(t, elliptic.P256()), mustEd(t), mustEC(t, elliptic.P384())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	encryption := jwk(t, "enc", &mustRSA(t).PublicKey)
	encryption.USE = jwkset.UseEnc
	other := jwk(t, "pss", &r.PublicKey)
	other.ALG = jwkset.AlgPS256
	unknown := jwkset.JWKMarshal{KTY: "new", KID: "new"}
	server := serveSet(t, unknown, jwk(t, "r", &r.PublicKey), jwk(t, "e", &ec.PublicKey), jwk(t, "d", ed.Public()),
		jwk(t, "weak", &weak.PublicKey), jwk(t, "p384", &p384.PublicKey), encryption, other)
	keys := newKeys(t, auth.Config{JWKSURL: server.URL})
	run(t, keys)
	claims := jwt.MapClaims{"exp": inAMinute()}
	for name, text := range map[string]string{
		"RS256": sign(t, jwt.SigningMethodRS256, r, "r", claims), "ES256": sign(t, jwt.SigningMethodES256, ec, "e", claims),
		"EdDSA": sign(t, jwt.SigningMethodEdDSA, ed, "d", claims), "without kid": sign(t, jwt.SigningMethodES256, ec, "", claims),
	} {
		if _, err := keys.Authenticate(t.Context(), text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"another key's kid": sign(t, jwt.SigningMethodRS256, r, "e", claims), "a weak key": sign(t, jwt.SigningMethodRS256, weak, "weak", claims),
		"another curve": sign(t, jwt.SigningMethodES384, p384, "p384", claims), "a key for another algorithm": sign(t, jwt.SigningMethodRS256, r, "pss", claims),
		"without kid, of none": sign(t, jwt.SigningMethodRS256, weak, "", claims),
	} {
		if _, err := keys.Authenticate(t.Context(), text); !auth.Guessed(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysAreRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		old, next := mustEd(t), mustEd(t)
		s := &source{text: setOf(t, jwk(t, "1", old.Public()))}
		keys := s.keys(t, &logged)
		try := func(kid string, key any) error {
			_, err := keys.Authenticate(t.Context(), sign(t, jwt.SigningMethodEdDSA, key, kid, jwt.MapClaims{"exp": inAMinute()}))
			return err
		}
		fetched := func(want int32) {
			t.Helper()
			if got := s.fetches.Load(); got != want {
				t.Errorf("fetched %d times, want %d", got, want)
			}
		}
		for range 100 {
			if err := try("1", old); err != nil {
				t.Fatal(err)
			}
		}
		fetched(1)
		s.set(setOf(t, jwk(t, "2", next.Public())))
		<-time.After(10 * time.Second)
		if err := try("2", next); err != nil {
			t.Errorf("a key that is new: %v", err)
		}
		if err := try("1", old); !auth.Guessed(err) {
			t.Errorf("a key that is gone: %v", err)
		}
		fetched(2)
		for range 100 { // unknown keys, at once
			if err := try("nonsense", old); !auth.Guessed(err) {
				t.Fatal(err)
			}
		}
		fetched(2)
		began := time.Now()
		for range 100 { // and for a while
			<-time.After(time.Second)
			_ = try("nonsense", old)
		}
		if got, most := s.fetches.Load(), 3+int32(time.Since(began)/(10*time.Second)); got > most {
			t.Errorf("within %v fetched %d times, want at most %d", time.Since(began), got, most)
		}
		// A server of keys that is away stops nobody who has a token, whatever their age.
		s.set("")
		<-time.After(24 * time.Hour)
		if err := try("2", next); err != nil {
			t.Errorf("while the server of keys is away: %v", err)
		}
		before := s.fetches.Load()
		s.set(setOf(t, jwk(t, "3", next.Public())))
		<-time.After(time.Hour)
		if err := try("3", next); err != nil {
			t.Errorf("once it is back: %v", err)
		}
		fetched(before + 1)
		if n := strings.Count(logged.String(), "level=WARN"); n != 1 || strings.Contains(logged.String(), "hunter2") {
			t.Errorf("logged %d warnings:\n%s", n, &logged)
		}
	})
}

func TestAKeySetThatCannotBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		key := mustEd(t)
		s := &source{}
		keys := s.keys(t, &logged)
		synctest.Wait()
		began := time.Now()
		try := func() error {
			_, err := keys.Authenticate(t.Context(), sign(t, jwt.SigningMethodEdDSA, key, "1", jwt.MapClaims{"exp": inAMinute()}))
			return err
		}
		for range 30 {
			if err := try(); !errors.Is(err, auth.ErrUnavailable) || auth.Guessed(err) || auth.Challenge(err) != "" {
				t.Fatalf("got %v, want ErrUnavailable", err)
			}
			<-time.After(time.Second)
		}
		if n := s.fetches.Load(); n < 2 || n > 4 || time.Since(began) > 31*time.Second {
			t.Errorf("tried %d times in %v", n, time.Since(began))
		}
		for _, text := range []string{"<html>", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, strings.Repeat(" ", 2<<20)} {
			s.set(text)
			<-time.After(11 * time.Second)
			if err := try(); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("%.20q: %v", text, err)
			}
		}
		s.set(setOf(t, jwk(t, "1", key.Public())))
		<-time.After(11 * time.Second)
		if err := try(); err != nil {
			t.Errorf("once it can: %v", err)
		}
		if n := strings.Count(logged.String(), "level=WARN"); n != 1 || !strings.Contains(logged.String(), "--jwks-url") || strings.Contains(logged.String(), "hunter2") {
			t.Errorf("logged %d warnings:\n%s", n, &logged)
		}
	})
}

// Those who come while the set is fetched share the one fetch, and one who goes does not end it.
func TestOneFetchIsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := mustEd(t)
		s := &source{text: setOf(t, jwk(t, "1", key.Public())), slow: time.Second}
		keys := s.keys(t, io.Discard)
		text := sign(t, jwt.SigningMethodEdDSA, key, "1", jwt.MapClaims{"exp": inAMinute()})
		gone, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range 50 {
			ctx := t.Context()
			if i == 0 {
				ctx = gone
			}
			callers.Go(func() {
				if _, err := keys.Authenticate(ctx, text); err != nil && i > 0 {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		leave()
		callers.Wait()
		if n := s.fetches.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
}
