package hub_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
)

// losingLog deletes every other event before the tail reads it.
type losingLog struct {
	*eventlogtest.Memory
	event  event.Event
	events uint64
	last   atomic.Uint64
}

func (l *losingLog) Bounds(context.Context) (first, last uint64, err error) {
	last = l.last.Load()
	return last, last, nil
}

func (l *losingLog) Tail(ctx context.Context, _ uint64, caughtUp func(), fn func(event.Event) error) error {
	caughtUp()
	for seq := uint64(2); seq <= 2*l.events; seq += 2 {
		l.last.Store(seq)
		if err := fn(l.event.Stored(event.NewID(eventlogtest.Epoch, seq), time.Now())); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l *losingLog) Read(_ context.Context, after uint64, _ event.Patterns, _ int, _ func(event.Event) error) (uint64, error) {
	return max(after, l.last.Load()), nil
}

// Next never passes an event that the tail did not get, however the reads and the tail interleave.
func TestNextPassesNoLostEvent(t *testing.T) {
	log := &losingLog{Memory: eventlogtest.NewMemory(), event: eventlogtest.NewEvent(t, "a", "a", ""), events: 50_000}
	h := start(t, log, hub.Config{})
	var readers sync.WaitGroup
	for _, pattern := range []string{"a", "b"} { // the tail's events wake the one and not the other
		readers.Go(func() {
			s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, pattern), Wake: func() {}})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for s.Cursor().Seq() < 2*log.events {
				before := s.Cursor().Seq()
				_, err := s.Next(nil)
				if after := s.Cursor().Seq(); (after+1)/2 != (before+1)/2 { // an odd one is between
					t.Errorf("%s: Next moved the cursor from %d to %d", pattern, before, after)
					return
				}
				if errors.Is(err, hub.ErrBehind) {
					if _, err := s.Replay(t.Context()); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	readers.Wait()
}
