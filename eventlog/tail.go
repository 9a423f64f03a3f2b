package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go"
)

// Tail calls fn for every event after the sequence, in order and once each, until ctx is
// done or fn returns an error, which Tail returns.
//
//   - It calls caughtUp whenever it has reached the log's end.
//   - After a lost connection it continues where it stopped.
//   - A message that is not a valid event arrives as an event without a topic, and is counted in [Stats].
//   - A slow fn blocks this tail, and nothing else.
func (l *Log) Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error {
	reconnected := l.nc.StatusChanged(nats.CONNECTED)
	defer l.nc.RemoveStatusListener(reconnected)
	for {
		err := l.tailOnce(ctx, &after, reconnected, caughtUp, fn)
		if l.nc.IsClosed() {
			return fmt.Errorf("%w: the connection to NATS was closed: %w", ErrUnavailable, l.nc.LastError())
		}
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		l.logger.Debug("the tail restarts", "after", after, "error", err)
		if err := pause(ctx, tailPause); err != nil {
			return err
		}
	}
}

// skip counts a message that is not a valid event. The log warns once a minute, with the number since the last warning.
func (l *Log) skip(e event.Event, invalid error) {
	l.counters.skipped.Add(1)
	l.logger.Debug("an invalid event is skipped", "event", e, "error", invalid)
	if n := l.skipLog.Allow(); n > 0 {
		l.logger.Warn("NATS clients published invalid events; readers skip them", "count", n, "last", e, "error", invalid)
	}
}

// tailPause is how long a broken tail waits before it restarts.
const tailPause = 50 * time.Millisecond

// tailOnce follows the log with one consumer until that breaks; it moves after along.
func (l *Log) tailOnce(ctx context.Context, after *uint64, reconnected <-chan nats.Status, caughtUp func(), fn func(event.Event) error) error {
	stating, cancel := context.WithTimeout(ctx, l.retryAfter)
	_, err := l.State(stating)
	if cancel(); err != nil { // ErrRenewed ends the tail
		return err
	}
	c := &consumer{log: l, follow: true, reconnected: reconnected}
	if err := c.open(ctx, fromSeq(*after)); err != nil {
		return err
	}
	defer c.close()
	for {
		if c.pending == 0 {
			caughtUp()
		}
		e, _, err := c.next(ctx, pullEvents)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
		*after = e.ID().Seq()
	}
}
