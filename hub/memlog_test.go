package hub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"freshet/event"
)

const epoch = 36

// memLog is a log in memory with the rules of package eventlog.
type memLog struct {
	mu     sync.Mutex
	first  uint64
	events []event.Event
	grown  chan struct{} // closed and replaced at each append
	reads  int
	onRead func() // called while a read is under way
}

func newMemLog() *memLog { return &memLog{first: 1, grown: make(chan struct{})} }

func (l *memLog) append(t testing.TB, topicName, data string) event.ID {
	t.Helper()
	topic, err := event.ParseTopic(topicName)
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.New(topic, event.TypeOf(topic), data)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := event.NewID(epoch, l.first+uint64(len(l.events)))
	l.events = append(l.events, e.Stored(id, time.Now()))
	close(l.grown)
	l.grown = make(chan struct{})
	return id
}

// expire lets the events below the sequence go.
func (l *memLog) expire(first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = l.events[first-l.first:]
	l.first = first
}

func (l *memLog) next(after uint64) (e event.Event, ok bool, grown chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := max(after+1, l.first) - l.first
	if i >= uint64(len(l.events)) {
		return event.Event{}, false, l.grown
	}
	return l.events[i], true, nil
}

func (l *memLog) Epoch() uint64 { return epoch }

func (l *memLog) Bounds(context.Context) (first, last uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.first + uint64(len(l.events)) - 1, nil
}

func (l *memLog) Recent(ctx context.Context, size int64) (uint64, error) {
	first, last, err := l.Bounds(ctx)
	return max(first-1, last-min(uint64(size)/200, last)), err
}

func (l *memLog) Seek(ctx context.Context, since event.Since, patterns event.Patterns) (uint64, error) {
	first, last, err := l.Bounds(ctx)
	if since.All {
		return first - 1, err
	}
	n := since.Newest
	for after := last; after >= first; after-- {
		if e, _, _ := l.next(after - 1); patterns.Match(e.Topic()) {
			if n--; n == 0 {
				return after - 1, err
			}
		}
	}
	return first - 1, err
}

func (l *memLog) Tail(ctx context.Context, after uint64, fn func(event.Event) error) error {
	for {
		e, ok, grown := l.next(after)
		if !ok {
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

func (l *memLog) Read(_ context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error) {
	if limit <= 0 {
		return after, errors.New("no limit")
	}
	l.mu.Lock()
	l.reads++
	onRead := l.onRead
	l.mu.Unlock()
	if onRead != nil {
		onRead()
	}
	for limit > 0 {
		e, ok, _ := l.next(after)
		if !ok {
			return after, nil
		}
		if patterns.Match(e.Topic()) {
			if err := fn(e); err != nil {
				return after, err
			}
			limit--
		}
		after = e.ID().Seq()
	}
	return after, nil
}

func (l *memLog) ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error) {
	last := map[event.Topic]uint64{}
	_, end, _ := l.Bounds(ctx)
	for seq := uint64(0); ; {
		e, ok, _ := l.next(seq)
		if !ok {
			break
		}
		seq = e.ID().Seq()
		last[e.Topic()] = seq
	}
	upto, err := l.Read(ctx, after, patterns, 1<<30, func(e event.Event) error {
		if last[e.Topic()] != e.ID().Seq() || limit <= 0 {
			return nil
		}
		limit--
		return fn(e)
	})
	return max(upto, end), err
}
