package hub

import "sync/atomic"

// window holds the log's newest entries in a ring indexed by sequence. One writer
// appends; any number of readers look up entries at the same time without a lock.
//
// The writer moves first forward before it empties a slot, so a reader that finds a slot
// empty or reused and first not yet past its sequence knows that the log has a hole there.
type window struct {
	slots []atomic.Pointer[Entry] // the entry of sequence s is in slot s modulo their number
	first atomic.Uint64           // the lowest sequence that the window covers
	head  atomic.Uint64           // the highest; first is head+1 while it covers none

	bytes, maxBytes int64 // the writer's
}

// newWindow returns a window of at most maxBytes that begins behind the cursor.
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

func (w *window) slot(seq uint64) *atomic.Pointer[Entry] {
	return &w.slots[seq%uint64(len(w.slots))]
}

// append adds an entry whose sequence is above head. It lets older ones go to make room.
func (w *window) append(e *Entry) {
	seq, size, n := e.seq(), e.size, uint64(len(w.slots))
	for first, head := w.first.Load(), w.head.Load(); first <= head && (first+n <= seq || w.bytes+size > w.maxBytes); first++ {
		w.first.Store(first + 1)
		if old := w.slot(first).Swap(nil); old != nil {
			w.bytes -= old.size
		}
	}
	if first := w.first.Load(); first+n <= seq {
		w.first.Store(seq) // a jump beyond the whole ring: what lies between is holes
	}
	w.bytes += size
	w.slot(seq).Store(e)
	w.head.Store(seq)
}

// restart lets all entries go: the window covers nothing below the sequence, which is above
// head and about to be appended.
func (w *window) restart(seq uint64) {
	for first, head := w.first.Load(), w.head.Load(); first <= head; first++ {
		w.first.Store(first + 1)
		w.slot(first).Store(nil)
	}
	w.bytes = 0
	w.first.Store(seq)
}

// at returns the entry of a sequence up to head, nil if the log has none there; covered
// is false if the sequence is behind the window.
func (w *window) at(seq uint64) (e *Entry, covered bool) {
	e = w.slot(seq).Load()
	if e != nil && e.seq() == seq {
		return e, true
	}
	return nil, seq >= w.first.Load()
}
