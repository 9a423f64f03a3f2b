package eventlog_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/nats-io/nats.go"
)

// Reading piece by piece, as the hub does, returns every event, whatever its size, even if the
// reader sometimes refuses one.
func TestReadingByPieces(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir(), SyncInterval: time.Minute})
	const total = 4000
	var entries []eventlog.Entry
	for i := range total {
		size := 10
		if i%500 == 499 {
			size = 400_000 // larger than one pull
		}
		entries = append(entries, eventlog.Entry{Event: eventlogtest.NewEvent(t, "t."+strconv.Itoa(i%3), "x", fmt.Sprintf("%d %s", i, strings.Repeat("x", size)))})
	}
	for _, r := range l.AppendAll(t.Context(), entries) {
		must(t, r.Err)
	}
	full := errors.New("full")
	for _, patterns := range [][]string{{">"}, {"t.1"}, {"t.0", "t.2"}, {"t.*", "*.1"}} {
		selected := eventlogtest.Patterns(t, patterns...)
		var want, got []string
		for _, entry := range entries {
			if selected.Match(entry.Event.Topic()) {
				want = append(want, entry.Event.Data())
			}
		}
		for after, piece := uint64(0), 0; after < total; piece++ {
			taken := 0
			upto, err := l.Read(t.Context(), after, selected, 700, func(e event.Event) error {
				if piece%2 == 1 && taken == 300 {
					return full
				}
				taken++
				got = append(got, e.Data())
				return nil
			})
			if err != nil && !errors.Is(err, full) {
				t.Fatal(err)
			}
			if upto < after || upto == after && taken > 0 {
				t.Fatalf("%v: %d events were read from %d to %d", patterns, taken, after, upto)
			}
			after = upto
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%v: %d events were read instead of %d, or others", patterns, len(got), len(want))
		}
	}
}

// Between two pieces JetStream may lose the consumer, and retention may delete the next events.
func TestWhatHappensBetweenTwoPieces(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	l := open(t, eventlog.Config{NATS: url, RetainBytes: 200_000})
	append100 := func() {
		for range 100 {
			appendOne(t, l, "a", strings.Repeat("x", 500), "")
		}
	}
	piece := func(after uint64) (first, upto uint64) {
		upto, err := l.Read(t.Context(), after, eventlogtest.Patterns(t, ">"), 10, func(e event.Event) error {
			if first == 0 {
				first = e.ID().Seq()
			}
			return nil
		})
		must(t, err)
		return first, upto
	}
	append100()
	if first, upto := piece(0); first != 1 || upto != 10 {
		t.Errorf("the first piece is from %d to %d", first, upto)
	}
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	js, err := nc.JetStream()
	must(t, err)
	for name := range js.ConsumerNames("freshet") {
		must(t, js.DeleteConsumer("freshet", name))
	}
	if first, upto := piece(10); first != 11 || upto != 20 {
		t.Errorf("without its consumer, the next piece is from %d to %d", first, upto)
	}
	for range 6 {
		append100()
	}
	state, err := l.State(t.Context())
	must(t, err)
	after, total := uint64(20), uint64(0)
	for after < state.Last {
		first, upto := piece(after)
		if first <= after || upto < first {
			t.Fatalf("after %d, a piece is from %d to %d", after, first, upto)
		}
		after, total = upto, total+1
	}
	if state.First <= 100 || total*10 < state.Last-state.First {
		t.Errorf("%d pieces were read of what is kept, %d to %d", total, state.First, state.Last)
	}
}
