package eventlog

import (
	"context"
	"errors"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go"
)

// Tail calls fn for every event after the sequence, in order and each once, until ctx is
// done or fn returns an error, which it returns; and caughtUp whenever it is at the log's
// end. A lost connection is taken up again where it broke. What is no valid event comes as
// one without a topic. fn holds up the tail, nothing else.
func (l *Log) Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error {
	// Who tails from here must know at once that the log is there.
	if _, err := l.State(ctx); err != nil {
		return err
	}
	again := l.nc.StatusChanged(nats.CONNECTED)
	defer l.nc.RemoveStatusListener(again)
	for {
		err := l.tail(ctx, &after, again, caughtUp, fn)
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		l.logger.Debug("the tail is taken up again", "after", after, "error", err)
		if err := pause(ctx, tailPause); err != nil {
			return err
		}
	}
}

// tailPause is how long a tail that has broken waits before it is taken up again.
const tailPause = 50 * time.Millisecond

// tail follows the log with one consumer; after is how far it has come. again tells of a
// connection that was lost and is back: what was asked before is not answered any more.
func (l *Log) tail(ctx context.Context, after *uint64, again <-chan nats.Status, caughtUp func(), fn func(event.Event) error) error {
	state, err := l.State(ctx)
	if err != nil {
		return err
	}
	r := &replay{log: l, live: again, begun: time.Now(), upto: *after, last: state.Last}
	if err := r.open(ctx, fromSeq(*after)); err != nil {
		return err
	}
	defer r.end()
	if r.pending == 0 {
		caughtUp()
	}
	for {
		e, _, err := r.next(ctx, pullEvents)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
		if *after = e.ID().Seq(); r.pending == 0 {
			caughtUp()
		}
	}
}
