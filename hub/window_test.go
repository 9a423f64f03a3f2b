package hub

import (
	"sync/atomic"
	"testing"

	"freshet/event"
)

// A reader of the oldest entry gets it, or learns that it is behind. It never takes an entry that is being removed for a
// hole in the log. (Tested inside the package, because no exported function reaches this moment.)
func TestAnEntryThatIsRemovedIsNoHole(t *testing.T) {
	w := newWindow(2000, 0) // a handful of entries
	var done atomic.Bool
	go func() {
		defer done.Store(true)
		for seq := uint64(1); seq <= 300_000; seq++ {
			w.append(&Entry{Event: event.Event{}.Stored(event.NewID(1, seq), event.Event{}.Time())})
		}
	}()
	for !done.Load() {
		first := w.first.Load()
		if first > w.head.Load() {
			continue
		}
		if e, covered := w.at(first); e == nil && covered {
			t.Fatalf("a hole at %d", first)
		}
	}
}
