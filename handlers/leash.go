package handlers

import (
	"sync"
	"time"

	"freshet/auth"
	"freshet/park"
)

// leash ends a stream, parked or not, when its reader's token expires or the ticket is revoked
// that it was opened with. It belongs to one stream, and may be told from anywhere.
type leash struct {
	use    *auth.Use     // nil: no ticket
	over   chan struct{} // closed when the stream is to end
	parked park.Leash

	mu    sync.Mutex
	ended bool
	timer *time.Timer
}

// newLeash returns the leash of a stream that its caller may read until the token expires;
// nil if that is for ever.
func newLeash(use *auth.Use, until time.Time) *leash {
	if use == nil && until.IsZero() {
		return nil
	}
	l := &leash{use: use, over: make(chan struct{})}
	if use != nil {
		use.Attach(l)
	} else {
		l.Extend(until)
	}
	return l
}

// done is closed when the stream is to end.
func (l *leash) done() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.over
}

// ofPark is what ends the stream while it is parked.
func (l *leash) ofPark() *park.Leash {
	if l == nil {
		return nil
	}
	return &l.parked
}

// Extend lets the stream go on until then; zero: for ever.
func (l *leash) Extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if !l.ended && !until.IsZero() {
		l.timer = time.AfterFunc(time.Until(until), l.End)
	}
}

// End ends the stream.
func (l *leash) End() {
	if l.stop() {
		close(l.over)
	}
	l.parked.End()
}

// stop says whether the stream had not been ended.
func (l *leash) stop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := !l.ended
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
	return was
}

// free is told when the stream has ended, whatever for.
func (l *leash) free() {
	if l != nil {
		l.stop()
		l.use.Close()
	}
}
