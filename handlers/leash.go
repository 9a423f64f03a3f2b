package handlers

import (
	"sync/atomic"
	"time"

	"freshet/auth"
	"freshet/hub"
	"freshet/park"
)

// leash ends a stream when its reader's token or ticket expires or is revoked. It belongs to one stream, and may be used from
// anywhere. For a reader whose right never ends it is nil.
type leash struct {
	sub   *hub.Subscriber
	over  atomic.Bool
	timer *time.Timer
}

func newLeash(sub *hub.Subscriber, caller auth.Caller) *leash {
	if caller.Expires().IsZero() {
		return nil
	}
	l := &leash{sub: sub}
	l.timer = time.AfterFunc(time.Until(caller.Expires()), l.end)
	return l
}

// end ends the stream.
func (l *leash) end() {
	l.over.Store(true)
	l.sub.End()
}

// reason is why the subscriber was ended: by this, or by an operator.
func (l *leash) reason() park.Reason {
	if l != nil && l.over.Load() {
		return park.Expired
	}
	return park.Ended
}

// free stops the timer once the stream has ended.
func (l *leash) free() {
	if l != nil {
		l.timer.Stop()
	}
}
