package event

import (
	"strings"
	"time"
)

// Format is how events are written to a connection. A new format is a new value here, with a case in each method.
type Format uint8

const (
	// Frames is the event stream format (WHATWG HTML, 9.2.5).
	Frames Format = iota
	// Lines is NDJSON: one JSON object a line.
	Lines
	// Formats is the number of formats.
	Formats
)

// ContentType returns the media type of a response in the format.
func (f Format) ContentType() string {
	if f == Lines {
		return "application/x-ndjson"
	}
	return "text/event-stream"
}

// AppendEvent appends the event to dst.
func (f Format) AppendEvent(dst []byte, e Event) []byte {
	if f == Lines {
		return appendLine(dst, e)
	}
	return appendFrame(dst, e)
}

// AppendCursor appends a frame or line that sets the client's last event ID to the cursor, unless that is zero, and its
// reconnection time to retry in whole milliseconds, unless that is 0. It dispatches no event. With neither, it is a
// heartbeat.
func (f Format) AppendCursor(dst []byte, cursor ID, retry time.Duration) []byte {
	if f == Lines {
		return line{ID: cursor, Retry: retry.Milliseconds()}.append(dst)
	}
	return appendCursorFrame(dst, cursor, retry)
}

// Size is how many bytes Encode takes at most for a stored event, without encoding it.
func (f Format) Size(e Event) int {
	if f == Lines {
		size := chunkHead + 2*(len(e.topic.name)+len(e.typ.name)) + 128 // and the names of the fields, the ID and the time
		for i := range len(e.data) {
			size += escaped(e.data, i)
		}
		return size
	}
	lines := 1 + strings.Count(e.data, "\n") + strings.Count(e.data, "\r") // CRLF counts twice
	return chunkHead + len(e.typ.name) + len(e.data) + lines*len("data: ") + 64
}

// Encode encodes the event.
func (f Format) Encode(e Event) Encoded {
	b := Builder{format: f, buf: make([]byte, chunkHead, f.Size(e))}
	b.Event(e)
	return b.Encoded()
}
