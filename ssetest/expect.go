package ssetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"freshet/event"
)

// maxShown is how much of an event's data a failure shows.
const maxShown = 200

// Expectation is what must arrive next on a stream. [Expectation.Within] checks it.
type Expectation struct {
	t       testing.TB
	stream  *Stream
	steps   []step
	last    bool // the last step is NoMore or End
	checked bool
}

// step is one thing that must happen.
type step struct {
	want  string
	quiet bool // for the whole time, nothing
	end   bool
	event func(event.Frame) bool // whether it is the event
}

// Expect begins an expectation of the stream: add what must arrive, in its order, and end with [Expectation.Within]. The test
// fails if Within is forgotten. Frames without data are no events: heartbeats are skipped.
func Expect(t testing.TB, s *Stream) *Expectation {
	t.Helper()
	e := &Expectation{t: t, stream: s}
	_, file, line, _ := runtime.Caller(1)
	t.Cleanup(func() {
		if !e.checked && !t.Failed() {
			t.Errorf("%s:%d: Expect without Within checks nothing; end it with Within", file, line)
		}
	})
	return e
}

// Event expects the next event to have this type and data. The type of an event without one is message.
func (e *Expectation) Event(typ, data string) *Expectation {
	e.t.Helper()
	return e.add(step{want: "event " + show(typ, data), event: func(f event.Frame) bool { return f.Type == typ && f.Data == data }})
}

// Gap expects the next event to be a gap, as Freshet sends it when events are missing.
func (e *Expectation) Gap() *Expectation {
	e.t.Helper()
	return e.add(step{want: "a gap", event: func(f event.Frame) bool {
		var gap event.Gap
		return f.Type == "gap" && json.Unmarshal([]byte(f.Data), &gap) == nil && gap.Reason != ""
	}})
}

// NoMore expects no event for the whole time of Within, which begins after the last expected event, and that the stream
// stays open.
//
// In a synctest bubble this is a proof for any time: the clock moves only when all goroutines wait. For a running server it is as
// good as the time is long. To be certain, publish one more event and expect that one instead.
func (e *Expectation) NoMore() *Expectation {
	e.t.Helper()
	e.add(step{want: "no more events", quiet: true})
	e.last = true
	return e
}

// End expects the stream to end in order, without further events.
func (e *Expectation) End() *Expectation {
	e.t.Helper()
	e.add(step{want: "the end of the stream", end: true})
	e.last = true
	return e
}

func (e *Expectation) add(s step) *Expectation {
	e.t.Helper()
	if e.last {
		e.checked = true
		e.t.Fatalf("Expect: nothing can follow NoMore and End")
	}
	e.steps = append(e.steps, s)
	return e
}

// Within checks the expectation. All events, and the end, must arrive in this time. It returns the events, for tests that look at their
// IDs. It stops the test if something else arrives, or the response is no event stream.
func (e *Expectation) Within(d time.Duration) []event.Frame {
	e.t.Helper()
	e.checked = true
	switch kind, _, _ := mime.ParseMediaType(e.stream.header.Get("Content-Type")); {
	case d <= 0:
		e.t.Fatalf("Expect: Within(%v) proves nothing; use a time above 0", d)
	case len(e.steps) == 0:
		e.t.Fatalf("Expect: nothing is expected; use Event, Gap, NoMore or End")
	case e.stream.status != http.StatusOK || kind != eventStream:
		e.t.Fatalf("want %s, but the response is no event stream: its status is %d, its Content-Type %q", e.steps[0].want, e.stream.status, e.stream.header.Get("Content-Type"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var events []event.Frame
	for _, s := range e.steps {
		if s.quiet { // its time begins now
			var end context.CancelFunc
			ctx, end = context.WithTimeout(context.Background(), d)
			defer end()
		}
		before := e.before()
		f, err := e.nextEvent(ctx)
		late := errors.Is(err, context.DeadlineExceeded)
		switch {
		case s.quiet && late || s.end && errors.Is(err, io.EOF):
		case late:
			e.t.Fatalf("want %s, but nothing arrived within %v; %s", s.want, d, before)
		case errors.Is(err, io.EOF):
			e.t.Fatalf("want %s, but the stream ended; %s", s.want, before)
		case err != nil:
			e.t.Fatalf("want %s, but the stream broke: %v; %s", s.want, err, before)
		case s.event == nil || !s.event(f):
			e.t.Fatalf("want %s, but got event %s; %s", s.want, showFrame(f), before)
		default:
			events = append(events, f)
		}
	}
	return events
}

func (e *Expectation) nextEvent(ctx context.Context) (event.Frame, error) {
	for {
		if f, err := e.stream.next(ctx); err != nil || f.HasData {
			return f, err
		}
	}
}

// before says which events were read before.
func (e *Expectation) before() string {
	if len(e.stream.recent) == 0 {
		return "no event was read before"
	}
	var shown []string
	for _, f := range e.stream.recent {
		shown = append(shown, showFrame(f))
	}
	return "read before: " + strings.Join(shown, ", ")
}

func showFrame(f event.Frame) string {
	if f.HasID {
		return fmt.Sprintf("%s (id %s)", show(f.Type, f.Data), f.ID)
	}
	return show(f.Type, f.Data)
}

func show(typ, data string) string {
	if len(data) > maxShown {
		return fmt.Sprintf("%s %q… (%d bytes)", typ, data[:maxShown], len(data))
	}
	return fmt.Sprintf("%s %q", typ, data)
}
