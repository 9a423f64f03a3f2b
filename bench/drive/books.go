package drive

import (
	"fmt"
	"sync"

	"freshet/event"
)

// Books holds the events that were acknowledged. It is safe for concurrent use.
type Books struct {
	mu    sync.Mutex
	acked []uint64 // sequences, in the order of their answers
}

// Acknowledge notes that the server has answered for the event.
func (b *Books) Acknowledge(ids ...event.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		b.acked = append(b.acked, id.Seq())
	}
}

// Len is how many were acknowledged.
func (b *Books) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acked)
}

// Last is the highest sequence that was acknowledged.
func (b *Books) Last() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var last uint64
	for _, seq := range b.acked {
		last = max(last, seq)
	}
	return last
}

// Between is how many events after one sequence and up to another were acknowledged.
func (b *Books) Between(after, upto uint64) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, seq := range b.acked {
		if seq > after && seq <= upto {
			n++
		}
	}
	return n
}

// Account is what one reader has seen. It is safe for concurrent use.
type Account struct {
	mu    sync.Mutex
	seen  []uint64 // a bit for each sequence
	count int
	last  uint64
	gaps  []string
	err   error // the first event that came twice or out of order
}

// See notes a frame with data. Those without an ID of their own, such as counts, are of no account.
func (a *Account) See(f event.Frame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch f.Type {
	case "gap":
		a.gaps = append(a.gaps, f.Data)
		return
	case "drain", "stats":
		return
	}
	id, err := event.ParseID(f.ID)
	seq := id.Seq()
	if a.err == nil && (err != nil || seq <= a.last) {
		a.err = fmt.Errorf("event %q came after sequence %d", f.ID, a.last)
	}
	a.last = max(a.last, seq)
	for uint64(len(a.seen)) <= seq/64 {
		a.seen = append(a.seen, 0)
	}
	if a.seen[seq/64]&(1<<(seq%64)) == 0 {
		a.seen[seq/64] |= 1 << (seq % 64)
		a.count++
	}
}

// Len is how many events were seen.
func (a *Account) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}

// Last is the highest sequence that was seen.
func (a *Account) Last() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// Gaps are the data of the gap events that were seen.
func (a *Account) Gaps() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.gaps...)
}

// Err is an error if an event came twice or out of order.
func (a *Account) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Missing is how many events after the sequence were acknowledged and are not in the account.
func (b *Books) Missing(a *Account, after uint64) (missing int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, seq := range b.acked {
		if seq > after && (seq/64 >= uint64(len(a.seen)) || a.seen[seq/64]&(1<<(seq%64)) == 0) {
			missing++
		}
	}
	return missing
}
