package eventlog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What JetStream is asked for at once, and so sends ahead of a reader. One event larger
// than that comes alone, and of those so many bytes at a time at most: a NATS server closes
// a connection that it owes more than 64 MiB, and the others may be owed 32.
const (
	pullEvents = 1024
	pullBytes  = 256 << 10
	largeBytes = 24 << 20
)

// replay is a consumer that reads a part of the log. It belongs to one read at a time;
// between two, JetStream sends no more than was asked for.
type replay struct {
	log      *Log
	patterns event.Patterns
	name     string
	messages chan *nats.Msg
	inbox    *nats.Subscription

	begun     time.Time
	upto      uint64       // every selected event up to here has been handed out
	last      uint64       // of the log when the replay began: at its end, it has found all up to here
	pending   uint64       // how many JetStream has behind those that it has sent
	delivered uint64       // how many JetStream has sent
	asked     int          // how many of the last pull may still come,
	askedSize int          // and how many bytes
	held      *event.Event // was refused by the reader, and is its next one
	expiry    *time.Timer  // ends the replay if it is not taken up again

	// live is not nil for a replay that goes on at the log's end: the tail's. It tells that
	// the connection was lost and is back.
	live <-chan nats.Status
}

// errBroken: the consumer is gone, or has lost something on the way.
var errBroken = fmt.Errorf("%w: a consumer is gone", ErrUnavailable)

// replay returns a replay that begins behind the sequence.
func (l *Log) replay(ctx context.Context, cfg jetstream.ConsumerConfig, after uint64, patterns event.Patterns) (*replay, error) {
	// Asked first: whatever the consumer finds, it finds all up to here.
	state, err := l.State(ctx)
	if err != nil {
		return nil, err
	}
	r := &replay{log: l, patterns: patterns, begun: time.Now(), upto: after, last: state.Last}
	if state.Last <= after {
		return r, nil // there is nothing to consume
	}
	if err := r.open(ctx, cfg); err != nil {
		return nil, err
	}
	return r, nil
}

// open makes the consumer.
func (r *replay) open(ctx context.Context, cfg jetstream.ConsumerConfig) error {
	c, err := r.log.consumer(ctx, cfg, r.patterns)
	if err != nil {
		return err
	}
	r.name, r.pending = c.CachedInfo().Name, c.CachedInfo().NumPending
	if r.pending > 0 || r.live != nil {
		r.messages = make(chan *nats.Msg, pullEvents+2) // and a status of this pull and of the last
		r.inbox, err = r.log.nc.ChanSubscribe(r.log.nc.NewInbox(), r.messages)
	}
	if err != nil {
		r.end()
		return answer(err)
	}
	return nil
}

// end lets the consumer go at once rather than when JetStream finds it idle.
func (r *replay) end() {
	if r.inbox != nil {
		_ = r.inbox.Unsubscribe() // fails only without a connection
	}
	if r.name != "" {
		r.log.drop(r.name)
	}
}

// next returns the next event, whether it is selected or not; false at the end. most is
// how many the caller still wants.
func (r *replay) next(ctx context.Context, most int) (e event.Event, ok bool, err error) {
	if r.held != nil {
		e, r.held = *r.held, nil
		return e, true, nil
	}
	size, large := pullBytes, false
	defer func() {
		if large {
			<-r.log.large
		}
	}()
	for r.pending > 0 || r.live != nil {
		if r.asked == 0 {
			if size == 0 && !large {
				select {
				case r.log.large <- struct{}{}:
					large = true
				case <-ctx.Done():
					return event.Event{}, false, ctx.Err()
				}
			}
			if err := r.pull(min(most, pullEvents), size); err != nil {
				return event.Event{}, false, err
			}
		}
		m, err := r.receive(ctx)
		if err != nil {
			return event.Event{}, false, err
		}
		if m.Reply != "" {
			return r.take(m)
		}
		// A status ends the pull, but where it only says that the pull is complete.
		switch status, text := m.Header.Get("Status"), m.Header.Get("Description"); {
		case status == "100": // there is nothing yet
			continue
		case status == "409" && text == "Batch Completed":
			continue
		case status == "409" && text == "Message Size Exceeds MaxBytes":
			if r.askedSize == pullBytes {
				most, size = 1, 0 // the next one is larger than all of it
			}
		case status == "404" || status == "408": // retention took what was pending
			r.pending = 0
		case status == "503" && r.delivered == 0 && time.Since(r.begun) < answerTimeout:
			// In a cluster, not every server knows of the consumer yet.
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return event.Event{}, false, err
			}
		default:
			return event.Event{}, false, fmt.Errorf("%w: %s %s", errBroken, status, text)
		}
		r.asked = 0
	}
	return event.Event{}, false, nil
}

// pull asks for what there is now, or for the live replay what comes, up to so many events
// and bytes.
func (r *replay) pull(events, size int) error {
	request := struct {
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes,omitempty"`
		NoWait    bool          `json:"no_wait,omitempty"`
		Expires   time.Duration `json:"expires,omitempty"`
		Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
	}{Batch: events, MaxBytes: size}
	if r.live == nil {
		request.NoWait = true
	} else {
		request.Expires, request.Heartbeat = idleConsumer, answerTimeout/3
	}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r.asked, r.askedSize = events, size
	return answer(r.log.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+streamName+"."+r.name, r.inbox.Subject, text))
}

// ahead asks for the next piece before it is wanted.
func (r *replay) ahead() error {
	if r.asked > 0 {
		return nil
	}
	return r.pull(pullEvents, pullBytes)
}

func (r *replay) receive(ctx context.Context) (*nats.Msg, error) {
	select {
	case m := <-r.messages:
		return m, nil
	default:
	}
	patience := time.NewTimer(answerTimeout)
	defer patience.Stop()
	select {
	case m := <-r.messages:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.live:
		return nil, errBroken
	case <-patience.C:
		return nil, errBroken
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take makes the event of a message and counts it.
func (r *replay) take(m *nats.Msg) (event.Event, bool, error) {
	meta, err := m.Metadata()
	if err != nil {
		return event.Event{}, false, answer(err)
	}
	if r.delivered++; meta.Sequence.Consumer != r.delivered { // the connection has dropped some
		return event.Event{}, false, errBroken
	}
	r.pending = meta.NumPending
	if r.asked--; r.askedSize > 0 {
		if r.askedSize -= m.Size(); r.askedSize <= 0 {
			r.asked = 0
		}
	}
	e, invalid := r.log.decode(m.Subject, m.Header, m.Data, meta.Sequence.Stream, meta.Timestamp)
	if invalid != nil && r.live != nil { // told once, and not at each replay
		r.log.logger.Warn("a NATS client published what is no event", "event", e, "error", invalid)
	}
	return e, true, nil
}

// read is [Log.Read] from where the replay is. It is at its end if more is false.
func (r *replay) read(ctx context.Context, limit int, fn func(event.Event) error) (more bool, err error) {
	after := r.upto
	for passed := 16 * limit; limit > 0 && passed > 0; passed-- { // filters may select too much
		e, ok, err := r.next(ctx, limit)
		if err != nil {
			return false, err
		}
		if !ok {
			if r.upto < r.last {
				r.upto, err = r.log.proven(ctx, r.upto, r.last, r.patterns)
			}
			return false, err
		}
		seq := e.ID().Seq()
		if seq > after && r.patterns.Match(e.Topic()) {
			if err := fn(e); err != nil {
				r.held = &e
				return true, err
			}
			limit--
		}
		r.upto = max(r.upto, seq)
	}
	return r.pending > 0, nil
}
