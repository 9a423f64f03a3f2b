package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet/event"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// idleConsumer is how long JetStream keeps a consumer whose reader is gone.
const idleConsumer = 30 * time.Second

// Tail calls fn for every event after the sequence, in order and each once, until ctx is
// done or fn returns an error, which it returns; and caughtUp whenever it is at the log's
// end. A lost connection is taken up again where it broke. What is no valid event comes as
// one without a topic. fn holds up the tail, nothing else.
func (l *Log) Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error {
	state, err := l.State(ctx)
	if err != nil {
		return err
	}
	c, err := l.consumer(ctx, fromSeq(after), nil)
	if err != nil {
		return err
	}
	if c.CachedInfo().NumPending == 0 {
		caughtUp()
	}
	return l.each(ctx, c, state, 0, func(e event.Event, pending uint64, invalid error) (bool, error) {
		if pending == 0 {
			defer caughtUp()
		}
		if invalid != nil {
			l.logger.Warn("a NATS client published what is no event", "event", e, "error", invalid)
		}
		return true, fn(e)
	})
}

// Read calls fn for the events after the sequence that the patterns select, in order and
// each once, until limit events are read, many times as many were passed over, the log's
// end is reached, ctx is done, or fn returns an error, which it returns. Every selected
// event up to and including the sequence upto has been read; upto is never below after.
func (l *Log) Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	return l.read(ctx, fromSeq(after), after, patterns, limit, fn)
}

// ReadLast is [Log.Read] of only the newest event of each topic.
func (l *Log) ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	return l.read(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, after, patterns, limit, fn)
}

func (l *Log) read(ctx context.Context, start jetstream.OrderedConsumerConfig, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	// Asked first: whatever the consumer finds, it finds all up to here.
	state, err := l.State(ctx)
	if err != nil || state.Last <= after {
		return after, err
	}
	c, err := l.consumer(ctx, start, patterns)
	if err != nil {
		return after, err
	}
	defer l.drop(c)
	if c.CachedInfo().NumPending == 0 {
		return l.proven(ctx, after, state.Last, patterns)
	}
	upto = after
	passed, end := 16*limit, false // passed over by filters that select too much
	err = l.each(ctx, c, state, evicted, func(e event.Event, pending uint64, _ error) (bool, error) {
		seq := e.ID().Seq()
		passed--
		if seq > after && patterns.Match(e.Topic()) {
			if err := fn(e); err != nil {
				return false, err
			}
			limit--
		}
		upto, end = max(upto, seq), pending == 0
		return pending > 0 && limit > 0 && passed > 0, nil
	})
	if end && err == nil && upto < state.Last {
		return l.proven(ctx, upto, state.Last, patterns)
	}
	return upto, err
}

// proven returns last if no event that the patterns select lies behind upto, up to last,
// and upto if there is one. A consumer of a replicated stream may sit on a server that
// lags, and have nothing more only because of that; so the leader is asked.
func (l *Log) proven(ctx context.Context, upto, last uint64, patterns event.Patterns) (uint64, error) {
	if l.stream.CachedInfo().Config.Replicas < 2 {
		return last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for _, filter := range subjects(patterns) {
		m, err := l.stream.GetMsg(ctx, upto+1, jetstream.WithGetMsgSubject(filter))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return upto, answer(err)
		case m.Sequence <= last:
			return upto, nil
		}
	}
	return last, nil
}

// evicted is how long a read waits for an event that was there when it began, but may have
// been dropped by retention since. What was read by then stands.
const evicted = time.Second

// Seek returns the cursor at which reading the patterns from since begins: the sequence
// before the first event that belongs to it. It is not for Since.ID and Since.Last.
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
		c, err := l.consumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at}, patterns)
		if err != nil {
			return 0, err
		}
		defer l.drop(c)
		after = state.Last
		if c.CachedInfo().NumPending == 0 {
			return after, nil
		}
		err = l.each(ctx, c, state, evicted, func(e event.Event, _ uint64, _ error) (bool, error) {
			after = e.ID().Seq() - 1
			return false, nil
		})
		return after, err
	}
	return state.Last, nil
}

// seekNewest halves its way to the largest sequence that still has n matches behind it:
// JetStream counts them from its topic index, without reading the events.
func (l *Log) seekNewest(ctx context.Context, state State, n int, patterns event.Patterns) (uint64, error) {
	low, high := state.First-1, state.Last // n or all matches are after low, fewer than n after high
	for low+1 < high {
		middle := low + (high-low)/2
		c, err := l.consumer(ctx, fromSeq(middle), patterns)
		if err != nil {
			return 0, err
		}
		matches := c.CachedInfo().NumPending
		l.drop(c)
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

func fromSeq(after uint64) jetstream.OrderedConsumerConfig {
	return jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1}
}

func (l *Log) consumer(ctx context.Context, cfg jetstream.OrderedConsumerConfig, patterns event.Patterns) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	cfg.FilterSubjects = subjects(patterns)
	cfg.InactiveThreshold = idleConsumer
	c, err := l.stream.OrderedConsumer(ctx, cfg)
	return c, answer(err)
}

// drop deletes the consumer at once rather than when JetStream finds it idle.
func (l *Log) drop(c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if err := l.stream.DeleteConsumer(ctx, c.CachedInfo().Name); err != nil {
		l.logger.Debug("drop a consumer", "error", err)
	}
}

// inFlight bounds the bytes that JetStream sends ahead of a reader. It is above the largest
// event that any server takes, which would never come otherwise.
const inFlight = 66 << 20

// each calls fn for the consumer's messages until it returns false or an error, or, where
// patience is not 0, no message has come for so long. It has about 4 MiB of messages of
// the log's mean size sent ahead.
func (l *Log) each(ctx context.Context, c jetstream.Consumer, s State, patience time.Duration, fn func(e event.Event, pending uint64, invalid error) (bool, error)) error {
	ahead := int(max(1, min(512, 4<<20/(s.Bytes/max(s.Events, 1)+1))))
	messages, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(ahead, inFlight))
	if err != nil {
		return answer(err)
	}
	defer messages.Stop()
	// Next gives up a lost connection only when it is stopped.
	defer context.AfterFunc(ctx, messages.Stop)()
	var wait []jetstream.NextOpt
	if patience > 0 {
		wait = []jetstream.NextOpt{jetstream.NextMaxWait(patience)}
	}
	for {
		m, err := messages.Next(wait...)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if patience > 0 && errors.Is(err, nats.ErrTimeout) {
			return nil
		}
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return fmt.Errorf("%w: the connection is closed", ErrUnavailable)
		}
		if err != nil {
			return answer(err)
		}
		e, pending, invalid, err := l.decode(m)
		if err != nil {
			return answer(err)
		}
		if more, err := fn(e, pending, invalid); err != nil || !more {
			return err
		}
	}
}

// subjects returns JetStream filters that cover the patterns. JetStream refuses filters
// that overlap: one that another covers is left out, and where two cross, like a.* and
// *.b, everything is read and the reader of the answer selects.
func subjects(patterns event.Patterns) []string {
	var kept event.Patterns
	for i, p := range patterns {
		covered := false
		for j, q := range patterns {
			covered = covered || q.Covers(p) && (!p.Covers(q) || j < i)
		}
		if !covered {
			kept = append(kept, p)
		}
	}
	var filters []string
	for i, p := range kept {
		for _, q := range kept[:i] {
			if server.SubjectsCollide(p.String(), q.String()) {
				return []string{subjectPrefix + ">"}
			}
		}
		filters = append(filters, subjectPrefix+p.String())
	}
	if len(filters) == 0 {
		filters = []string{subjectPrefix + ">"}
	}
	return filters
}
