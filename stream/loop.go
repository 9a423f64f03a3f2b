package stream

import (
	"context"
	"sync"
	"time"
)

// Loop runs a stream on the goroutine of its HTTP handler.
type Loop struct {
	stream  *Stream
	out     *Response
	ready   chan struct{} // holds a token when the stream was woken
	timer   *time.Timer
	handOff func() bool
	handed  bool
	reason  Reason
}

// NewLoop returns a driver of the stream. Where handOff is not nil, the loop calls it when
// the stream has nothing to write: true ends the loop, and another driver has the stream.
func NewLoop(s *Stream, out *Response, handOff func() bool) *Loop {
	l := &Loop{stream: s, out: out, ready: make(chan struct{}, 1), timer: time.NewTimer(0), handOff: handOff}
	s.Drive(func() {
		select {
		case l.ready <- struct{}{}:
		default:
		}
	})
	return l
}

// Step waits until something is due and writes it. It returns false when the stream is over
// or was handed off.
func (l *Loop) Step(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return l.end(Gone)
	case <-l.timer.C:
	case <-l.ready:
	}
	for {
		r := l.step()
		switch {
		case r.Ended != Open:
			return l.end(r.Ended)
		case r.Behind:
			entries, err := l.stream.Replay(ctx)
			if err != nil && ctx.Err() != nil {
				return l.end(Gone)
			}
			l.stream.Replayed(entries, err)
		case l.handOff != nil && r.Wrote: // look once more, then hand off
		case l.handOff != nil && l.handOff():
			l.handed = true
			return l.end(Open)
		default:
			l.handOff = nil
			l.timer.Reset(max(0, r.Next-l.stream.registry.Now()))
			return true
		}
	}
}

func (l *Loop) step() Result {
	scratch := scratches.Get().(*Scratch) //nolint:forcetypeassert // it holds nothing else
	defer scratches.Put(scratch)
	r := l.stream.Step(l.stream.registry.Now(), l.out, scratch)
	if err := l.out.Flush(); r.Ended == Open {
		r.Ended = ReasonOf(err)
	}
	return r
}

// scratches are lent to the steps: thousands of idle streams need none.
var scratches = sync.Pool{New: func() any { return new(Scratch) }}

func (l *Loop) end(why Reason) bool {
	l.timer.Stop()
	l.reason = why
	return false
}

// HandedOff reports whether another driver has the stream.
func (l *Loop) HandedOff() bool { return l.handed }

// Reason is why the stream ended.
func (l *Loop) Reason() Reason { return l.reason }
