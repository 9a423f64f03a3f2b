package hub

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"unique"
)

// budget bounds the memory of events from their reading from the log until they are written, because a slow client may
// not take them for a long time. Networks take turns. Of one network, the subscribers that wait are served in order.
//
// A network may hold a third of what is free: a quarter of all if no other network holds anything. So some networks
// cannot take everything. An event that is larger than that waits until its network holds nothing else.
type budget struct {
	max int64

	mu      sync.Mutex
	free    int64
	shares  map[network]*share // of the networks that hold or wait for something
	waiting list.List          // the shares that wait for something
}

type network = unique.Handle[netip.Prefix] // small, because each subscriber has one

// share is what one network holds, and who of it waits.
type share struct {
	held    int64
	waiting list.List     // of waiters
	turn    *list.Element // in budget.waiting; nil: nobody waits
}

// waiter is a reservation that waits.
type waiter struct {
	*reservation
	size    int64
	granted chan struct{} // closed when the size is granted, or the reservation is closed
	place   *list.Element // in share.waiting
}

// reservation is the part of the budget that one subscriber holds.
type reservation struct {
	network network
	size    int64   // only acquire makes it larger
	waiter  *waiter // nil: it does not wait
	closed  bool
}

func newBudget(size int64) *budget {
	return &budget{max: size, free: size, shares: map[network]*share{}}
}

// acquire reserves the size in place of what was reserved. It waits until there is room for it, ctx is done, or the
// reservation is closed, which is no error. More than the whole budget counts as all of it.
func (b *budget) acquire(ctx context.Context, r *reservation, size int64) error {
	w := &waiter{reservation: r, size: min(size, b.max), granted: make(chan struct{})}
	b.mu.Lock()
	b.set(r, 0)
	if r.closed {
		b.mu.Unlock()
		return nil
	}
	b.enqueue(w)
	b.grant()
	b.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.waiter != nil {
			b.dequeue(w)
		}
		b.set(r, 0) // it may have been granted meanwhile
		b.grant()
		return ctx.Err()
	}
}

// shrink gives back what is reserved beyond the size.
func (b *budget) shrink(r *reservation, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if size < r.size {
		b.set(r, size)
		b.grant()
	}
}

// close gives everything back for good, and ends a wait.
func (b *budget) close(r *reservation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.closed = true
	if w := r.waiter; w != nil {
		b.dequeue(w)
		close(w.granted)
	}
	b.set(r, 0)
	b.grant()
}

// grant serves the waiters that there is room for, one of each network in turn. This and what follows needs the lock.
func (b *budget) grant() {
	for served := true; served; {
		served = false
		for turn := b.waiting.Front(); turn != nil; {
			s := turn.Value.(*share)               //nolint:forcetypeassert // it holds nothing else
			w := s.waiting.Front().Value.(*waiter) //nolint:forcetypeassert // it holds nothing else
			turn = turn.Next()
			if s.held+w.size > b.free/3 && (s.held > 0 || w.size > b.free) {
				continue
			}
			b.waiting.MoveToBack(s.turn)
			b.set(w.reservation, w.size)
			b.dequeue(w)
			close(w.granted)
			served = true
		}
	}
}

func (b *budget) enqueue(w *waiter) {
	s := b.share(w.network)
	w.waiter, w.place = w, s.waiting.PushBack(w)
	if s.turn == nil {
		s.turn = b.waiting.PushBack(s)
	}
}

func (b *budget) dequeue(w *waiter) {
	s := b.share(w.network)
	s.waiting.Remove(w.place)
	w.waiter = nil
	if s.waiting.Len() == 0 {
		b.waiting.Remove(s.turn)
		s.turn = nil
	}
	b.forgetIdle(w.network)
}

func (b *budget) set(r *reservation, size int64) {
	if size == r.size {
		return
	}
	b.share(r.network).held += size - r.size
	b.free -= size - r.size
	r.size = size
	b.forgetIdle(r.network)
}

func (b *budget) share(n network) *share {
	s := b.shares[n]
	if s == nil {
		s = &share{}
		b.shares[n] = s
	}
	return s
}

func (b *budget) forgetIdle(n network) {
	if s := b.shares[n]; s.held == 0 && s.turn == nil {
		delete(b.shares, n)
	}
}
