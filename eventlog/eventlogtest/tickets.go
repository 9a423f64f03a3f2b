package eventlogtest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/eventlog"
)

// Tickets is a store in memory with the rules of [eventlog.Tickets]. It runs in fake time.
type Tickets struct {
	mu      sync.Mutex
	fails   error
	last    uint64
	written int
	entries map[string]entry
	grown   chan struct{} // closed and replaced at each write
}

type entry struct {
	key      string
	value    []byte // nil: deleted
	revision uint64
	ends     time.Time
}

// NewTickets returns an empty store.
func NewTickets() *Tickets {
	return &Tickets{entries: map[string]entry{}, grown: make(chan struct{})}
}

// Fail makes every call but Watch return the error from here on; nil: no longer.
func (s *Tickets) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

// Written is how often something was written.
func (s *Tickets) Written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// Text is all that the store holds, with the keys.
func (s *Tickets) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for key, e := range s.entries {
		b.WriteString(key + " " + string(e.value) + "\n")
	}
	return b.String()
}

func (s *Tickets) live(key string) (entry, bool) {
	e, ok := s.entries[key]
	if ok && !time.Now().Before(e.ends) {
		delete(s.entries, key)
		return entry{}, false
	}
	return e, ok
}

// Get is [eventlog.Tickets.Get].
func (s *Tickets) Get(_ context.Context, key string) ([]byte, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.live(key)
	if s.fails != nil || !ok || e.value == nil {
		return nil, 0, s.fails
	}
	return e.value, e.revision, nil
}

// Put is [eventlog.Tickets.Put].
func (s *Tickets) Put(_ context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, _ := s.live(key)
	if s.fails != nil || e.revision != revision {
		return 0, s.fails
	}
	return s.write(entry{key: key, value: append([]byte{}, value...), ends: time.Now().Add(keep)}), nil
}

// Delete is [eventlog.Tickets.Delete].
func (s *Tickets) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.write(entry{key: key, ends: time.Now().Add(10 * time.Minute)})
	return nil
}

func (s *Tickets) write(e entry) uint64 {
	s.last++
	s.written++
	e.revision = s.last
	s.entries[e.key] = e
	close(s.grown)
	s.grown = make(chan struct{})
	return e.revision
}

// Last is [eventlog.Tickets.Last].
func (s *Tickets) Last(context.Context) (revision, keys uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, uint64(len(s.entries)), s.fails
}

// Keys is [eventlog.Tickets.Keys].
func (s *Tickets) Keys(_ context.Context, prefix string) (keys []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.entries {
		if _, ok := s.live(key); ok && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, s.fails
}

// Watch is [eventlog.Tickets.Watch].
func (s *Tickets) Watch(ctx context.Context, after uint64, fn func(key string, value []byte, revision uint64)) error {
	for {
		s.mu.Lock()
		var due []entry
		for key := range s.entries {
			if e, ok := s.live(key); ok && e.revision > after {
				due = append(due, e)
			}
		}
		grown := s.grown
		s.mu.Unlock()
		slices.SortFunc(due, func(a, b entry) int { return int(a.revision) - int(b.revision) })
		for _, e := range due {
			after = e.revision
			fn(e.key, e.value, e.revision)
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Store is what the rules are about: [eventlog.Tickets] and [Tickets].
type Store interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Put(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error)
	Delete(ctx context.Context, key string) error
	Last(ctx context.Context) (revision, keys uint64, err error)
	Keys(ctx context.Context, prefix string) ([]string, error)
	Watch(ctx context.Context, after uint64, fn func(key string, value []byte, revision uint64)) error
}

var _ Store = (*eventlog.Tickets)(nil)

// TestTickets tests that the empty store keeps the rules of one; other is the same store as
// another node has it.
func TestTickets(t *testing.T, s, other Store) {
	ctx := t.Context()
	get := func(s Store, key, want string, revision uint64) {
		t.Helper()
		value, got, err := s.Get(ctx, key)
		if string(value) != want || got != revision || err != nil {
			t.Errorf("%s is %q at %d, %v; want %q at %d", key, value, got, err, want, revision)
		}
	}
	put := func(s Store, key, value string, revision uint64) uint64 {
		t.Helper()
		got, err := s.Put(ctx, key, []byte(value), revision, time.Minute)
		must(t, err)
		return got
	}
	get(s, "ticket.a", "", 0)
	first := put(s, "ticket.a", "1", 0)
	get(other, "ticket.a", "1", first)

	// What follows is told, in order; what is written over meanwhile need not be.
	type change struct {
		key, value string
		deleted    bool
	}
	told := make(chan change, 100)
	watching, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- other.Watch(watching, first, func(key string, value []byte, _ uint64) { told <- change{key, string(value), value == nil} })
	}()
	tells := func(want change) {
		t.Helper()
		if got := <-told; got != want {
			t.Errorf("told %+v, want %+v", got, want)
		}
	}
	if got := put(other, "ticket.a", "from who was too late", 0); got != 0 {
		t.Errorf("a key that is there was made: %d", got)
	}
	second := put(other, "ticket.a", "2", first)
	tells(change{"ticket.a", "2", false})
	if got := put(s, "ticket.a", "from who was too late", first); got != 0 || second <= first {
		t.Errorf("a change over another: %d after %d", got, second)
	}
	get(s, "ticket.a", "2", second)
	put(s, "node.x", "", 0)
	tells(change{"node.x", "", false})
	must(t, s.Delete(ctx, "ticket.a"))
	tells(change{"ticket.a", "", true})
	must(t, s.Delete(ctx, "ticket.never"))
	tells(change{"ticket.never", "", true})
	get(other, "ticket.a", "", 0)
	if got := put(other, "ticket.a", "back", 0); got != 0 {
		t.Error("a deleted key was made again")
	}
	stop()
	if err := <-done; err != context.Canceled { //nolint:errorlint // it is this one
		t.Errorf("the watch ended with %v", err)
	}
	put(s, "node.y", "", 0)
	keys, err := s.Keys(ctx, "node.")
	must(t, err)
	if slices.Sort(keys); !slices.Equal(keys, []string{"node.x", "node.y"}) {
		t.Errorf("keys %q", keys)
	}
	if _, n, err := s.Last(ctx); n != 4 || err != nil { // with the deleted ones
		t.Errorf("%d keys, %v", n, err)
	}
}
