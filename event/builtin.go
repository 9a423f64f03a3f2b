package event

import (
	"encoding/json"
	"strconv"
)

// Topics that the server itself fills, for whoever asks for them by name.
var (
	TopicCounter = Topic{"counter"}
	TopicStats   = Topic{"stats"}
)

// Counter returns a connection's n-th count: an unnamed event without an ID.
func Counter(n uint64) Event {
	return Event{topic: TopicCounter, data: strconv.FormatUint(n, 10)}
}

// Stats returns the server's figures, a JSON object on one line, as an event without an ID.
func Stats(figures json.RawMessage) Event {
	return Event{topic: TopicStats, typ: TypeStats, data: string(figures)}
}

// Drain returns the event that says that the server is about to close the stream.
func Drain() Event { return Event{typ: TypeDrain, data: "{}"} }

// AuthExpired returns the event that says that the reader's token has expired, or the ticket
// was revoked: the stream is about to end, and only another credential opens it again.
func AuthExpired() Event { return Event{typ: TypeAuthExpired, data: "{}"} }

// GapReason says why a stream could not go on where its reader left off.
type GapReason string

// The reasons of a gap.
const (
	GapEpoch   GapReason = "epoch"   // the ID is of another log, one that is gone
	GapExpired GapReason = "expired" // the log no longer keeps what follows the ID
	GapUnknown GapReason = "unknown" // not an ID, or one that the log has not reached
)

// Gap tells a reader that events are missing, and where the stream goes on.
type Gap struct {
	Requested string    `json:"requested"` // what the reader asked to resume from, at most 128 bytes
	First     ID        `json:"first"`     // the first event that is kept
	Resumed   ID        `json:"resumed"`   // the cursor just before the first event that follows
	Reason    GapReason `json:"reason"`
}

// Event returns the gap as an event whose ID is the cursor that the stream resumes from.
func (g Gap) Event() Event {
	if len(g.Requested) > 128 {
		g.Requested = g.Requested[:128]
	}
	data, err := json.Marshal(g)
	if err != nil { // four strings always marshal
		data = []byte("{}")
	}
	return Event{id: g.Resumed, typ: TypeGap, data: string(data)}
}
