package hub

import (
	"sync/atomic"
	"testing"

	"freshet/event"
)

// At the window's old end an entry is either there or behind: a reader never takes one that
// is just being let go for a hole. (Within the package: no door leads to this moment.)
func TestAnEntryThatIsLetGoIsNoHole(t *testing.T) {
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
