package handlers

import (
	"net/http"
	"sync"
	"time"
)

// guard is the write deadline of a stream of HTTP/2. net/http's own ends such a stream when
// it passes even if nothing is to be written, as that of a connection does not; this one is
// on only from a write to its flush.
type guard struct {
	*http.ResponseController
	timer *time.Timer

	mu     sync.Mutex
	closed bool // the answer must not be touched any more
	fired  bool
}

// newGuard takes off the server's deadline. Its caller closes it before the handler returns.
func newGuard(response *http.ResponseController) *guard {
	g := &guard{ResponseController: response}
	_ = response.SetWriteDeadline(time.Time{}) // HTTP/2 has it
	g.timer = time.AfterFunc(stall, g.fire)
	g.timer.Stop()
	return g
}

// SetWriteDeadline turns it on.
func (g *guard) SetWriteDeadline(deadline time.Time) error {
	g.timer.Reset(time.Until(deadline))
	return nil
}

// off turns it off: all that was written is on its way.
func (g *guard) off() { g.timer.Stop() }

// fire resets the stream, which ends the write that waits.
func (g *guard) fire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.fired = true
		_ = g.ResponseController.SetWriteDeadline(time.Unix(1, 0)) // at once
	}
}

// stalled says that it ended the stream.
func (g *guard) stalled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fired
}

func (g *guard) close() {
	g.timer.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
