package event

import (
	"encoding/json"
	"strconv"
	"time"
)

// Topics of the server's own events. Clients get them only by name, not by a pattern.
var (
	TopicCounter = Topic{"counter"}
	TopicStats   = Topic{"stats"}
)

// Counter returns a connection's n-th count: an unnamed event without an ID.
func Counter(n uint64) Event {
	return Event{topic: TopicCounter, data: strconv.FormatUint(n, 10)}
}

// Stats returns the server's statistics, a JSON object on one line, as an event without an ID.
func Stats(data json.RawMessage) Event {
	return Event{topic: TopicStats, typ: TypeStats, data: string(data)}
}

// Drain returns the last event of a stream that the server closes: the client should reconnect after retry.
func Drain(retry time.Duration) Event { return Event{typ: TypeDrain, data: "{}", retry: retry} }

// Busy returns the only event of a stream that the server does not open now: the client should reconnect after retry. The
// reason is the code of the error. The event has no ID, because the client's cursor must not move. Its data repeats the
// time, because not every client shows retry fields.
func Busy(reason string, retry time.Duration) Event {
	data, _ := json.Marshal(struct { // a string and a number cannot fail
		Reason string `json:"reason"`
		Retry  int64  `json:"retry_ms"`
	}{reason, retry.Milliseconds()})
	return Event{typ: TypeBusy, data: string(data), retry: retry}
}

// AuthExpired returns the last event of a stream whose credentials have expired or were revoked: the client needs new
// ones to reconnect.
func AuthExpired() Event { return Event{typ: TypeAuthExpired, data: "{}"} }

// End returns the last event of a topic that ends. Its data names the topic, because readers of many topics get it too.
func End(topic Topic) Event {
	data, _ := json.Marshal(struct { // a string cannot fail
		Topic string `json:"topic"`
	}{topic.name})
	return Event{topic: topic, typ: TypeEnd, data: string(data)}
}

// Purged returns the gap that a topic's readers get where its events up to then were deleted. It has the ID of the log.
func Purged(topic Topic, id ID, at time.Time) Event {
	e := Gap{Resumed: id, First: id, Reason: GapPurged, Topic: topic.name}.Event()
	e.topic, e.time = topic, at
	return e
}

// GapReason says why events are missing.
type GapReason string

// The reasons of a gap.
const (
	GapEpoch   GapReason = "epoch"   // the ID is of an earlier log
	GapExpired GapReason = "expired" // the log no longer has the events after the ID
	GapUnknown GapReason = "unknown" // not an ID, or one that the log has not reached
	GapPurged  GapReason = "purged"  // the topic's events were deleted on request
)

// Gap says that events are missing, and where the stream continues.
type Gap struct {
	Requested string    `json:"requested"` // the last event ID that the client sent, at most 128 bytes; empty with GapPurged
	First     ID        `json:"first"`     // the first event that the log has
	Resumed   ID        `json:"resumed"`   // the cursor just before the first event that follows
	Reason    GapReason `json:"reason"`
	Topic     string    `json:"topic,omitempty"` // with GapPurged: no other topic has a gap
}

// Event returns the gap as an event. Its ID is the cursor where the stream continues.
func (g Gap) Event() Event {
	if len(g.Requested) > 128 {
		g.Requested = g.Requested[:128]
	}
	data, _ := json.Marshal(g) // four strings cannot fail
	return Event{id: g.Resumed, typ: TypeGap, data: string(data)}
}
