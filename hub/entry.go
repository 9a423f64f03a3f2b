package hub

import (
	"strconv"

	"freshet/event"
)

// Entry is an event, encoded once and shared by all subscribers. It is never changed.
type Entry struct {
	Event event.Event

	frame, line Encoded // in the forms that were wanted when the event came
	size        int64
}

// Encoded is an event as it is written.
type Encoded struct {
	Bytes []byte
	Chunk []byte // as one chunk of a chunked answer (RFC 9112, 7.1); Bytes is a part of it
}

// Frame returns the event as one frame of an event stream.
func (e *Entry) Frame() Encoded {
	if e.frame.Bytes == nil {
		return encode(e.Event, event.AppendFrame)
	}
	return e.frame
}

// Line returns the event as one line of NDJSON.
func (e *Entry) Line() Encoded {
	if e.line.Bytes == nil {
		return encode(e.Event, event.AppendLine)
	}
	return e.line
}

// forms are those that subscribers take.
type forms struct{ frames, lines bool }

// entryOverhead is about what an entry costs beside its payload and what is encoded.
const entryOverhead = 224

func newEntry(e event.Event, wanted forms) *Entry {
	entry := &Entry{Event: e, size: int64(len(e.Data()) + entryOverhead)}
	if wanted.frames {
		entry.frame = encode(e, event.AppendFrame)
	}
	if wanted.lines {
		entry.line = encode(e, event.AppendLine)
	}
	entry.size += int64(cap(entry.frame.Chunk) + cap(entry.line.Chunk))
	return entry
}

// chunkHead is room for a chunk's size in hexadecimal digits and a line end.
const chunkHead = 10

func encode(e event.Event, form func(dst []byte, e event.Event) []byte) Encoded {
	var room [chunkHead]byte
	buf := make([]byte, 0, chunkHead+len(e.Data())+len(e.Type().String())+64)
	buf = form(append(buf, room[:]...), e)
	end := len(buf)
	buf = append(buf, "\r\n"...)
	size := strconv.AppendUint(room[:0], uint64(end-chunkHead), 16)
	start := chunkHead - len(size) - 2
	copy(buf[start:], size)
	copy(buf[chunkHead-2:], "\r\n")
	return Encoded{Bytes: buf[chunkHead:end:end], Chunk: buf[start:]}
}

func (e *Entry) seq() uint64 { return e.Event.ID().Seq() }
