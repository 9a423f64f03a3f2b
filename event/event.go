package event

import (
	"log/slog"
	"time"
	"unicode/utf8"
)

// Event is published to a topic and dispatched in the browser. It never changes.
type Event struct {
	id    ID
	topic Topic
	typ   Type
	data  string
	time  time.Time
	retry time.Duration // the reconnection time that the event sets, in whole milliseconds; 0: none
	trace *Trace        // nil: none is known. A pointer, because most events have none
	ttl   TTL
}

// New returns an event for publishing. It has no ID or time until the log stores it. Data is UTF-8, with lines that end
// in CR, LF or CRLF; the browser gets LF. The error is an [InvalidError]: the topic or type is reserved, or the data is
// not UTF-8.
func New(topic Topic, typ Type, data string) (Event, error) {
	switch {
	case topic.name == "":
		return Event{}, invalid("topic", "must not be empty")
	case topic.Reserved():
		return Event{}, invalid("topic", "%q is reserved for the server's own events", topic)
	case typ.Reserved():
		return Event{}, invalid("type", "%q is reserved for the server's own events", typ)
	case !utf8.ValidString(data):
		return Event{}, invalid("data", "must be UTF-8")
	}
	return Event{topic: topic, typ: typ, data: data}, nil
}

// Stored returns the event with its ID in the log and the time of its append.
func (e Event) Stored(id ID, at time.Time) Event {
	e.id, e.time = id, at
	return e
}

// WithData returns the event with other data, which is UTF-8.
func (e Event) WithData(data string) Event {
	e.data = data
	return e
}

// WithTTL returns the event with another TTL.
func (e Event) WithTTL(ttl TTL) Event {
	e.ttl = ttl
	return e
}

// ID returns the event's ID; the zero ID if the event is not in the log.
func (e Event) ID() ID { return e.id }

// Topic returns the topic that the event was published to.
func (e Event) Topic() Topic { return e.topic }

// Type returns the event type.
func (e Event) Type() Type { return e.typ }

// Data returns the payload.
func (e Event) Data() string { return e.data }

// Time returns when the log stored the event, the zero time if it did not.
func (e Event) Time() time.Time { return e.time }

// TTL returns how long the log keeps the event at most.
func (e Event) TTL() TTL { return e.ttl }

// Traced returns the event with the trace of its publish.
func (e Event) Traced(t Trace) Event {
	if e.trace = nil; !t.IsZero() {
		e.trace = &t
	}
	return e
}

// Trace returns the trace of the event's publish; the zero Trace if none is known.
func (e Event) Trace() Trace {
	if e.trace == nil {
		return Trace{}
	}
	return *e.trace
}

// LogValue describes the event without its payload.
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", e.id.String()),
		slog.String("topic", e.topic.String()),
		slog.String("type", e.typ.String()),
		slog.Int("bytes", len(e.data)),
	)
}
