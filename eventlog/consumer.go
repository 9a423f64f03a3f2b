package eventlog

import (
	"context"
	"fmt"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How much one pull requests, and so how much JetStream sends ahead of a reader. An event
// larger than pullBytes is requested alone. Pulls without a limit of bytes together stay below
// maxLargeBytes: a NATS server closes a connection to which it has 64 MiB to send, and cached
// consumers may have requested half of that.
const (
	pullEvents    = 1024
	pullBytes     = 256 << 10
	maxLargeBytes = 24 << 20
)

// idleConsumer is how long JetStream keeps a consumer whose reader is gone.
const idleConsumer = 30 * time.Second

// A consumer is on one server of a cluster, which may freeze or be cut off. A tail then misses
// three heartbeats.
const tailHeartbeat = time.Second

// consumer reads the log through a JetStream consumer with pull requests of its own (why:
// docs/decisions/0012). It belongs to one read at a time. Between two reads JetStream sends
// no more than was requested.
type consumer struct {
	log      *Log
	patterns event.Patterns
	last     bool // it has only the newest event of each topic
	name     string
	messages chan *nats.Msg
	inbox    *nats.Subscription

	// A following consumer, the tail's, waits at the log's end for more. When the connection
	// is restored, the requests sent before will not be answered: reconnected says so.
	follow      bool
	reconnected <-chan nats.Status

	silent bool // JetStream did not answer

	opened         time.Time
	cursor         uint64       // every selected event up to here was returned
	start          uint64       // JetStream looks for events from here
	logEnd         uint64       // the log's last event when opened
	pending        uint64       // how many events JetStream has after those that it sent
	delivered      uint64       // how many events JetStream has sent
	requested      int          // how many events of the last pull may still come
	requestedBytes int          // the same in bytes; 0: unlimited
	largest        int          // the bytes of the largest event of the last pull
	reserved       int64        // events that the last pull has reserved of the log's largePulls
	unread         *event.Event // the reader refused it; the next event to return
	expiry         *time.Timer  // of a cached consumer
}

var (
	// errBroken: the JetStream consumer is gone, or messages were lost on the way.
	errBroken = fmt.Errorf("%w: a consumer is gone", ErrUnavailable)
	// errUnproven: JetStream sends no more events, but it may have some that it cannot read now.
	errUnproven = fmt.Errorf("%w: stored events cannot be read", ErrUnavailable)
)

// openConsumer returns a consumer that starts after the sequence: of all events, or of the
// newest event of each topic.
func (l *Log) openConsumer(ctx context.Context, last bool, after uint64, patterns event.Patterns) (*consumer, error) {
	// The state is older than the consumer: whatever it covers, the consumer finds.
	state, err := l.State(ctx)
	if err != nil {
		return nil, err
	}
	c := &consumer{log: l, patterns: patterns, last: last, cursor: after, logEnd: state.Last}
	if state.Last <= after {
		return c, nil // nothing to read
	}
	cfg := fromSeq(after)
	if last {
		end, err := l.takeTurn(ctx)
		if err != nil {
			return c, err
		}
		defer end()
		cfg = jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}
	}
	if err := c.open(ctx, cfg); err != nil {
		return c, err
	}
	if last && c.start >= c.logEnd {
		// JetStream also starts at the end if it could not list the newest events of the topics.
		topics, err := l.countTopics(ctx, patterns)
		if err == nil && topics > c.pending {
			err = errUnproven
		}
		if err != nil {
			c.close()
			return c, err
		}
	}
	return c, nil
}

// open creates the JetStream consumer.
func (c *consumer) open(ctx context.Context, cfg jetstream.ConsumerConfig) error {
	created, err := c.log.createConsumer(ctx, cfg, c.patterns)
	if err != nil {
		return err
	}
	info := created.CachedInfo()
	c.opened, c.name, c.pending, c.start = time.Now(), info.Name, info.NumPending, info.Delivered.Stream+1
	if c.pending > 0 || c.follow {
		c.messages = make(chan *nats.Msg, pullEvents+2) // and the status of this pull and of the last one
		c.inbox, err = c.log.nc.ChanSubscribe(c.log.nc.NewInbox(), c.messages)
	}
	if err != nil {
		c.close()
	}
	return wrapError(err)
}

// close deletes the JetStream consumer, before JetStream finds it idle. It does not wait for a
// server that is silent.
func (c *consumer) close() {
	c.unreserve()
	if c.inbox != nil {
		_ = c.inbox.Unsubscribe() // fails only without a connection
	}
	if c.name != "" && !c.silent {
		c.log.deleteConsumer(c.name)
	}
}

// next returns the next event, selected or not; ok is false at the end. The caller wants at
// most so many events.
func (c *consumer) next(ctx context.Context, wanted int) (e event.Event, ok bool, err error) {
	if c.unread != nil {
		e, c.unread = *c.unread, nil
		return e, true, nil
	}
	maxBytes := pullBytes
	for c.pending > 0 || c.follow {
		if c.requested == 0 {
			c.unreserve()
			events := min(wanted, pullEvents)
			if c.last { // JetStream would drop an event that is larger than what is left of the bytes
				events, maxBytes = min(events, max(1, c.log.largeEvents/2), max(1, pullBytes/max(1, c.largest))), 0
			}
			if maxBytes == 0 {
				if err := c.log.largePulls.Acquire(ctx, int64(events)); err != nil {
					return event.Event{}, false, err
				}
				c.reserved = int64(events)
			}
			if err := c.pull(events, maxBytes); err != nil {
				return event.Event{}, false, err
			}
		}
		m, err := c.receive(ctx)
		if err != nil {
			return event.Event{}, false, err
		}
		if m.Reply != "" { // an event: publishers can forge the headers of a status, but not this
			e, err := c.accept(m)
			return e, err == nil, err
		}
		// A status ends the pull, except where it only says that the pull is complete.
		switch status, text := m.Header.Get("Status"), m.Header.Get("Description"); {
		case status == "100": // a heartbeat
			continue
		case status == "409" && text == "Batch Completed":
			continue
		case status == "409" && text == "Message Size Exceeds MaxBytes":
			if c.requestedBytes == pullBytes {
				wanted, maxBytes = 1, 0 // the next event alone is larger than a pull
			}
		case status == "404" || status == "408": // retention deleted the pending events, or they cannot be read
			c.pending = 0
		case status == "503" && c.delivered == 0 && time.Since(c.opened) < answerTimeout:
			// In a cluster, not every server knows the consumer yet.
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return event.Event{}, false, err
			}
		default:
			return event.Event{}, false, fmt.Errorf("%w: %s %s", errBroken, status, text)
		}
		c.requested = 0
	}
	return event.Event{}, false, nil
}

// pull requests events: those that exist now, or for a following consumer also later ones.
func (c *consumer) pull(events, maxBytes int) error {
	wait := `"no_wait":true`
	if c.follow {
		wait = fmt.Sprintf(`"expires":%d,"idle_heartbeat":%d`, idleConsumer, tailHeartbeat)
	}
	c.requested, c.requestedBytes, c.largest = events, maxBytes, 0
	return wrapError(c.log.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+streamName+"."+c.name, c.inbox.Subject,
		fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,%s}`, events, maxBytes, wait)))
}

func (c *consumer) unreserve() {
	c.log.largePulls.Release(c.reserved)
	c.reserved = 0
}

func (c *consumer) receive(ctx context.Context) (*nats.Msg, error) {
	select {
	case m := <-c.messages:
		return m, nil
	default:
	}
	timeout := answerTimeout
	if c.follow {
		timeout = 3 * tailHeartbeat
	}
	select {
	case m := <-c.messages:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.reconnected:
	case <-time.After(timeout):
	}
	c.silent = true
	return nil, errBroken
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// accept counts a delivered message and returns its event.
func (c *consumer) accept(m *nats.Msg) (event.Event, error) {
	meta, err := m.Metadata()
	if err != nil {
		return event.Event{}, wrapError(err)
	}
	if c.delivered++; meta.Sequence.Consumer != c.delivered { // the connection dropped messages
		return event.Event{}, errBroken
	}
	c.pending = meta.NumPending
	c.largest = max(c.largest, m.Size())
	if c.requested--; c.requestedBytes > 0 {
		if c.requestedBytes -= m.Size(); c.requestedBytes <= 0 {
			c.requested = 0
		}
	}
	e, invalid := c.log.decode(m.Subject, m.Header, m.Data, meta.Sequence.Stream, meta.Timestamp)
	if !c.follow {
		if isOver(e) {
			e = event.Event{}.Stored(e.ID(), e.Time())
		}
		return e, nil
	}
	// Only the tail does these: once for each event, and not at each read.
	switch {
	case invalid != nil:
		c.log.skip(e, invalid)
	case e.Type() == event.TypeEnd:
		c.log.openTopics.remove(e.Topic())
	}
	if c.log.traceOf != nil {
		e = e.Traced(traceOf(m.Header))
	}
	return e, nil
}

// read is [Log.Read] from the cursor. more is false at the end.
func (c *consumer) read(ctx context.Context, limit int, fn func(event.Event) error) (more bool, err error) {
	after := c.cursor
	for budget := 16 * limit; limit > 0 && budget > 0; { // filters may select too much
		e, ok, err := c.next(ctx, limit)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, c.proveEnd(ctx)
		}
		seq := e.ID().Seq()
		if seq <= after {
			continue // the newest events of the topics come from the log's beginning
		}
		if c.last && seq > c.logEnd {
			c.cursor = c.logEnd // later events need not be the newest of their topics
			return false, nil
		}
		if c.patterns.Match(e.Topic()) {
			if err := fn(e); err != nil {
				c.unread = &e
				return true, err
			}
			limit--
		}
		c.cursor = max(c.cursor, seq)
		budget--
	}
	return c.pending > 0, nil
}

// proveEnd moves the cursor to the log's end if no event that the patterns select follows it,
// else it returns errUnproven. That JetStream sends no more proves nothing: it says the same if
// a file cannot be opened, and a server of a cluster may lag.
func (c *consumer) proveEnd(ctx context.Context) error {
	if c.cursor >= c.logEnd {
		return nil
	}
	for _, filter := range eventSubjects(c.patterns) {
		last, err := c.log.lastOf(ctx, streamName, filter)
		if err == nil && last > c.cursor {
			err = errUnproven
		}
		if err != nil {
			return err
		}
	}
	// A server that was cut off from its cluster may have answered.
	state, err := c.log.State(ctx)
	if err == nil && state.Last < c.logEnd {
		err = errUnproven
	}
	if err == nil {
		c.cursor = c.logEnd
	}
	return err
}
