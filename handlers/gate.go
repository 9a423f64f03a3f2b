package handlers

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"freshet/limit"
)

// gate counts the open streams, refuses more than it may hold, in all or of one client
// address, and closes for good.
type gate struct {
	most      int
	addresses *limit.Concurrency[netip.Prefix]
	draining  chan struct{} // closed when the drain begins

	mu     sync.Mutex
	open   int
	opened uint64 // since the start
	closed bool
	span   time.Duration // over which the streams close; set before draining is closed
	ends   time.Time     // of the drain; zero before it
	empty  chan struct{} // closed when the last stream of a closed gate has left
}

func newGate(most, mostOfAddress int) gate {
	return gate{most: most, addresses: limit.NewConcurrency[netip.Prefix](mostOfAddress), draining: make(chan struct{}), empty: make(chan struct{})}
}

// enter admits a stream of the address, or returns errDraining, errBusy or errCrowded.
// Each that entered leaves.
func (g *gate) enter(address netip.Prefix) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return errDraining
	case g.most > 0 && g.open >= g.most:
		return errBusy
	case !g.addresses.Acquire(address):
		return errCrowded
	}
	g.open++
	g.opened++
	return nil
}

func (g *gate) leave(address netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addresses.Release(address)
	if g.open--; g.open == 0 && g.closed {
		close(g.empty)
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// Opened is how many streams have been opened since the start.
func (h *Handlers) Opened() uint64 {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	return h.gate.opened
}

// close closes the gate. Few streams close faster than span: at 200 a second.
func (g *gate) close(span time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.closed = true
	g.span = min(span, time.Duration(g.open)*5*time.Millisecond)
	g.ends = time.Now().Add(g.span)
	close(g.draining)
	if g.open == 0 {
		close(g.empty)
	}
}

// rest is how long the drain goes on; 0 if there is none.
func (g *gate) rest() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(0, time.Until(g.ends))
}

// Drain refuses new streams and ends the open ones, spread over at most span: each is
// told to come back by a reconnection time of its own and the event drain. It returns
// once the last has ended, or with ctx's error.
func (h *Handlers) Drain(ctx context.Context, span time.Duration) error {
	h.gate.close(span)
	if h.park != nil {
		h.park.Drain(h.gate.span)
	}
	select {
	case <-h.gate.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
