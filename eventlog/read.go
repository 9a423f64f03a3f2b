package eventlog

import (
	"context"
	"errors"
	"time"

	"freshet/event"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// idleConsumer is how long JetStream keeps a consumer whose reader is gone.
const idleConsumer = 30 * time.Second

// Read calls fn for the events after the sequence that the patterns select, in order and
// each once, until limit events are read, many times as many were passed over, the log's
// end is reached, in a cluster that of a server which may lag, ctx is done, or fn returns
// an error, which it returns. Every selected event up to and including the sequence upto
// has been read; upto is never below after.
func (l *Log) Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	if r := l.kept.take(after, patterns); r != nil {
		if upto, err = l.readOn(ctx, r, limit, fn); !errors.Is(err, errBroken) {
			return upto, err
		}
	}
	r, err := l.replay(ctx, fromSeq(after), after, patterns)
	if err != nil {
		return after, err
	}
	return l.readOn(ctx, r, limit, fn)
}

// readOn reads from where the replay is, and keeps it for the next piece if there is more.
func (l *Log) readOn(ctx context.Context, r *replay, limit int, fn func(event.Event) error) (upto uint64, err error) {
	after := r.upto
	more, err := r.read(ctx, limit, fn)
	if upto = r.upto; upto > after && errors.Is(err, errBroken) {
		err = nil // what was read stands
	}
	if !more || !l.kept.put(r) {
		r.end()
	}
	return upto, err
}

// ReadLast is [Log.Read] of only the newest event of each topic.
func (l *Log) ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error) {
	r, err := l.replay(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, after, patterns)
	if err != nil {
		return after, err
	}
	defer r.end()
	_, err = r.read(ctx, limit, fn)
	return r.upto, err
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
		r, err := l.replay(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at}, 0, patterns)
		if err != nil {
			return 0, err
		}
		defer r.end()
		if e, ok, err := r.next(ctx, 1); ok || err != nil {
			return max(e.ID().Seq(), 1) - 1, err
		}
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
		l.drop(c.CachedInfo().Name)
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

func (l *Log) consumer(ctx context.Context, cfg jetstream.ConsumerConfig, patterns event.Patterns) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	cfg.AckPolicy = jetstream.AckNonePolicy
	cfg.MemoryStorage, cfg.Replicas = true, 1
	cfg.FilterSubjects = subjects(patterns)
	cfg.InactiveThreshold = idleConsumer
	c, err := l.stream.CreateConsumer(ctx, cfg)
	return c, answer(err)
}

// drop deletes the consumer at once rather than when JetStream finds it idle.
func (l *Log) drop(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if err := l.stream.DeleteConsumer(ctx, name); err != nil {
		l.logger.Debug("drop a consumer", "error", err)
	}
}

// everything is the filter of all events: JetStream, which knows it, then looks up nothing.
const everything = ">"

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
				return []string{everything}
			}
		}
		filters = append(filters, subjectPrefix+p.String())
	}
	if len(kept) == 0 || kept[0] == event.All {
		return []string{everything}
	}
	return filters
}
