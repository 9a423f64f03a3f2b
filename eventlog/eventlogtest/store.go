package eventlogtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/eventlog"
)

// Store is a store in memory with the rules of [eventlog.Store]. It runs in fake time.
type Store struct {
	mu       sync.Mutex
	fails    error
	hidden   bool
	revision uint64
	entries  map[string]storeEntry
	written  chan struct{} // closed and replaced by each write
}

type storeEntry struct {
	key      string
	value    []byte
	revision uint64
	expires  time.Time // zero: never
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{entries: map[string]storeEntry{}, written: make(chan struct{})}
}

// Fail makes every call but Watch return the error; nil ends that.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

// Hide keeps Watch from reporting anything, as if NATS were away. Showing again makes it start over.
func (s *Store) Hide(hidden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = hidden
	s.wake()
}

// Value returns the value of the key; nil if there is none.
func (s *Store) Value(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	return s.entries[key].value
}

// Text is all that the store holds, a quoted value a line.
func (s *Store) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s.entries)) {
		fmt.Fprintf(&b, "%s %q\n", key, s.entries[key].value)
	}
	return b.String()
}

func (s *Store) expire() {
	maps.DeleteFunc(s.entries, func(_ string, e storeEntry) bool { return !e.expires.IsZero() && !time.Now().Before(e.expires) })
}

func (s *Store) wake() {
	close(s.written)
	s.written = make(chan struct{})
}

// Create is [eventlog.Store.Create].
func (s *Store) Create(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if _, exists := s.entries[key]; exists || s.fails != nil {
		return s.fails
	}
	s.put(storeEntry{key: key, value: bytes.Clone(value)})
	return nil
}

// Put is [eventlog.Store.Put].
func (s *Store) Put(_ context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return 0, s.fails
	}
	return s.put(storeEntry{key: key, value: bytes.Clone(value), expires: time.Now().Add(ttl)}), nil
}

func (s *Store) put(e storeEntry) uint64 {
	s.revision++
	e.revision = s.revision
	s.entries[e.key] = e
	s.wake()
	return e.revision
}

// Watch is [eventlog.Store.Watch].
func (s *Store) Watch(ctx context.Context, change func(key string, value []byte, revision uint64), loaded func()) error {
	after, load := uint64(0), true
	for {
		s.mu.Lock()
		s.expire()
		due := slices.SortedFunc(maps.Values(s.entries), func(a, b storeEntry) int { return int(a.revision) - int(b.revision) })
		hidden, written := s.hidden, s.written
		s.mu.Unlock()
		switch {
		case hidden:
			after, load = 0, true
		default:
			for _, e := range due {
				if e.revision > after {
					after = e.revision
					change(e.key, e.value, e.revision)
				}
			}
			if load {
				load = false
				loaded()
			}
		}
		select {
		case <-written:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// AnyStore is what the rules apply to: [eventlog.Store] and [Store].
type AnyStore interface {
	Create(ctx context.Context, key string, value []byte) error
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error)
	Watch(ctx context.Context, change func(key string, value []byte, revision uint64), loaded func()) error
}

var _ AnyStore = (*eventlog.Store)(nil)

// TestStore tests that the empty store keeps the rules of one; other is the same store on another node.
func TestStore(t *testing.T, s, other AnyStore) {
	ctx := t.Context()
	must(t, s.Create(ctx, "key", []byte("first")))
	must(t, other.Create(ctx, "key", []byte("too late")))
	put := func(s AnyStore, key, value string) uint64 {
		t.Helper()
		revision, err := s.Put(ctx, key, []byte(value), time.Hour)
		must(t, err)
		return revision
	}
	put(s, "id.a", "1")
	second := put(other, "id.a", "2")

	type change struct {
		key, value string
		revision   uint64
	}
	changes := make(chan change, 100)
	watching, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- other.Watch(watching,
			func(key string, value []byte, revision uint64) { changes <- change{key, string(value), revision} },
			func() { changes <- change{key: "loaded"} })
	}()
	reports := func(want change) {
		t.Helper()
		got := <-changes
		if want.key == "key" {
			got.revision = 0
		}
		if got != want {
			t.Errorf("reported %+v, want %+v", got, want)
		}
	}
	reports(change{"key", "first", 0})
	reports(change{"id.a", "2", second})
	reports(change{key: "loaded"})
	third, fourth := put(s, "subject.jwt-x_1", "3"), put(s, "id.a", "4")
	if fourth <= third || third <= second {
		t.Errorf("revisions %d, %d, %d", second, third, fourth)
	}
	reports(change{"subject.jwt-x_1", "3", third})
	reports(change{"id.a", "4", fourth})
	stop()
	if err := <-done; err != context.Canceled { //nolint:errorlint // it is this one
		t.Errorf("the watch ended with %v", err)
	}
	if n := len(changes); n > 0 {
		t.Errorf("%d more reports", n)
	}
}
