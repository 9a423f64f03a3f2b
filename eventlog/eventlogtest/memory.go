// Package eventlogtest provides a log in memory for tests, and a test of the rules that every log
// follows, in memory or on disk.
package eventlogtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
)

// Epoch is the epoch of every [Memory].
const Epoch = 36

// Memory is a log in memory with the rules of [eventlog.Log]. It runs in fake time.
type Memory struct {
	// OnRead, if set, is called during each Read and ReadLast.
	OnRead func()

	mu     sync.Mutex
	err    error
	first  uint64
	events []event.Event
	keys   map[string]event.ID
	ends   map[event.Topic]memoryEnd
	ttls   bool                              // an event has a TTL
	lines  map[event.Topic]map[string]uint64 // by the source of the Origin
	grown  chan struct{}                     // closed and replaced at each append
}

// NewMemory returns an empty log.
func NewMemory() *Memory {
	return &Memory{first: 1, keys: map[string]event.ID{}, ends: map[event.Topic]memoryEnd{}, lines: map[event.Topic]map[string]uint64{}, grown: make(chan struct{})}
}

// Publish appends an event of the topic and returns its ID.
func (m *Memory) Publish(t testing.TB, topicName, data string) event.ID {
	t.Helper()
	return m.Append(t.Context(), eventlog.Entry{Event: NewEvent(t, topicName, topicName, data)}).ID
}

// Expire deletes the events below the sequence.
func (m *Memory) Expire(first uint64) {
	m.lock()
	defer m.mu.Unlock()
	m.events = m.events[first-m.first:]
	m.first = first
}

// Fail makes every later call except Tail return the error; nil ends that.
func (m *Memory) Fail(err error) {
	m.lock()
	defer m.mu.Unlock()
	m.err = err
}

// lock locks the mutex, and deletes the events whose TTL is over.
func (m *Memory) lock() {
	m.mu.Lock()
	if !m.ttls {
		return
	}
	for i, e := range m.events {
		if e.TTL().IsZero() || time.Since(e.Time()) < e.TTL().Duration() {
			continue
		}
		m.events[i] = event.Event{}.Stored(e.ID(), e.Time())
		if m.ends[e.Topic()].id == e.ID() {
			delete(m.ends, e.Topic())
		}
		if m.newest(e.Topic()) == 0 {
			delete(m.lines, e.Topic())
		}
	}
}

// Append is [eventlog.Log.Append].
func (m *Memory) Append(_ context.Context, entry eventlog.Entry) eventlog.Receipt {
	m.lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return eventlog.Receipt{Err: m.err}
	}
	key := entry.Event.Topic().String() + " " + entry.Key
	if id, known := m.keys[key]; known && entry.Key != "" {
		return eventlog.Receipt{ID: id, Repeat: true}
	}
	if _, ended := m.ends[entry.Event.Topic()]; ended {
		return eventlog.Receipt{Err: eventlog.ErrEnded}
	}
	if !m.follows(entry) {
		return eventlog.Receipt{Err: eventlog.ErrMoved}
	}
	id := m.store(entry.Event)
	m.note(entry)
	m.keys[key] = id
	return eventlog.Receipt{ID: id}
}

// store appends the event. The mutex is held.
func (m *Memory) store(e event.Event) event.ID {
	id := event.NewID(Epoch, m.first+uint64(len(m.events)))
	m.events = append(m.events, e.Stored(id, time.Now()))
	m.ttls = m.ttls || !e.TTL().IsZero()
	close(m.grown)
	m.grown = make(chan struct{})
	return id
}

// AppendAll is [eventlog.Log.AppendAll].
func (m *Memory) AppendAll(ctx context.Context, entries []eventlog.Entry) (receipts []eventlog.Receipt) {
	for _, entry := range entries {
		receipts = append(receipts, m.Append(ctx, entry))
	}
	return receipts
}

// Epoch is [eventlog.Log.Epoch].
func (m *Memory) Epoch() uint64 { return Epoch }

// State is [eventlog.Log.State].
func (m *Memory) State(context.Context) (eventlog.State, error) {
	m.lock()
	defer m.mu.Unlock()
	s := eventlog.State{First: m.first, Last: m.first + uint64(len(m.events)) - 1, Events: uint64(len(m.events))}
	topics := map[event.Topic]bool{}
	for _, e := range m.events {
		topics[e.Topic()] = true
		s.Bytes += uint64(len(e.Data()))
	}
	s.Topics = uint64(len(topics))
	return s, m.err
}

// Stats is [eventlog.Log.Stats] without counts.
func (m *Memory) Stats() eventlog.Stats { return eventlog.Stats{Connected: true} }

// Ready is [eventlog.Log.Ready].
func (m *Memory) Ready(ctx context.Context) error {
	_, err := m.State(ctx)
	return err
}

// Bounds is [eventlog.Log.Bounds].
func (m *Memory) Bounds(ctx context.Context) (first, last uint64, err error) {
	s, err := m.State(ctx)
	return s.First, s.Last, err
}

// ProvedBounds is [eventlog.Log.ProvedBounds] of a log with one copy.
func (m *Memory) ProvedBounds(ctx context.Context, _ time.Time) (first, last uint64, proved bool, err error) {
	s, err := m.State(ctx)
	return s.First, s.Last, err == nil, err
}

// Recent is [eventlog.Log.Recent].
func (m *Memory) Recent(ctx context.Context, size int64) (uint64, error) {
	s, err := m.State(ctx)
	if s.Events == 0 {
		return s.Last, err
	}
	return s.Last - min(uint64(size)/(s.Bytes/s.Events+1), s.Events), err
}

// Seek is [eventlog.Log.Seek].
func (m *Memory) Seek(ctx context.Context, since event.Since, patterns event.Patterns) (uint64, error) {
	s, err := m.State(ctx)
	if err != nil || since.All {
		return s.First - 1, err
	}
	if (since == event.Since{}) {
		return s.Last, nil
	}
	after, n := s.Last, 0
	for ; after >= s.First; after-- {
		e, _, _ := m.next(after - 1)
		if !since.Time.IsZero() && e.Time().Before(since.Time) {
			return after, nil
		}
		if since.Newest > 0 && patterns.Match(e.Topic()) {
			if n++; n == since.Newest {
				return after - 1, nil
			}
		}
	}
	return after, nil
}

// Tail is [eventlog.Log.Tail].
func (m *Memory) Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error {
	for {
		e, ok, grown := m.next(after)
		if !ok {
			caughtUp()
			select {
			case <-grown:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
		after = e.ID().Seq()
	}
}

// Read is [eventlog.Log.Read].
func (m *Memory) Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error) {
	return m.read(ctx, after, limit, fn, func(e event.Event) bool { return patterns.Match(e.Topic()) })
}

// ReadLast is [eventlog.Log.ReadLast].
func (m *Memory) ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error) {
	last := map[event.Topic]event.ID{}
	m.lock()
	for _, e := range m.events {
		last[e.Topic()] = e.ID()
	}
	m.mu.Unlock()
	return m.read(ctx, after, limit, fn, func(e event.Event) bool { return patterns.Match(e.Topic()) && last[e.Topic()] == e.ID() })
}

func (m *Memory) read(ctx context.Context, after uint64, limit int, fn func(event.Event) error, selected func(event.Event) bool) (uint64, error) {
	s, err := m.State(ctx)
	if err != nil || s.Last <= after {
		return after, err
	}
	if m.OnRead != nil {
		m.OnRead()
	}
	for limit > 0 {
		e, ok, _ := m.next(after)
		if !ok {
			return max(after, s.Last), nil
		}
		if selected(e) {
			if err := fn(e); err != nil {
				return after, err
			}
			limit--
		}
		after = e.ID().Seq()
	}
	return after, nil
}

// next returns the first event after the sequence, or a channel that is closed once there is one.
func (m *Memory) next(after uint64) (e event.Event, ok bool, grown chan struct{}) {
	m.lock()
	defer m.mu.Unlock()
	i := max(after+1, m.first) - m.first
	if i >= uint64(len(m.events)) {
		return event.Event{}, false, m.grown
	}
	return m.events[i], true, nil
}
