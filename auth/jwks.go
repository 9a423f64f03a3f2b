package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/time/rate"
)

const (
	setRefresh = time.Hour        // between two regular fetches
	setPause   = 10 * time.Second // between two fetches for unknown key IDs, and before the first set is there
	setTimeout = 5 * time.Second  // of a fetch, and of a token that waits for one
	maxSet     = 1 << 20          // bytes
	maxSetKeys = 100
	minRSA     = 2048 // bits
)

// setAlgorithms are the algorithms of the keys in a key set.
var setAlgorithms = []string{"RS256", "ES256", "EdDSA"}

// keySet is the usable keys of a URL. A fetch that fails leaves the cached keys valid.
type keySet struct {
	url     string
	inner   http.RoundTripper
	logger  *slog.Logger
	failing atomic.Bool     // since the last success; a warning was logged
	fetched chan struct{}   // closed once there are keys
	keys    keyfunc.Keyfunc // set before fetched is closed
}

// run fetches the set until ctx is done.
func (s *keySet) run(ctx context.Context) error {
	unknown := rate.NewLimiter(rate.Every(setPause), 1)
	for unknown.Wait(ctx) == nil {
		ctx, stop := context.WithCancel(ctx) // a failed first fetch leaves a goroutine that refreshes
		keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{s.url}, keyfunc.Override{
			Client: &http.Client{Transport: s}, HTTPTimeout: setTimeout, RefreshInterval: setRefresh,
			RefreshUnknownKID: unknown, RateLimitWaitMax: setTimeout, NoErrorReturnFirstHTTPReq: new(bool),
			RefreshErrorHandlerFunc: func(string) func(context.Context, error) { return s.warn },
		})
		if err == nil {
			s.keys = keys
			close(s.fetched)
			<-ctx.Done()
		}
		s.warn(ctx, err)
		stop()
	}
	return nil
}

// wait returns the keys, or nil if there are none yet. It waits for the first fetch only.
func (s *keySet) wait() keyfunc.Keyfunc {
	select {
	case <-s.fetched:
		return s.keys
	default:
		if s.failing.Load() {
			return nil
		}
	}
	select {
	case <-s.fetched:
		return s.keys
	case <-time.After(setTimeout):
		return nil
	}
}

// warn logs the first of several failures, without the URL, which may contain credentials.
func (s *keySet) warn(_ context.Context, err error) {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if err != nil && !errors.Is(err, context.Canceled) && !s.failing.Swap(true) {
		s.logger.Warn("the key set cannot be fetched and is tried again: check --jwks-url", "error", err)
	}
}

// RoundTrip fetches the set for keyfunc, and returns its public keys for setAlgorithms. No redirect may leave HTTPS.
func (s *keySet) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(s.url, r.URL.Scheme+":") {
		return nil, errors.New("redirected to another scheme")
	}
	response, err := s.inner.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	var set, usable jwkset.JWKSMarshal
	body := http.MaxBytesReader(nil, response.Body, maxSet)
	if err := errors.Join(json.NewDecoder(body).Decode(&set), body.Close()); err != nil {
		return nil, errors.New("it is no JSON web key set, or too large")
	}
	for _, k := range set.Keys {
		key, err := jwkset.NewJWKFromMarshal(k, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err == nil && (k.USE == "" || k.USE == jwkset.UseSig) && verifies(key.Key(), k.ALG.String()) {
			usable.Keys = append(usable.Keys, k)
		}
	}
	if n := len(usable.Keys); n == 0 || n > maxSetKeys {
		return nil, fmt.Errorf("it has %d public keys for RS256, ES256 or EdDSA: want 1 to %d", n, maxSetKeys)
	}
	text, err := json.Marshal(usable)
	response.Body = io.NopCloser(bytes.NewReader(text))
	if s.failing.Swap(false) {
		s.logger.Info("the key set was fetched")
	}
	return response, err
}

// verifies reports whether the public key is for one of setAlgorithms; alg is the key's own claim, if it makes one.
func verifies(key any, alg string) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && (alg == "" || alg == "RS256")
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() && (alg == "" || alg == "ES256")
	case ed25519.PublicKey:
		return alg == "" || alg == "EdDSA"
	}
	return false
}
