package auth

import (
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
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// setAlgorithms are what the key set's keys verify.
var setAlgorithms = []string{"RS256", "ES256", "EdDSA"}

// How a key set is fetched. Nobody who shows tokens can have it fetched more often than once in setPause.
const (
	setAge     = time.Hour        // after which it is fetched again
	setPause   = 10 * time.Second // between two attempts
	setTimeout = 5 * time.Second
	maxSet     = 1 << 20 // bytes
	maxSetKeys = 100
	minRSA     = 2048 // bits
)

// keySet is the keys of a URL, fetched when a token needs them: the first time, after setAge, and for a key that is not among them.
// What was fetched once counts until something else is: a server of keys that is away does not stop those who have tokens.
type keySet struct {
	url    string
	client *http.Client
	logger *slog.Logger

	fetching chan struct{} // holds a token while one fetches

	mu      sync.Mutex
	keys    keyfunc.Keyfunc // nil: never fetched
	fetched time.Time       // when it was last
	tried   time.Time       // when it was last tried
	failing bool            // a warning was logged
}

func newKeySet(address string, client *http.Client, logger *slog.Logger) (*keySet, error) {
	if err := CheckKeySetURL(address); err != nil {
		return nil, fmt.Errorf("JWKS URL: %w", err)
	}
	if client == nil {
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true} // an hour is too long to keep one
		client = &http.Client{Transport: transport, CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if len(via) > 3 || to.URL.Scheme != via[0].URL.Scheme {
				return errors.New("redirected too often, or to another scheme")
			}
			return nil
		}}
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &keySet{url: address, client: client, logger: logger, fetching: make(chan struct{}, 1)}, nil
}

// keyState says what a key is worth.
type keyState int

const (
	final     keyState = iota // it is what there is
	renewable                 // fetching the set again may bring another
	unfetched                 // there is no set yet
)

// key is that of the token, or those of a token that names none; nil if there is none. With renew the set is fetched first, if it may.
func (s *keySet) key(ctx context.Context, token *jwt.Token, renew bool) (any, keyState) {
	age := setAge
	if renew {
		age = 0
	}
	keys := s.fetchIfDue(ctx, age)
	if keys == nil {
		return nil, unfetched
	}
	key, err := keys.KeyfuncCtx(ctx)(token)
	_, named := token.Header["kid"]
	if err != nil {
		return nil, renewable
	}
	if !named {
		return key, renewable
	}
	return key, final
}

// fetchIfDue returns the keys, which it fetches if they are of that age or older and it was not just tried. Those that somebody else
// fetches are waited for, but where others will do, that are only old.
func (s *keySet) fetchIfDue(ctx context.Context, age time.Duration) keyfunc.Keyfunc {
	s.mu.Lock()
	keys, young := s.keys, time.Since(s.fetched) < age
	s.mu.Unlock()
	switch {
	case keys != nil && young:
		return keys
	case keys == nil || age == 0:
		select {
		case s.fetching <- struct{}{}:
		case <-ctx.Done():
			return keys
		}
	default:
		select {
		case s.fetching <- struct{}{}:
		default:
			return keys
		}
	}
	defer func() { <-s.fetching }()
	s.mu.Lock()
	keys = s.keys
	if !s.tried.IsZero() && time.Since(s.tried) < setPause { // by another, perhaps, while this one waited
		s.mu.Unlock()
		return keys
	}
	s.tried = time.Now()
	s.mu.Unlock()

	// Whoever asked may go; others wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), setTimeout)
	defer cancel()
	fetched, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.keys, s.fetched = fetched, time.Now()
		if s.failing {
			s.logger.Info("the key set is fetched again")
		}
		s.failing = false
	case !s.failing: // once, as it is tried again and again
		s.failing = true
		s.logger.Warn("the key set cannot be fetched: check --jwks-url; it is tried again when a token comes", "error", err, "had", s.keys != nil)
	}
	return s.keys
}

func (s *keySet) fetch(ctx context.Context) (keyfunc.Keyfunc, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, errors.New("the URL is malformed")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := s.client.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the URL, which may hold a credential
		}
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d", answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxSet+1))
	if err != nil {
		return nil, err
	}
	return parseSet(text)
}

// parseSet takes the keys that verify signatures of setAlgorithms, and passes over the others.
func parseSet(text []byte) (keyfunc.Keyfunc, error) {
	var set jwkset.JWKSMarshal
	if len(text) > maxSet || json.Unmarshal(text, &set) != nil {
		return nil, errors.New("is no JSON web key set, or too large")
	}
	storage, kept := jwkset.NewMemoryStorage(), 0
	for _, text := range set.Keys {
		key, err := jwkset.NewJWKFromMarshal(text, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil || text.USE != "" && text.USE != jwkset.UseSig || !verifies(key.Key(), text.ALG.String()) {
			continue
		}
		if kept++; kept > maxSetKeys {
			return nil, fmt.Errorf("has more than %d keys", maxSetKeys)
		}
		if err := storage.KeyWrite(context.Background(), key); err != nil {
			return nil, err
		}
	}
	if kept == 0 {
		return nil, errors.New("has no public key for RS256, ES256 or EdDSA")
	}
	return keyfunc.New(keyfunc.Options{Storage: storage})
}

// verifies says whether the public key is one for an algorithm of setAlgorithms; alg is what it says of itself, if anything.
func verifies(key any, alg string) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && (alg == "" || alg == "RS256")
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() && (alg == "" || alg == "ES256")
	case ed25519.PublicKey:
		return alg == "" || alg == "EdDSA" || alg == "Ed25519"
	}
	return false
}
