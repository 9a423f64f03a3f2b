package hub_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
)

// laggingLog is a log in memory as a server of a cluster sees it. The server has the events up to seen, and hears from a
// majority of the others, or not.
type laggingLog struct {
	*eventlogtest.Memory
	seen      atomic.Uint64
	majority  atomic.Bool
	away      atomic.Bool
	questions atomic.Int32
}

func (l *laggingLog) ProvedBounds(ctx context.Context, after time.Time) (first, last uint64, proved bool, err error) {
	l.questions.Add(1)
	if l.away.Load() {
		return 0, 0, false, eventlog.ErrUnavailable
	}
	first, last, _, err = l.Memory.ProvedBounds(ctx, after)
	return first, min(last, l.seen.Load()), !after.IsZero() && l.majority.Load(), err
}

// A subscriber whose ID is after what this node's server knows waits at its ID, and is sent back only if a majority
// proves that the log ends before.
func TestASubscriberAheadOfItsServer(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, l *laggingLog)
		want      string
		cursor    string
	}{
		"the server lags": {func(t *testing.T, l *laggingLog) {
			l.Publish(t, "a", "4")
			l.Publish(t, "a", "5")
			l.Publish(t, "a", "6")
			l.seen.Store(6)
		}, "6", "10-6"},
		"the leader stores later than others": {func(t *testing.T, l *laggingLog) {
			l.Publish(t, "a", "4")
			l.Publish(t, "a", "5")
			time.AfterFunc(3*time.Second, func() { l.seen.Store(5) }) // after the first proof
		}, "", "10-5"},
		"the server is cut off": {func(*testing.T, *laggingLog) {}, "", "10-5"},
		"the server is away":    {func(_ *testing.T, l *laggingLog) { l.away.Store(true); l.majority.Store(true) }, "", "10-5"},
		"the log has lost events": {func(t *testing.T, l *laggingLog) {
			l.majority.Store(true)
			l.Publish(t, "a", "new 4")
			l.seen.Store(4)
		}, `{"requested":"10-5","first":"10-1","resumed":"10-3","reason":"unknown"} new 4`, "10-4"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &laggingLog{Memory: eventlogtest.NewMemory()}
				for _, data := range []string{"1", "2", "3"} {
					l.Publish(t, "a", data)
				}
				l.seen.Store(3)
				l.majority.Store(name == "the leader stores later than others")
				h := start(t, l, hub.Config{})
				s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-5", Wake: func() {}})
				must(t, err)
				defer s.Close()
				if got := drain(t, s); len(got) > 0 || s.Cursor().String() != "10-5" {
					t.Errorf("at first: %q, cursor %v", got, s.Cursor())
				}
				c.meanwhile(t, l)
				time.Sleep(time.Minute) // of fake time
				if got := strings.Join(drain(t, s), " "); got != c.want || s.Cursor().String() != c.cursor {
					t.Errorf("after a minute: %q, cursor %v; want %q, %s", got, s.Cursor(), c.want, c.cursor)
				}
			})
		})
	}
}

// Nothing is asked when no subscriber is ahead.
func TestTheLogIsAskedOnlyForSubscribersThatAreAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &laggingLog{Memory: eventlogtest.NewMemory()}
		h := start(t, l, hub.Config{})
		s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-5", Wake: func() {}})
		must(t, err)
		time.Sleep(time.Minute) // of fake time
		s.Close()
		time.Sleep(time.Minute)
		before := l.questions.Load()
		time.Sleep(time.Hour)
		if asked := l.questions.Load() - before; before < 10 || asked != 0 {
			t.Errorf("%d questions while it waited, %d later", before, asked)
		}
	})
}

// A page of the history waits for the answer, so a client that polls gets its gap.
func TestAReplayAheadOfTheLogWaitsForTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &laggingLog{Memory: eventlogtest.NewMemory()}
		l.Publish(t, "a", "1")
		l.seen.Store(1)
		h := start(t, l, hub.Config{})
		for _, majority := range []bool{false, true} {
			l.majority.Store(majority)
			s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-5", Wake: func() {}})
			must(t, err)
			entries, err := s.Replay(t.Context())
			must(t, err)
			if sentBack := len(entries) == 1 && entries[0].Event.Type().String() == "gap"; sentBack != majority || len(entries) > 1 {
				t.Errorf("majority %t: %d entries", majority, len(entries))
			}
			s.Close()
		}
	})
}
