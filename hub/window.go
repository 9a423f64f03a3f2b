package hub

import (
	"sync/atomic"

	"freshet/event"
)

// window holds the log's newest entries in a ring indexed by sequence. One writer appends; any number of readers look
// entries up at the same time without a lock.
//
// The writer moves first forward before it empties a slot. So if a reader finds a slot empty or reused, and first is
// not past the sequence, the log has a hole there.
type window struct {
	slots []atomic.Pointer[Entry] // the entry of sequence s is in slot s modulo their number
	first atomic.Uint64           // the lowest sequence that the window covers
	head  atomic.Uint64           // the highest; first is head+1 while it covers none

	bytes, maxBytes int64 // the writer's
}

// newWindow returns a window of at most maxBytes for the events after the sequence.
func newWindow(maxBytes int64, after uint64) *window {
	w := &window{maxBytes: maxBytes}
	n := 1024
	for int64(n)*entryOverhead*2 < maxBytes {
		n *= 2
	}
	w.slots = make([]atomic.Pointer[Entry], n)
	w.head.Store(after)
	w.first.Store(after + 1)
	return w
}

func (w *window) slot(seq uint64) *atomic.Pointer[Entry] { return &w.slots[seq%uint64(len(w.slots))] }

// append adds an entry, whose sequence is above head, and removes the oldest entries to make room.
func (w *window) append(e *Entry) {
	seq, n := e.seq(), uint64(len(w.slots))
	for w.first.Load() <= w.head.Load() && (w.first.Load()+n <= seq || w.bytes+e.size > w.maxBytes) {
		w.removeFirst()
	}
	if w.first.Load()+n <= seq {
		w.first.Store(seq) // a jump over the whole ring: all sequences between are holes
	}
	w.bytes += e.size
	w.slot(seq).Store(e)
	w.head.Store(seq)
}

// reset removes all entries, so that the window covers nothing below the sequence, which is above head and will be
// appended next.
func (w *window) reset(seq uint64) {
	for w.first.Load() <= w.head.Load() {
		w.removeFirst()
	}
	w.first.Store(seq)
}

func (w *window) removeFirst() {
	first := w.first.Load()
	w.first.Store(first + 1)
	if e := w.slot(first).Swap(nil); e != nil {
		w.bytes -= e.size
	}
}

// purge removes the topic's entries: their sequences are holes from now on.
func (w *window) purge(topic event.Topic) {
	for i := range w.slots {
		if e := w.slots[i].Load(); e != nil && e.Event.Topic() == topic {
			w.slots[i].Store(nil)
			w.bytes -= e.size
		}
	}
}

// at returns the entry of a sequence up to head, nil if the log has none there; covered is false if the sequence is
// behind the window.
func (w *window) at(seq uint64) (e *Entry, covered bool) {
	e = w.slot(seq).Load()
	if e != nil && e.seq() == seq {
		return e, true
	}
	return nil, seq >= w.first.Load()
}

// maxComparisons bounds the work of beforeNewest.
const maxComparisons = 1_000_000

// beforeNewest returns the sequence just before the n newest entries up to last that the patterns select; found is false if the window
// does not cover as many, or if the search takes too long.
func (w *window) beforeNewest(n int, patterns event.Patterns, last uint64) (before uint64, found bool) {
	seq := last
	for range maxComparisons / len(patterns) {
		e, covered := w.at(seq)
		if !covered {
			return 0, false
		}
		seq--
		if e != nil && patterns.Match(e.Event.Topic()) && !e.expired() {
			if n--; n == 0 {
				return seq, true
			}
		}
	}
	return 0, false
}
