package hub_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
	"freshet/metrics/latency"
)

// If retention deletes events before the hub has read them, every subscriber gets a gap.
func TestRetentionFasterThanTheTailMakesAGap(t *testing.T) {
	log := &stalledLog{Memory: eventlogtest.NewMemory()}
	h := start(t, log, hub.Config{})
	r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, "a")})
	defer r.Close()
	quiet := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, "b")})
	defer quiet.Close()
	for i := range 10 {
		log.Publish(t, "a", strconv.Itoa(i+1))
	}
	log.Expire(8)
	log.release()
	got := r.readN(4)
	if got[0].Event.Type() != event.TypeGap || got[0].Event.ID().Seq() != 7 || got[1].Event.Data() != "8" || got[3].Event.Data() != "10" {
		t.Errorf("handed %v, %v", got[0].Event, got[1].Event)
	}
	if r.Delivered(got[:1], time.Now()); h.Stats().Latency != (latency.Snapshot{}) {
		t.Error("a gap was counted as a delivery with a latency")
	}
	if gap := drain(t, quiet.Subscriber); len(gap) != 1 || !strings.Contains(gap[0], "expired") || quiet.Cursor().Seq() != 10 {
		t.Errorf("a subscriber that was not woken got %v, cursor %v", gap, quiet.Cursor())
	}
}

// stalledLog is a log whose tail delivers nothing until it is released.
type stalledLog struct {
	*eventlogtest.Memory
	once sync.Once
	open chan struct{}
}

func (l *stalledLog) gate() chan struct{} {
	l.once.Do(func() { l.open = make(chan struct{}) })
	return l.open
}

func (l *stalledLog) release() { close(l.gate()) }

func (l *stalledLog) Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error {
	caughtUp()
	select {
	case <-l.gate():
		return l.Memory.Tail(ctx, after, caughtUp, fn)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// If retention deletes the events that a subscriber is about to read, the subscriber gets a gap.
func TestRetentionThatOvertakesAReplayIsTold(t *testing.T) {
	log := eventlogtest.NewMemory()
	for i := range 3000 {
		log.Publish(t, "a", strconv.Itoa(i+1))
	}
	h := start(t, log, hub.Config{WindowBytes: 10_000})
	log.OnRead = func() { log.Expire(500); log.OnRead = nil }
	r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-100"})
	defer r.Close()
	got := r.readN(2)
	if got[0].Event.Type() != event.TypeGap || got[0].Event.ID().Seq() != 499 || got[1].Event.ID().Seq() != 500 {
		t.Errorf("handed %v, then %v", got[0].Event, got[1].Event)
	}
}

// If retention deletes events in the middle of a read, the gap covers all events before the hole.
func TestRetentionThatOvertakesTheMidstOfAReplay(t *testing.T) {
	log := &expiringLog{Memory: eventlogtest.NewMemory(), at: 150, first: 500}
	for i := range 3000 {
		log.Publish(t, "a", strconv.Itoa(i+1))
	}
	h := start(t, log, hub.Config{WindowBytes: 10_000})
	r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-100"})
	defer r.Close()
	got := r.readN(2 + 3000 - 500)
	if got[0].Event.Type() != event.TypeGap {
		t.Errorf("first came %v", got[0].Event)
	}
	for i, e := range got {
		if seq := uint64(499 + i); e.Event.ID().Seq() != seq {
			t.Fatalf("handed %v as number %d, not %d", e.Event, i, seq)
		}
	}
}

// expiringLog deletes the events below first when the event at a sequence is read.
type expiringLog struct {
	*eventlogtest.Memory
	at, first uint64
}

func (l *expiringLog) Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error) {
	return l.Memory.Read(ctx, after, patterns, limit, func(e event.Event) error {
		if e.ID().Seq() == l.at {
			l.Expire(l.first)
		}
		return fn(e)
	})
}
