package ticket_test

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/eventlog/eventlogtest"
	"freshet/ticket"
)

// signingKey is what Tickets derives from the shared key.
func signingKey(t *testing.T, shared []byte) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, shared, nil, "freshet ticket signature", 32)
	must(t, err)
	return key
}

func TestARevokedTicketIsRefusedOnEveryNode(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		a, b := start(t, store), start(t, store)
		alice := user(t, "alice", "news")
		token, id := a.issue(alice, "news")
		other, _ := a.issue(alice, "news")
		for _, n := range []*node{a, b} {
			n.open("1", token)
			n.open("2", token)
			n.open("other", other)
		}
		for range 2 {
			must(t, b.Revoke(t.Context(), alice, id))
		}
		for _, n := range []*node{a, b} {
			n.hasOpen("other")
			n.refuses(token)
			n.accepts(other)
		}
		// A restart forgets nothing.
		a.stop()
		b.stop()
		pass(time.Minute)
		c := start(t, store)
		c.refuses(token)
		c.accepts(other)
	})
}

func TestTicketsOfASubjectAreRevoked(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		a, b := start(t, store), start(t, store)
		alice, bob := user(t, "alice", "news"), user(t, "bob", "news")
		first, _ := a.issue(alice, "news")
		second, _ := b.issue(alice, "news")
		bobs, _ := a.issue(bob, "news")
		a.open("first", first)
		b.open("second", second)
		b.open("bob's", bobs)
		must(t, b.RevokeSubject(t.Context(), alice, alice.Subject()))
		// The clock has not moved since, and a ticket for the user who logs in again is valid at once.
		next, _ := b.issue(alice, "news")
		b.accepts(next)
		a.hasOpen()
		b.hasOpen("bob's")
		a.accepts(next)
		for _, n := range []*node{a, b, start(t, store)} {
			n.refuses(first)
			n.refuses(second)
			n.accepts(next)
			n.accepts(bobs)
		}
		must(t, a.RevokeSubject(t.Context(), operator(t), alice.Subject()))
		synctest.Wait()
		b.refuses(next)
		again, _ := b.issue(alice, "news")
		a.accepts(again)
	})
}

func TestWhoMayRevoke(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		alice, bob := user(t, "alice", "news"), user(t, "bob", "news")
		token, id := n.issue(alice, "news")
		empty := store.Text()
		for name, err := range map[string]error{
			"another's ticket":                n.Revoke(t.Context(), bob, id),
			"another's tickets":               n.RevokeSubject(t.Context(), bob, alice.Subject()),
			"an ID that was not issued":       n.Revoke(t.Context(), alice, strings.Repeat("A", len(id))),
			"without a token":                 n.Revoke(t.Context(), auth.Caller{}, id),
			"the operator's, without a token": n.RevokeSubject(t.Context(), auth.Caller{}, "operator"),
		} {
			if !errors.Is(err, auth.ErrForbidden) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, bad := range []string{"", "x", token, id + "A", id[1:], id + "=", "a.b", "*", strings.Repeat("A", 31) + "é"} {
			if err := n.Revoke(t.Context(), operator(t), bad); !errors.Is(err, ticket.ErrNoID) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		for _, bad := range []string{"", "a.b", ">", "a b", strings.Repeat("a", 65)} {
			invalid(t, "subject", func() error { return n.RevokeSubject(t.Context(), operator(t), bad) })
		}
		if got := store.Text(); got != empty {
			t.Errorf("refused revocations are stored: %s", got)
		}
		n.accepts(token)
		must(t, n.Revoke(t.Context(), operator(t), id))
		n.refuses(token)
	})
}

// A node accepts no ticket before it knows the revocations. One that loses its NATS later learns of them when NATS is back.
func TestARevocationThatIsNotLoadedYet(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		a, b := start(t, store), start(t, store)
		token, id := a.issue(operator(t), "news")
		b.open("before", token)
		store.Hide(true)
		must(t, a.Revoke(t.Context(), operator(t), id))
		b.accepts(token)
		b.hasOpen("before")

		c := start(t, store)
		began := time.Now()
		if _, err := c.Verify(t.Context(), token, ticket.Origin{Header: page}); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("while the revocations are not known: %v", err)
		}
		if waited := time.Since(began); waited == 0 || waited > 10*time.Second {
			t.Errorf("refused after %v", waited)
		}
		if _, _, err := c.Issue(t.Context(), operator(t), ticket.Request{Origin: page}); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("issued while the key is not known: %v", err)
		}
		refused := make(chan struct{})
		go func() {
			defer close(refused)
			c.refuses(token) // waits for what comes within five seconds
		}()
		pass(4 * time.Second)
		store.Hide(false)
		<-refused
		b.hasOpen()
		b.refuses(token)
	})
}

func TestRevocationsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		a, b := start(t, store), start(t, store)
		revoke := func() {
			token, issued, err := a.Issue(t.Context(), operator(t), ticket.Request{Origin: page, Lifetime: 24 * time.Hour})
			must(t, err)
			must(t, a.Revoke(t.Context(), operator(t), issued.ID))
			pass(24*time.Hour - time.Second)
			b.refuses(token)
		}
		for range 3 {
			revoke()
		}
		must(t, a.RevokeSubject(t.Context(), operator(t), "operator"))
		pass(25 * time.Hour)
		revoke()
		if a.Len() > 2 || b.Len() > 2 {
			t.Errorf("%d and %d revocations are in memory", a.Len(), b.Len())
		}
		pass(time.Hour)
		if text := store.Text(); strings.Count(text, "\n") != 1 {
			t.Errorf("the store still has %s", text)
		}
	})
}

func TestRevokingWithoutTheStore(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		token, id := n.issue(operator(t), "news")
		store.Fail(errBroken)
		if err := n.Revoke(t.Context(), operator(t), id); !errors.Is(err, errBroken) {
			t.Errorf("revoked: %v", err)
		}
		n.accepts(token)
		n.issue(operator(t), "news")
		if _, err := ticket.New(t.Context(), ticket.Config{Store: store}); !errors.Is(err, errBroken) {
			t.Errorf("started: %v", err)
		}
	})
}

// An operator who replaces the key invalidates all tickets, and ends their streams.
func TestAnotherKey(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		token, _ := n.issue(operator(t), "news")
		n.open("1", token)
		for _, bad := range []string{"", "short", strings.Repeat("x", 33)} {
			_, err := store.Put(t.Context(), "key", []byte(bad), time.Hour)
			must(t, err)
			synctest.Wait()
			n.accepts(token)
			n.hasOpen("1")
		}
		_, err := store.Put(t.Context(), "key", []byte(strings.Repeat("x", 32)), time.Hour)
		must(t, err)
		n.hasOpen()
		n.refuses(token)
		token, _ = n.issue(operator(t), "news")
		n.accepts(token)
	})
}

// replaced is a store that becomes another, empty one, as after an operator has deleted the bucket.
type replaced struct {
	*eventlogtest.Store
	other    *eventlogtest.Store
	switched chan struct{}
}

func (r *replaced) Watch(ctx context.Context, change func(key string, value []byte, revision uint64), loaded func()) error {
	first, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-r.switched:
			stop()
		case <-first.Done():
		}
	}()
	_ = r.Store.Watch(first, change, loaded)
	return r.other.Watch(ctx, change, loaded)
}

// The revisions of a new store start again, and revocations work all the same.
func TestAStoreThatIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		r := &replaced{store, eventlogtest.NewStore(), make(chan struct{})}
		n := start(t, r)
		alice := user(t, "alice", "news")
		for range 10 {
			must(t, n.RevokeSubject(t.Context(), alice, alice.Subject()))
		}
		old, _ := n.issue(alice, "news")
		close(r.switched)
		m := start(t, r.other)
		synctest.Wait()
		n.refuses(old)
		token, _ := n.issue(alice, "news")
		m.accepts(token)
		must(t, m.RevokeSubject(t.Context(), alice, alice.Subject()))
		synctest.Wait()
		n.refuses(token)
		m.refuses(token)
	})
}

func TestIssuingIsLimited(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		mallory, alice := user(t, "mallory", "news"), user(t, "alice", "news")
		issue := func(caller auth.Caller) (string, error) {
			_, issued, err := n.Issue(t.Context(), caller, ticket.Request{Origin: page})
			return issued.ID, err
		}
		var ids []string
		for {
			id, err := issue(mallory)
			if errors.Is(err, ticket.ErrTooMany) {
				break
			}
			must(t, err)
			ids = append(ids, id)
		}
		if len(ids) != 200 {
			t.Errorf("%d tickets at once", len(ids))
		}
		_, err := issue(alice)
		must(t, err)
		for range 300 {
			_, err := issue(operator(t))
			must(t, err)
		}
		pass(time.Second)
		for range 10 {
			id, err := issue(mallory)
			must(t, err)
			ids = append(ids, id)
		}
		// So are revocations, which fill the store. Many at once cost few searches of the streams.
		before := n.search
		for i, id := range ids {
			if err := n.Revoke(t.Context(), mallory, id); (err == nil) != (i < 200) || err != nil && !errors.Is(err, ticket.ErrTooMany) {
				t.Fatalf("revocation %d: %v", i, err)
			}
		}
		pass(time.Second)
		n.mu.Lock()
		defer n.mu.Unlock()
		if searches := n.search - before; searches < 1 || searches > 3 {
			t.Errorf("%d searches for 200 revocations", searches)
		}
	})
}

// Garbage in the store does no harm.
func TestAStoreThatOthersWriteTo(t *testing.T) {
	bubble(t, func(t *testing.T, store *eventlogtest.Store) {
		n := start(t, store)
		token, id := n.issue(operator(t), "news")
		for key, value := range map[string]string{
			"id." + id: "nonsense", "id.": "9999999999", "subject.": "9999999999", "other": "9999999999", "id.x": "", "subject.operator": strconv.Itoa(1),
		} {
			_, err := store.Put(t.Context(), key, []byte(value), time.Hour)
			must(t, err)
		}
		synctest.Wait()
		n.accepts(token)
	})
}

// FuzzVerify: only the ticket that was issued is accepted, and no error shows what was sent.
func FuzzVerify(f *testing.F) {
	store := eventlogtest.NewStore()
	tickets, err := ticket.New(f.Context(), ticket.Config{Store: store})
	must(f, err)
	done := make(chan error, 1)
	ctx := f.Context()
	go func() { done <- tickets.Run(ctx, func(func(auth.Caller) bool) {}) }()
	f.Cleanup(func() {
		if err := <-done; err != nil {
			f.Error(err)
		}
	})
	good, issued, err := tickets.Issue(ctx, operator(f), ticket.Request{Origin: page, Lifetime: 24 * time.Hour})
	must(f, err)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(strings.Replace(good, ".", "..", 1))
	for _, text := range []string{
		"", ".", "..", issued.ID, "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.bnVsbA.AAAA", "\xff.\x00.=",
		"eyJhbGciOiJIUzI1NiIsImNyaXQiOlsieCJdfQ.eyJhdWQiOiJmcmVzaGV0LXRpY2tldCIsImV4cCI6OTk5OTk5OTk5OX0.AAAA",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := tickets.Verify(t.Context(), text, ticket.Origin{Header: page})
		switch {
		case text == good && err != nil:
			t.Errorf("the ticket is refused: %v", err)
		case text != good && !errors.Is(err, auth.ErrUnauthenticated):
			t.Errorf("%q: %v", text, err)
		case err != nil && len(text) > 20 && strings.Contains(err.Error(), text):
			t.Errorf("the error shows %q", text)
		}
	})
}
