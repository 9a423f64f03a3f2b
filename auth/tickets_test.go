package auth_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog/eventlogtest"
)

const page = "https://app.example"

// node is a node's tickets, in fake time.
type node struct {
	*auth.Tickets
	t     *testing.T
	store *connection
	stop  func()
}

// connection is a node's to the store, which may break.
type connection struct {
	auth.TicketStore
	broken atomic.Bool
}

var errBroken = errors.New("broken")

func (c *connection) Put(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error) {
	if c.broken.Load() {
		return 0, errBroken
	}
	return c.TicketStore.Put(ctx, key, value, revision, keep)
}

func startNode(t *testing.T, store auth.TicketStore) *node {
	t.Helper()
	c := &connection{TicketStore: store}
	tickets, err := auth.NewTickets(auth.TicketsConfig{Store: c})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tickets.Run(ctx) }()
	var stopped atomic.Bool
	stop := func() {
		if cancel(); !stopped.Swap(true) {
			must(t, <-done)
		}
	}
	t.Cleanup(stop)
	return &node{tickets, t, c, stop}
}

// crash ends the node without a word.
func (n *node) crash() {
	n.store.broken.Store(true)
	n.stop()
}

func (n *node) issue(expires time.Time, topics ...string) (secret, id string) {
	n.t.Helper()
	secret, ticket, err := n.Issue(n.t.Context(), auth.Ticket{
		Subject: "alice", Topics: eventlogtest.Patterns(n.t, topics...), Origin: page, Expires: expires}, true)
	must(n.t, err)
	return secret, ticket.ID
}

func (n *node) redeem(secret string) *auth.Use {
	n.t.Helper()
	u, err := n.Redeem(n.t.Context(), secret, auth.Origin{Header: page})
	if err != nil {
		n.t.Fatal(err)
	}
	return u
}

func (n *node) refuses(secret string) {
	n.t.Helper()
	u, err := n.Redeem(n.t.Context(), secret, auth.Origin{Header: page})
	if !errors.Is(err, auth.ErrUnauthenticated) {
		n.t.Errorf("the ticket is redeemed: %v, %v", u, err)
	}
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func bubble(t *testing.T, f func(t *testing.T, store *eventlogtest.Tickets)) {
	synctest.Test(t, func(t *testing.T) { f(t, eventlogtest.NewTickets()) })
}

func TestATicketLivesAsLongAsItIsUsedAndAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		a, b := startNode(t, store), startNode(t, store)
		unused, _ := a.issue(time.Time{}, "news")
		secret, _ := a.issue(time.Time{}, "news", "orders.*")
		pass(59 * time.Second)
		u := b.redeem(secret)
		if got := u.Ticket(); got.Subject != "alice" || len(got.Topics) != 2 || got.May(got.Topics[1]) != nil || got.May(event.All) == nil {
			t.Errorf("redeemed %+v", got)
		}
		pass(2 * time.Second)
		a.refuses(unused)

		written := store.Written()
		pass(30 * time.Hour)                                // longer than the store keeps anything
		if n := store.Written() - written; n > 2*30*360+4 { // two nodes' leases, and the ticket twice
			t.Errorf("%d writes while the ticket is in use", n)
		}
		a.redeem(secret).Close() // a second stream, on the other node
		pass(5 * time.Minute)
		u.Close()
		pass(59 * time.Second)
		u = a.redeem(secret)
		u.Close()
		u.Close()
		b.redeem(secret).Close() // at once, before anything is written
		pass(59 * time.Second)
		b.redeem(secret).Close()
		pass(60 * time.Second)
		a.refuses(secret)
		b.refuses(secret)
	})
}

func TestATicketEndsWithItsToken(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		n := startNode(t, store)
		secret, _ := n.issue(time.Now().Add(time.Hour), "news")
		u := n.redeem(secret)
		pass(time.Hour - time.Second)
		n.redeem(secret).Close()
		pass(time.Second)
		n.refuses(secret)
		u.Close()
		pass(time.Hour)
		if text := store.Text(); strings.Contains(text, "ticket.") {
			t.Errorf("the store still has %s", text)
		}
	})
}

func TestTicketsOfANodeThatCrashes(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		a, b := startNode(t, store), startNode(t, store)
		secret, _ := a.issue(time.Time{}, "news")
		other, _ := a.issue(time.Time{}, "news")
		a.redeem(secret)
		a.redeem(other)
		pass(10 * time.Minute)
		a.crash()
		pass(50 * time.Second)
		u := b.redeem(secret)
		pass(15 * time.Second)
		b.refuses(other)
		u.Close()
		b.redeem(secret).Close()
	})
}

// All were away for an hour: whoever was reading then comes back.
func TestTicketsOverARestart(t *testing.T) {
	for name, end := range map[string]func(*node){"clean": func(n *node) { n.stop() }, "crash": (*node).crash} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
				a := startNode(t, store)
				dead, _ := a.issue(time.Time{}, "news")
				a.redeem(dead).Close()
				pass(5 * time.Minute)
				short, _ := a.issue(time.Now().Add(30*time.Minute), "news")
				secret, _ := a.issue(time.Time{}, "news")
				late, _ := a.issue(time.Time{}, "news")
				for _, s := range []string{secret, late, short} {
					a.redeem(s)
				}
				pass(5 * time.Minute)
				end(a)
				pass(time.Hour)

				b := startNode(t, store)
				u := b.redeem(secret)
				b.refuses(dead)
				b.refuses(short)
				pass(55 * time.Second)
				end(b) // again, before late is back
				pass(time.Hour)
				c := startNode(t, store)
				pass(50 * time.Second)
				c.redeem(secret)
				c.redeem(late)
				pass(time.Minute)
				c.refuses(dead)
				u.Close()
			})
		})
	}
}

// A node that comes while others are there makes nobody live longer.
func TestANodeThatJoins(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		a := startNode(t, store)
		secret, _ := a.issue(time.Time{}, "news")
		a.redeem(secret).Close()
		pass(2 * time.Minute)
		a.refuses(secret)
		startNode(t, store).refuses(secret)
	})
}

// told is a stream that notes what it is told.
type told struct {
	until time.Time
	ended int
}

func (s *told) Extend(until time.Time) { s.until = until }
func (s *told) End()                   { s.ended++ }

func TestStreamsAreToldOnEveryNode(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		a, b := startNode(t, store), startNode(t, store)
		expires := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		secret, id := a.issue(expires, "news")
		var onA, onB, lasts told
		ua, ub := a.redeem(secret), b.redeem(secret)
		ua.Attach(&onA)
		ub.Attach(&onB)
		other, _ := a.issue(expires, "news")
		a.redeem(other).Attach(&lasts)
		if !onA.until.Equal(expires) {
			t.Errorf("until %v, want %v", onA.until, expires)
		}
		pass(time.Minute)
		longer := expires.Add(time.Hour)
		if got, ok, err := b.Extend(t.Context(), id, longer); !ok || err != nil || !got.Expires.Equal(longer) {
			t.Errorf("extended to %v, %v, %v", got.Expires, ok, err)
		}
		if got, ok, err := b.Extend(t.Context(), id, expires); !ok || err != nil || !got.Expires.Equal(longer) {
			t.Errorf("shortened to %v, %v, %v", got.Expires, ok, err)
		}
		synctest.Wait()
		if !onA.until.Equal(longer) || !onB.until.Equal(longer) || !lasts.until.Equal(expires) {
			t.Errorf("until %v, %v, %v", onA.until, onB.until, lasts.until)
		}
		pass(90 * time.Minute)
		a.redeem(secret).Close()

		must(t, b.Revoke(t.Context(), id))
		must(t, b.Revoke(t.Context(), id))
		must(t, b.Revoke(t.Context(), "of no ticket"))
		synctest.Wait()
		if onA.ended == 0 || onB.ended == 0 || lasts.ended != 0 {
			t.Errorf("ended %d, %d, %d", onA.ended, onB.ended, lasts.ended)
		}
		var late told
		ua.Attach(&late)
		if late.ended != 1 {
			t.Error("a stream that comes after the revocation goes on")
		}
		a.refuses(secret)
		ua.Close()
		ub.Close()
		pass(time.Minute)
		a.refuses(secret)
		if _, ok, err := a.Extend(t.Context(), id, longer.Add(time.Hour)); ok || err != nil {
			t.Errorf("a revoked ticket is extended: %v", err)
		}
	})
}

func TestWhoRedeems(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		n := startNode(t, store)
		secret, id := n.issue(time.Time{}, "news")
		if strings.Contains(store.Text(), secret) || strings.Contains(secret, id) {
			t.Errorf("the store has the ticket: %s", store.Text())
		}
		for _, bad := range []string{"", id, secret[1:], secret + "A", strings.Repeat("A", len(secret)), strings.ToUpper(secret)} {
			_, err := n.Redeem(t.Context(), bad, auth.Origin{Header: page})
			if !errors.Is(err, auth.ErrUnauthenticated) || bad != "" && strings.Contains(err.Error(), bad) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		for _, c := range []struct {
			from auth.Origin
			ok   bool
		}{
			{auth.Origin{Header: page}, true},
			{auth.Origin{Header: page, Site: "cross-site", Host: "live.example"}, true},
			{auth.Origin{Header: "https://evil.example", Site: "cross-site", Host: "app.example"}, false},
			{auth.Origin{Header: "http://app.example", Host: "app.example"}, false},
			{auth.Origin{Header: "null", Site: "cross-site"}, false},
			{auth.Origin{Site: "same-origin", Host: "behind.a.proxy:8080"}, true},
			{auth.Origin{Host: "app.example"}, true}, // an older browser
			{auth.Origin{Host: "live.example"}, false},
			{auth.Origin{Site: "none", Host: "app.example"}, false}, // pasted into the address bar
			{auth.Origin{Site: "same-site", Host: "app.example"}, false},
		} {
			u, err := n.Redeem(t.Context(), secret, c.from)
			if c.ok != (err == nil) || err != nil && !errors.Is(err, auth.ErrForbidden) {
				t.Errorf("%+v: %v", c.from, err)
			}
			if err == nil {
				u.Close()
			}
		}
	})
}

func TestTicketsAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		n := startNode(t, store)
		issue := func(subject string, limited bool) error {
			_, _, err := n.Issue(t.Context(), auth.Ticket{Subject: subject, Origin: page, Topics: event.Patterns{event.All}}, limited)
			return err
		}
		var err error
		made := 0
		for ; err == nil && made < 10_000; made++ {
			err = issue("mallory", true)
		}
		if !errors.Is(err, auth.ErrTooManyTickets) {
			t.Errorf("after %d tickets: %v", made, err)
		}
		must(t, issue("alice", true))
		for range made {
			must(t, issue("", false))
		}
		pass(10 * time.Second)
		must(t, issue("mallory", true))

		many := auth.Ticket{Origin: page}
		for range 100 {
			many.Topics = append(many.Topics, eventlogtest.Patterns(t, strings.Repeat("x", 150))...)
		}
		var invalid *event.InvalidError
		if _, _, err := n.Issue(t.Context(), many, false); !errors.As(err, &invalid) {
			t.Errorf("a ticket of 15 kB: %v", err)
		}
	})
}

// A store that is away keeps nobody from reconnecting who was there.
func TestTicketsWithoutTheirStore(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Tickets) {
		n := startNode(t, store)
		secret, _ := n.issue(time.Time{}, "news")
		u := n.redeem(secret)
		pass(time.Minute)
		store.Fail(errBroken)
		u.Close()
		pass(40 * time.Second)
		n.redeem(secret).Close()
		if _, err := n.Redeem(t.Context(), strings.Repeat("A", len(secret)), auth.Origin{Header: page}); !errors.Is(err, errBroken) {
			t.Errorf("an unknown ticket: %v", err)
		}
		pass(time.Minute)
		n.refuses(secret)
		store.Fail(nil)
		pass(time.Minute)
		n.refuses(secret)
	})
}

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example": page, "HTTPS://App.Example:443/": page, "http://127.0.0.1:3000": "http://127.0.0.1:3000",
		"http://app.example:80": "http://app.example", "http://[::1]:80": "http://[::1]", "capacitor://localhost": "capacitor://localhost",
		"": "", "null": "", "*": "", "app.example": "", "https://app.example/page": "", "https://u@app.example": "", "https://app.example?x": "",
		"https://a b": "", "file:///x": "", "https://äpp.example": "",
	} {
		got, err := auth.ParseOrigin(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
