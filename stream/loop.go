package stream

import (
	"context"
	"sync"
	"time"

	"freshet/hub"
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

	replayed   chan replay // has the result of the replay that runs
	stopReplay func()      // nil: none runs
}

// replay is the result of [Stream.Replay].
type replay struct {
	entries []*hub.Entry
	err     error
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
	case r := <-l.replayed:
		l.stopReplay()
		l.stopReplay = nil
		l.stream.Replayed(r.entries, r.err)
	}
	for {
		r := l.step()
		switch {
		case r.Ended != Open:
			return l.end(r.Ended)
		case r.Behind:
			l.replay(ctx)
			return l.wait(r)
		case l.stopReplay != nil:
			return l.wait(r)
		case l.handOff != nil && r.Wrote: // look once more, then hand off
		case l.handOff != nil && l.handOff():
			l.handed = true
			return l.end(Open)
		default:
			l.handOff = nil
			return l.wait(r)
		}
	}
}

func (l *Loop) wait(r Result) bool {
	l.timer.Reset(max(0, r.Next-l.stream.registry.Now()))
	return true
}

// replay reads the log on another goroutine, because it may wait long, and meanwhile the stream has heartbeats and may
// end.
func (l *Loop) replay(ctx context.Context) {
	if l.replayed == nil {
		l.replayed = make(chan replay, 1)
	}
	ctx, l.stopReplay = context.WithCancel(ctx)
	go func() {
		entries, err := l.stream.Replay(ctx)
		l.replayed <- replay{entries, err}
	}()
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
	if l.stopReplay != nil {
		l.stopReplay()
		<-l.replayed
	}
	l.timer.Stop()
	l.reason = why
	return false
}

// HandedOff reports whether another driver has the stream.
func (l *Loop) HandedOff() bool { return l.handed }

// Reason is why the stream ended.
func (l *Loop) Reason() Reason { return l.reason }
