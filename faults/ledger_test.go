package faults_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

	"freshet/client"
	"freshet/event"
)

// ledger holds the sequences of the events that the server has acknowledged. It is safe
// for concurrent use.
type ledger struct {
	mu    sync.Mutex
	acked []uint64 // in the order of their answers
}

func (l *ledger) add(ids ...event.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.acked = append(l.acked, id.Seq())
	}
}

// size is the number of acknowledged events.
func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// last is the highest acknowledged sequence.
func (l *ledger) last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acked) == 0 {
		return 0
	}
	return slices.Max(l.acked)
}

// between is the number of acknowledged events after one sequence, up to another.
func (l *ledger) between(after, upto uint64) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range l.acked {
		if seq > after && seq <= upto {
			n++
		}
	}
	return n
}

// missing is the number of acknowledged events that were not received.
func (l *ledger) missing(r *received) int { return l.missingUpto(r, math.MaxUint64) }

// missingUpto is missing without the events after the sequence.
func (l *ledger) missingUpto(r *received, upto uint64) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seq := range l.acked {
		if seq <= upto && !r.seen[seq] {
			n++
		}
	}
	return n
}

// received is what one reader has received. It is safe for concurrent use.
type received struct {
	mu   sync.Mutex
	seen map[uint64]bool
	last uint64
	gaps []string
	err  error // the first event that came twice or out of order
}

// add records an event.
func (r *received) add(e client.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Gap != nil {
		r.gaps = append(r.gaps, e.Data)
		return
	}
	id, err := event.ParseID(e.ID)
	if r.err == nil && (err != nil || id.Seq() <= r.last) {
		r.err = fmt.Errorf("event %q came after sequence %d", e.ID, r.last)
	}
	if r.seen == nil {
		r.seen = map[uint64]bool{}
	}
	r.seen[id.Seq()] = true
	r.last = max(r.last, id.Seq())
}

// fail records an error.
func (r *received) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = cmp.Or(r.err, err)
}

// upto returns the number of events and the highest sequence.
func (r *received) upto() (n int, last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen), r.last
}

func (r *received) size() int {
	n, _ := r.upto()
	return n
}

// fault is an error if an event came twice or out of order, or if there was a gap.
func (r *received) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return fmt.Errorf("%w; gaps: %q", r.err, r.gaps)
	case len(r.gaps) > 0:
		return fmt.Errorf("gaps: %q", r.gaps)
	}
	return nil
}
