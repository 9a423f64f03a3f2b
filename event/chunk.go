package event

import (
	"strconv"
	"time"
)

// Encoded is a piece of output. It never changes, so connections share it.
type Encoded struct {
	Bytes []byte
	Chunk []byte // Bytes as one chunk of a chunked response (RFC 9112, 7.1)
}

// LastChunk ends a chunked response.
const LastChunk = "0\r\n\r\n"

// chunkHead is the room for a chunk's size in hexadecimal digits and a line end.
const chunkHead = 10

// Builder encodes several events and cursors into one [Encoded]. Call Reset before its first use.
type Builder struct {
	format Format
	buf    []byte
}

// Reset starts a new piece in the format. It reuses the memory of the last one.
func (b *Builder) Reset(f Format) {
	var room [chunkHead]byte
	b.format, b.buf = f, append(b.buf[:0], room[:]...)
}

// Event adds an event.
func (b *Builder) Event(e Event) { b.buf = b.format.AppendEvent(b.buf, e) }

// Cursor adds a cursor; see [Format.AppendCursor].
func (b *Builder) Cursor(cursor ID, retry time.Duration) {
	b.buf = b.format.AppendCursor(b.buf, cursor, retry)
}

// Encoded returns everything that was added. It is valid until the next Reset.
func (b *Builder) Encoded() Encoded {
	var digits [chunkHead]byte
	end := len(b.buf)
	b.buf = append(b.buf, "\r\n"...)
	size := strconv.AppendUint(digits[:0], uint64(end-chunkHead), 16)
	start := chunkHead - len(size) - len("\r\n")
	copy(b.buf[start:], size)
	copy(b.buf[chunkHead-len("\r\n"):], "\r\n")
	return Encoded{Bytes: b.buf[chunkHead:end:end], Chunk: b.buf[start:]}
}
