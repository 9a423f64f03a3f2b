package hub_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
)

// No subscriber gets an event from the window after its TTL, and there is no gap: nobody needs the event any more.
func TestTheWindowHasNothingAfterItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := eventlogtest.NewMemory()
		publish := func(data string, seconds int) {
			ttl, err := event.NewTTL(time.Duration(seconds) * time.Second)
			must(t, err)
			must(t, log.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", data).WithTTL(ttl)}).Err)
		}
		publish("before the hub", 20)
		<-time.After(15 * time.Second)
		h := start(t, log, hub.Config{})
		live := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, "a")})
		defer live.Close()
		slow := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, "a")})
		defer slow.Close()
		publish("short", 10)
		log.Publish(t, "a", "kept")
		publish("long", 60)
		synctest.Wait()
		expect := func(want string) {
			t.Helper()
			for name, r := range map[string]hub.Request{"all": {Since: event.Since{All: true}}, "resumed": {LastEventID: "10-0"}} {
				r.Patterns = eventlogtest.Patterns(t, ">")
				reader := newReader(t, h, r)
				if got := strings.Join(drain(t, reader.Subscriber), ", "); got != want || reader.Cursor().Seq() != 4 {
					t.Errorf("%s: got %s up to %v, want %s", name, got, reader.Cursor(), want)
				}
				reader.Close()
			}
		}
		if got := strings.Join(drain(t, live.Subscriber), ", "); got != "short, kept, long" {
			t.Errorf("a subscriber got %s", got)
		}
		expect("before the hub, short, kept, long")
		<-time.After(6 * time.Second)
		expect("short, kept, long")
		<-time.After(5 * time.Second)
		expect("kept, long")
		if got := strings.Join(drain(t, slow.Subscriber), ", "); got != "kept, long" || slow.Cursor().Seq() != 4 {
			t.Errorf("a slow subscriber got %s up to %v", got, slow.Cursor())
		}
		log.Fail(eventlog.ErrUnavailable) // since=-2 is then answered from the window
		<-time.After(50 * time.Second)
		newest := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, "a"), Since: event.Since{Newest: 1}})
		defer newest.Close()
		if got := strings.Join(drain(t, newest.Subscriber), ", "); got != "kept" {
			t.Errorf("the newest event is %s", got)
		}
	})
}

// If this machine's clock is ahead of that of the log, subscribers get a new event all the same.
func TestAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slowClock{eventlogtest.NewMemory()}
		h := start(t, log, hub.Config{})
		r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, "a")})
		defer r.Close()
		ttl, err := event.NewTTL(time.Second)
		must(t, err)
		must(t, log.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", "new").WithTTL(ttl)}).Err)
		synctest.Wait()
		if got := drain(t, r.Subscriber); len(got) != 1 || got[0] != "new" {
			t.Errorf("got %q", got)
		}
	})
}

// slowClock is a log whose clock is a minute behind.
type slowClock struct{ *eventlogtest.Memory }

func (l slowClock) Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error {
	return l.Memory.Tail(ctx, after, caughtUp, func(e event.Event) error { return fn(e.Stored(e.ID(), e.Time().Add(-time.Minute))) })
}
