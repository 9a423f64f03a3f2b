package eventlog

import (
	"context"
	"slices"
	"strconv"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// codeNoTTL is the error of the JetStream API for a TTL that the stream does not allow.
const codeNoTTL jetstream.ErrorCode = 10166

// Retention limits how long a log keeps the events of some topics.
type Retention struct {
	Pattern event.Pattern
	TTL     event.TTL // zero: these topics have no limit of their own
}

// setTTL gives the message of a topic the shorter one of two TTLs: its own, and that of the first Retention for the topic.
func (l *Log) setTTL(m *nats.Msg, topic event.Topic, own event.TTL) {
	ttl := own
	if i := slices.IndexFunc(l.retain, func(r Retention) bool { return r.Pattern.Match(topic) }); i >= 0 {
		ttl = ttl.Shorter(l.retain[i].TTL)
	}
	if !ttl.IsZero() {
		m.Header.Set(jetstream.MsgTTLHeader, ttl.String())
	}
}

// ttlOf returns the TTL of a stored message. NATS clients may also have written a number of seconds, or "never".
func ttlOf(header nats.Header) event.TTL {
	text := header.Get(jetstream.MsgTTLHeader)
	if text == "" {
		return event.TTL{}
	}
	if _, err := strconv.ParseUint(text, 10, 32); err == nil {
		text += "s"
	}
	ttl, _ := event.ParseTTL(text) // JetStream has accepted the text; if it is no TTL here, such as never, it sets no limit
	return ttl
}

// isOver reports whether the event's TTL is over. JetStream deletes some thousand events a second, so it may still have the event.
func isOver(e event.Event) bool {
	return !e.TTL().IsZero() && time.Since(e.Time()) >= e.TTL().Duration()
}

// expectExpiry tells the loss check of the embedded log that events expire one by one, if one of the messages has a TTL. It is called
// before they are stored, so that no crash leaves such an event in a log that does not expect it.
func (l *Log) expectExpiry(ctx context.Context, messages ...*nats.Msg) error {
	hasTTL := func(m *nats.Msg) bool { return m.Header.Get(jetstream.MsgTTLHeader) != "" }
	if l.lastAcked == nil || l.expiring.Load() || !slices.ContainsFunc(messages, hasTTL) {
		return nil
	}
	l.holes.Lock()
	defer l.holes.Unlock()
	if l.expiring.Load() {
		return nil
	}
	if err := l.setHoles(ctx, func(*jetstream.StreamInfo) string { return expiringHoles }); err != nil {
		return err
	}
	l.expiring.Store(true)
	return nil
}
