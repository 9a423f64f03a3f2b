package event

import (
	"bytes"
	"encoding/json"
	"time"
)

// line is the JSON form of an event and of a cursor. Fields without a value are omitted, but an event always has data.
type line struct {
	ID    ID        `json:"id,omitzero"`
	Topic string    `json:"topic,omitempty"`
	Type  string    `json:"type,omitempty"`
	Time  time.Time `json:"time,omitzero"`
	Data  *string   `json:"data,omitempty"`
	Retry int64     `json:"retry,omitempty"` // milliseconds
}

func (e Event) line() line {
	return line{ID: e.id, Topic: e.topic.name, Type: e.typ.String(), Time: e.time.UTC(), Data: &e.data, Retry: e.retry.Milliseconds()}
}

// append appends the line, with its end.
func (l line) append(dst []byte) []byte {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil { // cannot happen with strings and numbers
		return dst
	}
	return buf.Bytes()
}
