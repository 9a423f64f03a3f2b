package event

import (
	"bytes"
	"encoding/json"
	"time"
)

// line is the JSON form of an event and of a cursor. Fields without a value are omitted, but an event always has data.
type line struct {
	ID    string     `json:"id,omitempty"`
	Topic string     `json:"topic,omitempty"`
	Type  string     `json:"type,omitempty"`
	Time  *time.Time `json:"time,omitempty"`
	Data  *string    `json:"data,omitempty"`
	Retry int64      `json:"retry,omitempty"` // milliseconds
}

// MarshalJSON returns {"id","topic","type","time","data"}. Data is always a string. An event that is not in the log has
// no id and time.
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.line()) }

func (e Event) line() line {
	l := line{ID: e.id.String(), Topic: e.topic.name, Type: e.typ.String(), Data: &e.data}
	if !e.time.IsZero() {
		at := e.time.UTC()
		l.Time = &at
	}
	return l
}

// appendLine appends the event as one line of NDJSON, in the form of [Event.MarshalJSON].
func appendLine(dst []byte, e Event) []byte { return appendJSON(dst, e.line()) }

// appendCursorLine is [Format.AppendCursor]: {"id","retry"}.
func appendCursorLine(dst []byte, cursor ID, retry time.Duration) []byte {
	return appendJSON(dst, line{ID: cursor.String(), Retry: retry.Milliseconds()})
}

func appendJSON(dst []byte, l line) []byte {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil { // cannot happen with strings and numbers
		return dst
	}
	return buf.Bytes()
}
