package eventlog

import (
	"context"
	"errors"
	"time"

	"freshet/event"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Read calls fn for the events after the sequence that the patterns select, in order and once
// each. It has read every selected event up to and including upto, which is at least after.
// It ends when
//
//   - fn was called limit times, or many times as many events were skipped;
//   - the log's end is reached;
//   - ctx is done, or fn returns an error, which Read returns.
//
// If stored events cannot be read, it retries for some seconds, and then returns [ErrUnavailable].
func (l *Log) Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	return l.read(ctx, false, after, patterns, limit, fn)
}

// ReadLast is [Log.Read] of only the newest event of each topic.
func (l *Log) ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	return l.read(ctx, true, after, patterns, limit, fn)
}

func (l *Log) read(ctx context.Context, last bool, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	c := l.consumers.acquire(last, after, patterns)
	for began, wait := time.Now(), firstRetry; ; wait *= 2 {
		if c == nil {
			c, err = l.openConsumer(ctx, last, after, patterns)
		}
		if err == nil {
			upto, err = l.readPiece(ctx, c, limit, fn)
		}
		retry := errors.Is(err, errBroken) || errors.Is(err, errUnproven)
		switch {
		case retry && upto > after:
			return upto, nil // the events read before are valid
		case !retry || time.Since(began)+wait > answerTimeout:
			return max(upto, after), err
		}
		if err := pause(ctx, wait); err != nil {
			return after, err
		}
		c, err = nil, nil
	}
}

// firstRetry is the first pause of a read that is tried again.
const firstRetry = 5 * time.Millisecond

// readPiece reads from the consumer, and caches it for the next piece if there is more.
func (l *Log) readPiece(ctx context.Context, c *consumer, limit int, fn func(event.Event) error) (upto uint64, err error) {
	more, err := c.read(ctx, limit, fn)
	upto = c.cursor
	if !more || !l.consumers.release(c) {
		c.close()
	}
	return upto, err
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
		return l.seekTime(ctx, state, since.Time)
	}
	return state.Last, nil
}

// seekTime finds the last event before the time, by binary search. A JetStream consumer that
// starts at a time would start too late if a file cannot be opened.
func (l *Log) seekTime(ctx context.Context, state State, at time.Time) (uint64, error) {
	last, err := l.lastOf(ctx, streamName, allEvents)
	if err != nil || last == 0 {
		return state.Last, err
	}
	low, high := state.First-1, last // events up to low are before the time, and those after high are not
	for low < high {
		middle := low + (high-low)/2
		m, err := l.getMessage(ctx, streamName, messageRequest{Seq: middle + 1, NextFor: allEvents})
		switch {
		case err != nil:
			return 0, err
		case m == nil: // unless the last event has expired meanwhile, it cannot be read
			newest, err := l.lastOf(ctx, streamName, allEvents)
			if err == nil && newest > middle {
				err = errUnproven
			}
			if err != nil {
				return 0, err
			}
			high = middle
		case m.Time.Before(at):
			low = m.Seq
		default:
			high = middle
		}
	}
	if low >= last {
		return state.Last, nil
	}
	return low, nil
}

// takeTurn waits for the turn of a request for which JetStream looks at all topics, and keeps
// publishers waiting meanwhile. Such requests run one at a time, with pauses as long as they took.
func (l *Log) takeTurn(ctx context.Context) (end func(), err error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began := time.Now()
	return func() { time.AfterFunc(time.Since(began), func() { <-l.turn }) }, nil
}

// seekNewest finds the largest sequence that n matches follow, by binary search: JetStream
// counts matches in its topic index, without reading the events.
func (l *Log) seekNewest(ctx context.Context, state State, n int, patterns event.Patterns) (uint64, error) {
	end, err := l.takeTurn(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
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
	ctx, cancel := l.withTimeout(ctx, l.retryAfter)
	defer cancel()
	cfg.AckPolicy = jetstream.AckNonePolicy
	cfg.MemoryStorage, cfg.Replicas = true, 1
	cfg.FilterSubjects = subjects(patterns)
	cfg.InactiveThreshold = idleConsumer
	c, err := l.stream.CreateConsumer(ctx, cfg)
	return c, wrapError(err)
}

func (l *Log) deleteConsumer(name string) {
	ctx, cancel := l.withTimeout(context.Background(), answerTimeout)
	defer cancel()
	if err := l.stream.DeleteConsumer(ctx, name); err != nil {
		l.logger.Debug("delete a consumer", "error", err)
	}
}

const (
	// everything selects all messages of the stream; for this filter JetStream needs no lookup.
	everything = ">"
	// allEvents selects all events.
	allEvents = subjectPrefix + ">"
)

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
