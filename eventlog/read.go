package eventlog

import (
	"context"
	"errors"

	"freshet/event"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Read calls fn for the events after the sequence that the patterns select, in order and once
// each. It has read every selected event up to and including upto, which is at least after.
// It ends when
//
//   - fn was called limit times, or many times as many events were skipped;
//   - the log's end is reached (in a cluster that of one server, which may lag);
//   - ctx is done, or fn returns an error, which Read returns.
func (l *Log) Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	if c := l.consumers.acquire(after, patterns); c != nil {
		if upto, err = l.readPiece(ctx, c, limit, fn); !errors.Is(err, errBroken) {
			return upto, err
		}
	}
	c, err := l.openConsumer(ctx, fromSeq(after), after, patterns)
	if err != nil {
		return after, err
	}
	return l.readPiece(ctx, c, limit, fn)
}

// readPiece reads from the consumer, and caches it for the next piece if there is more.
func (l *Log) readPiece(ctx context.Context, c *consumer, limit int, fn func(event.Event) error) (upto uint64, err error) {
	after := c.cursor
	more, err := c.read(ctx, limit, fn)
	if upto = c.cursor; upto > after && errors.Is(err, errBroken) {
		err = nil // the events read before are valid
	}
	if !more || !l.consumers.release(c) {
		c.close()
	}
	return upto, err
}

// ReadLast is [Log.Read] of only the newest event of each topic.
func (l *Log) ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	c, err := l.openConsumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, after, patterns)
	if err != nil {
		return after, err
	}
	defer c.close()
	_, err = c.read(ctx, limit, fn)
	return c.cursor, err
}

// confirmEnd returns last if no event that the patterns select follows cursor up to last,
// else cursor. In a cluster it asks the leader: a consumer on a server that lags may end early.
func (l *Log) confirmEnd(ctx context.Context, cursor, last uint64, patterns event.Patterns) (uint64, error) {
	if l.stream.CachedInfo().Config.Replicas < 2 {
		return last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for _, filter := range subjects(patterns) {
		m, err := l.stream.GetMsg(ctx, cursor+1, jetstream.WithGetMsgSubject(filter))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return cursor, wrapError(err)
		case m.Sequence <= last:
			return cursor, nil
		}
	}
	return last, nil
}

// Seek returns the cursor at which reading the patterns from since starts: the sequence
// before the first event of it. It does not support Since.ID and Since.Last.
func (l *Log) Seek(ctx context.Context, since event.Since, patterns event.Patterns) (after uint64, err error) {
	state, err := l.State(ctx)
	if err != nil {
		return 0, err
	}
	switch {
	case since.All:
		return state.First - 1, nil
	case since.Newest > 0:
		return l.seekNewest(ctx, state, since.Newest, patterns)
	case !since.Time.IsZero():
		at := since.Time
		c, err := l.openConsumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at}, 0, patterns)
		if err != nil {
			return 0, err
		}
		defer c.close()
		if e, ok, err := c.next(ctx, 1); ok || err != nil {
			return max(e.ID().Seq(), 1) - 1, err
		}
	}
	return state.Last, nil
}

// seekNewest finds the largest sequence that n matches follow, by binary search: JetStream
// counts matches in its topic index, without reading the events.
func (l *Log) seekNewest(ctx context.Context, state State, n int, patterns event.Patterns) (uint64, error) {
	low, high := state.First-1, state.Last // n or all matches are after low, fewer than n after high
	for low+1 < high {
		middle := low + (high-low)/2
		c, err := l.createConsumer(ctx, fromSeq(middle), patterns)
		if err != nil {
			return 0, err
		}
		matches := c.CachedInfo().NumPending
		l.deleteConsumer(c.CachedInfo().Name)
		switch {
		case matches == uint64(n):
			return middle, nil
		case matches > uint64(n):
			low = middle
		default:
			high = middle
		}
	}
	return low, nil
}

func fromSeq(after uint64) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1}
}

func (l *Log) createConsumer(ctx context.Context, cfg jetstream.ConsumerConfig, patterns event.Patterns) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	cfg.AckPolicy = jetstream.AckNonePolicy
	cfg.MemoryStorage, cfg.Replicas = true, 1
	cfg.FilterSubjects = subjects(patterns)
	cfg.InactiveThreshold = idleConsumer
	c, err := l.stream.CreateConsumer(ctx, cfg)
	return c, wrapError(err)
}

func (l *Log) deleteConsumer(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if err := l.stream.DeleteConsumer(ctx, name); err != nil {
		l.logger.Debug("delete a consumer", "error", err)
	}
}

// everything selects all events; for this filter JetStream needs no lookup.
const everything = ">"

// subjects returns JetStream filters that cover the patterns. JetStream refuses filters that
// overlap. So a pattern that another one covers is left out, and if two cross, like a.* and
// *.b, the filter is everything and the reader selects.
func subjects(patterns event.Patterns) []string {
	widest := patterns.Widest()
	if len(widest) == 0 || widest[0] == event.All {
		return []string{everything}
	}
	var filters []string
	for i, p := range widest {
		for _, q := range widest[:i] {
			if server.SubjectsCollide(p.String(), q.String()) {
				return []string{everything}
			}
		}
		filters = append(filters, subjectPrefix+p.String())
	}
	return filters
}
