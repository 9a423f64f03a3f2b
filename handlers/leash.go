package handlers

import (
	"sync"
	"time"

	"freshet/auth"
	"freshet/hub"
	"freshet/park"
)

// leash ends a stream, wherever it is, when its reader's token expires or the ticket is revoked
// that it was opened with. It belongs to one stream, and may be told from anywhere. That of a
// reader who may read for ever is nil.
type leash struct {
	sub *hub.Subscriber
	use *auth.Use // nil: no ticket

	mu    sync.Mutex
	freed bool
	over  bool
	timer *time.Timer
}

// newLeash returns the leash of a stream that may last until then, or as the ticket's use says.
func newLeash(sub *hub.Subscriber, use *auth.Use, until time.Time) *leash {
	if use == nil && until.IsZero() {
		return nil
	}
	l := &leash{sub: sub, use: use}
	if use != nil {
		use.Attach(l)
	} else {
		l.Extend(until)
	}
	return l
}

// Extend lets the stream go on until then; zero: for ever.
func (l *leash) Extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if !l.freed && !until.IsZero() {
		l.timer = time.AfterFunc(time.Until(until), l.End)
	}
}

// End ends the stream.
func (l *leash) End() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.sub.End()
}

// reason is why the subscriber was ended: by this, or by an operator.
func (l *leash) reason() park.Reason {
	if l == nil {
		return park.Ended
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return park.Expired
	}
	return park.Ended
}

// free is told when the stream has ended, whatever for.
func (l *leash) free() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.freed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.use.Close()
}
