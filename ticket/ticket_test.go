package ticket_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/ticket"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

const (
	page          = "https://app.example"
	jwtSecret     = "thirty-two-bytes-of-a-JWT-secret"
	operatorToken = "the-token-of-the-operator"
)

var errBroken = errors.New("broken")

// bubble runs a test in fake time.
func bubble(t *testing.T, f func(t *testing.T, store *eventlogtest.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, eventlogtest.NewStore()) })
}

// node is a node's tickets and its open streams.
type node struct {
	*ticket.Tickets
	t    *testing.T
	stop func()

	mu      sync.Mutex
	streams map[string]auth.Caller
	search  int // how often streams to end were searched
}

func start(t *testing.T, store ticket.Store) *node {
	t.Helper()
	tickets, err := ticket.New(t.Context(), ticket.Config{Store: store})
	must(t, err)
	n := &node{Tickets: tickets, t: t, streams: map[string]auth.Caller{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tickets.Run(ctx, n.end) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func (n *node) end(match func(auth.Caller) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.search++
	maps.DeleteFunc(n.streams, func(_ string, caller auth.Caller) bool { return match(caller) })
}

// open opens a stream with the ticket.
func (n *node) open(name, token string) {
	n.t.Helper()
	caller, err := n.Verify(n.t.Context(), token, ticket.Origin{Header: page})
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.streams[name] = caller
}

func (n *node) hasOpen(want ...string) {
	n.t.Helper()
	pass(50 * time.Millisecond)
	n.mu.Lock()
	defer n.mu.Unlock()
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(n.streams))); diff != "" {
		n.t.Errorf("open streams, - wanted, + open:\n%s", diff)
	}
}

func (n *node) accepts(token string) {
	n.t.Helper()
	if _, err := n.Verify(n.t.Context(), token, ticket.Origin{Header: page}); err != nil {
		n.t.Errorf("the ticket is refused: %v", err)
	}
}

func (n *node) refuses(token string) {
	n.t.Helper()
	_, err := n.Verify(n.t.Context(), token, ticket.Origin{Header: page})
	if !errors.Is(err, auth.ErrUnauthenticated) || !strings.Contains(err.Error(), "the ticket is not valid here") {
		n.t.Errorf("%.40q: %v", token, err)
	}
}

func (n *node) issue(caller auth.Caller, topics ...string) (token, id string) {
	n.t.Helper()
	token, issued, err := n.Issue(n.t.Context(), caller, ticket.Request{Topics: eventlogtest.Patterns(n.t, topics...), Origin: page})
	if err != nil {
		n.t.Fatal(err)
	}
	return token, issued.ID
}

func callers(t testing.TB) *auth.Keys {
	t.Helper()
	keys, err := auth.New(auth.Config{PublishToken: operatorToken, JWTSecret: jwtSecret})
	must(t, err)
	return keys
}

// user returns a caller with a token for an hour.
func user(t testing.TB, name string, topics ...string) auth.Caller {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": name, "exp": time.Now().Add(time.Hour).Unix(), "freshet": map[string]any{"subscribe": topics, "publish": topics},
	}).SignedString([]byte(jwtSecret))
	must(t, err)
	caller, err := callers(t).Authenticate(t.Context(), token)
	must(t, err)
	return caller
}

func operator(t testing.TB) auth.Caller {
	t.Helper()
	caller, err := callers(t).Authenticate(t.Context(), operatorToken)
	must(t, err)
	return caller
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestATicketAllowsWhatItSays(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		a, b := start(t, store), start(t, store)
		alice := user(t, "alice", "news", "orders.>")
		token, issued, err := a.Issue(t.Context(), alice, ticket.Request{Topics: eventlogtest.Patterns(t, "orders.*"), Origin: page, Lifetime: 10 * time.Minute})
		must(t, err)
		written := store.Text()
		caller, err := b.Verify(t.Context(), token, ticket.Origin{Header: page})
		must(t, err)
		want := time.Now().Add(10 * time.Minute)
		if caller.Subject() != alice.Subject() || caller.MayOperate() == nil || !caller.Expires().Equal(want) || !issued.Expires.Equal(want) || caller.Ticket().ID != issued.ID {
			t.Errorf("the caller is %q until %v with %+v, the ticket %+v", caller.Subject(), caller.Expires(), caller.Ticket(), issued)
		}
		for topic, ok := range map[string]bool{"orders.new": true, "orders.*": true, "news": false, "orders.a.b": false, ">": false} {
			if err := caller.MayRead(eventlogtest.Patterns(t, topic)[0]); (err == nil) != ok {
				t.Errorf("reading %s: %v", topic, err)
			}
		}
		if err := caller.MayPublish("orders.new"); !errors.Is(err, auth.ErrForbidden) {
			t.Errorf("publishing: %v", err)
		}
		pass(10*time.Minute - time.Second)
		b.accepts(token)
		pass(time.Second)
		a.refuses(token)
		b.refuses(token)
		if got := store.Text(); got != written || strings.Count(got, "\n") != 1 {
			t.Errorf("issuing and verifying write to the store: %q", got)
		}
	})
}

func TestATicketNeverOutlivesItsToken(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		alice := user(t, "alice", "news")
		for lifetime, want := range map[time.Duration]time.Duration{
			0: time.Hour, time.Second: time.Second, 30 * time.Minute: 30 * time.Minute, 24 * time.Hour: time.Hour,
		} {
			_, issued, err := n.Issue(t.Context(), alice, ticket.Request{Origin: page, Lifetime: lifetime})
			if got := time.Until(issued.Expires); err != nil || got != want {
				t.Errorf("%v: expires after %v, %v; want %v", lifetime, got, err, want)
			}
		}
		_, issued, err := n.Issue(t.Context(), operator(t), ticket.Request{Origin: page, Lifetime: 24 * time.Hour})
		if got := time.Until(issued.Expires); err != nil || got != 24*time.Hour {
			t.Errorf("from a token that never expires: %v, %v", got, err)
		}
		for _, lifetime := range []time.Duration{-1, time.Second - 1, 24*time.Hour + 1} {
			invalid(t, "lifetime", func() error {
				_, _, err := n.Issue(t.Context(), alice, ticket.Request{Origin: page, Lifetime: lifetime})
				return err
			})
		}
	})
}

func invalid(t *testing.T, field string, f func() error) {
	t.Helper()
	var bad *event.InvalidError
	if err := f(); !errors.As(err, &bad) || bad.Field != field {
		t.Errorf("got %v, want an invalid %s", err, field)
	}
}

func TestATicketHasNoMoreRightsThanItsToken(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		alice := user(t, "alice", "news", "orders.*")
		issue := func(caller auth.Caller, topics event.Patterns) (ticket.Ticket, error) {
			_, issued, err := n.Issue(t.Context(), caller, ticket.Request{Topics: topics, Origin: page})
			return issued, err
		}
		if got, err := issue(alice, nil); err != nil || len(got.Topics) != 2 {
			t.Errorf("for all that the token reads: %+v, %v", got, err)
		}
		for _, topic := range []string{"secret", ">", "orders.>"} {
			if _, err := issue(alice, eventlogtest.Patterns(t, "news", topic)); !errors.Is(err, auth.ErrForbidden) {
				t.Errorf("for %s: %v", topic, err)
			}
		}
		for _, topics := range []event.Patterns{nil, {}} {
			invalid(t, "topics", func() error { _, err := issue(user(t, "nobody"), topics); return err })
		}
		// It travels in a URL.
		invalid(t, "topics", func() error {
			var many event.Patterns
			for range 40 {
				many = append(many, eventlogtest.Patterns(t, strings.Repeat("x", 150))...)
			}
			_, err := issue(operator(t), many)
			return err
		})
	})
}

func TestHostileTickets(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		alice := user(t, "alice", "news")
		good, id := n.issue(alice, "news")
		n.accepts(good)
		elsewhere, _ := start(t, eventlogtest.NewStore()).issue(alice, "news")
		parts := strings.Split(good, ".")
		encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
		flipped := []byte(parts[2])
		flipped[3] ^= 1
		shared := store.Value("key")
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		must(t, err)
		claims := jwt.MapClaims{}
		_, _, err = jwt.NewParser().ParseUnverified(good, claims)
		must(t, err)
		sign := func(method jwt.SigningMethod, key any) string {
			text, err := jwt.NewWithClaims(method, claims).SignedString(key)
			must(t, err)
			return text
		}
		for name, bad := range map[string]string{
			"empty": "", "dots": "..", "the ID": id, "two parts": parts[0] + "." + parts[1], "no signature": parts[0] + "." + parts[1] + ".",
			"four parts": good + ".x", "cut off": good[:len(good)-1], "longer": good + "A", "upper case": strings.ToUpper(good), "padded": good + "=",
			"another signature": parts[0] + "." + parts[1] + "." + string(flipped), "other claims": parts[0] + "." + encode(`{"topics":[">"]}`) + "." + parts[2],
			"no algorithm": encode(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".", "null": encode("null") + "." + encode("null") + "." + parts[2],
			"of another server": elsewhere, "huge": strings.Repeat("A", 1<<20) + "." + parts[1] + "." + parts[2],
			"signed by the shared key itself": sign(jwt.SigningMethodHS256, shared), "HS512": sign(jwt.SigningMethodHS512, shared),
			"RS256": sign(jwt.SigningMethodRS256, rsaKey), "signed by the JWT secret": sign(jwt.SigningMethodHS256, []byte(jwtSecret)),
			"unsigned": sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		} {
			t.Log(name)
			n.refuses(bad)
			if _, err := n.Verify(t.Context(), bad, ticket.Origin{Header: page}); len(bad) > 10 && strings.Contains(err.Error(), bad) {
				t.Errorf("%s: the error shows the ticket", name)
			}
		}
		// A ticket is no bearer token, even if the secret for those were the tickets' key.
		for _, secret := range []string{jwtSecret, string(shared)} {
			keys, err := auth.New(auth.Config{JWTSecret: secret})
			must(t, err)
			if _, err := keys.Authenticate(t.Context(), good); !auth.Guessed(err) {
				t.Errorf("as a bearer token: %v", err)
			}
		}
		if strings.Contains(store.Text(), id) || strings.Contains(store.Text(), parts[2]) {
			t.Errorf("the store has the ticket: %s", store.Text())
		}
	})
}

// What the ticket's own key signs is a ticket only with its audience and an expiry.
func TestOnlyTicketsAreTickets(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		good, _ := n.issue(operator(t), "news")
		for name, change := range map[string]func(jwt.MapClaims){
			"nothing changed": func(jwt.MapClaims) {}, "another audience": func(c jwt.MapClaims) { c["aud"] = "freshet" },
			"no audience": func(c jwt.MapClaims) { delete(c, "aud") }, "no expiry": func(c jwt.MapClaims) { delete(c, "exp") },
			"a malformed topic": func(c jwt.MapClaims) { c["topics"] = []string{"a b"} },
		} {
			claims := jwt.MapClaims{}
			_, _, err := jwt.NewParser().ParseUnverified(good, claims)
			must(t, err)
			change(claims)
			text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(signingKey(t, store.Value("key")))
			must(t, err)
			if _, err := n.Verify(t.Context(), text, ticket.Origin{Header: page}); (err == nil) != (name == "nothing changed") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestOriginsOfTickets(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		token, _ := n.issue(operator(t), "news")
		for _, c := range []struct {
			from ticket.Origin
			ok   bool
		}{
			{ticket.Origin{Header: page}, true},
			{ticket.Origin{Header: page, Site: "cross-site", Host: "live.example"}, true},
			{ticket.Origin{Header: "https://evil.example", Site: "cross-site", Host: "app.example"}, false},
			{ticket.Origin{Header: "http://app.example", Host: "app.example"}, false},
			{ticket.Origin{Header: "null", Site: "cross-site"}, false},
			{ticket.Origin{Site: "same-origin", Host: "behind.a.proxy:8080"}, true},
			{ticket.Origin{Host: "app.example"}, true}, // an older browser
			{ticket.Origin{Host: "live.example"}, false},
			{ticket.Origin{Site: "none", Host: "app.example"}, false}, // pasted into the address bar
			{ticket.Origin{Site: "same-site", Host: "app.example"}, false},
		} {
			_, err := n.Verify(t.Context(), token, c.from)
			if c.ok != (err == nil) || err != nil && !errors.Is(err, auth.ErrForbidden) {
				t.Errorf("%+v: %v", c.from, err)
			}
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
