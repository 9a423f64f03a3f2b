package handlers

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"freshet/event"
	"freshet/hub"

	"github.com/gin-gonic/gin"
)

// stall is how long a connection may take nothing before it is closed; its reader comes
// back by its last event ID.
const stall = 30 * time.Second

// pieceBytes is how much is written under one deadline.
const pieceBytes = 32 << 10

// gatherBytes is how much of small frames is written at once.
const gatherBytes = pieceBytes

// wire writes frames to one connection, as an event stream or as NDJSON.
type wire struct {
	out      io.Writer
	control  controller
	response *http.ResponseController // of the writer under Gin's, which reports flush errors; nil once taken over
	taken    net.Conn                 // the connection, once it was taken over
	guard    *guard                   // of a stream of HTTP/2; nil otherwise
	ndjson   bool
	deadline time.Time // of the writes now
	buf      []byte
	events   int
	sent     int   // bytes, since the connection was taken over
	err      error // the first error; nothing is written after it
}

// controller is what the wire needs of a connection beside writing.
type controller interface {
	Flush() error
	SetWriteDeadline(deadline time.Time) error
}

func newWire(c *gin.Context) *wire {
	var under http.ResponseWriter = c.Writer
	for {
		u, ok := under.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		under = u.Unwrap()
	}
	control := http.NewResponseController(under)
	return &wire{out: c.Writer, control: control, response: control, ndjson: wantsNDJSON(c)}
}

// guarded is for a stream that stays, which the caller ends with done: between two writes
// over HTTP/2 there is to be no deadline.
func (w *wire) guarded(c *gin.Context) (done func()) {
	if c.Request.ProtoMajor < 2 {
		return func() {}
	}
	w.guard = newGuard(w.response)
	w.control = w.guard
	return w.guard.close
}

// take has the wire write to the connection itself, in the middle of a chunked answer.
func (w *wire) take(conn net.Conn) {
	out := &chunked{conn: conn}
	w.out, w.control, w.response, w.taken = out, out, nil, conn
	w.deadline = time.Time{}
}

// plain writes bytes to a connection that was taken over as they are.
func (w *wire) plain(p []byte) {
	for len(p) > 0 && w.err == nil {
		piece := p[:min(len(p), pieceBytes)]
		p = p[len(piece):]
		w.extend()
		_, w.err = w.taken.Write(piece)
	}
}

// close closes a connection that was taken over; whole says that its answer is.
func (w *wire) close(whole bool) {
	if whole && w.err == nil {
		w.plain([]byte("0\r\n\r\n"))
	}
	_ = w.taken.Close() // nothing is to be done about it
}

func wantsNDJSON(c *gin.Context) bool {
	return strings.Contains(c.GetHeader("Accept"), "application/x-ndjson")
}

// open sends the headers. The answer's status is 200 from here on.
func (w *wire) open(out gin.ResponseWriter) {
	header := out.Header()
	header.Set("Content-Type", "text/event-stream")
	if w.ndjson {
		header.Set("Content-Type", "application/x-ndjson")
	}
	header.Set("Cache-Control", "no-cache, no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx: pass on at once
	out.WriteHeader(http.StatusOK)
}

// cursor writes a frame that only moves the reader's last event ID, and sets its
// reconnection time where retry is not 0.
func (w *wire) cursor(id event.ID, retry time.Duration) {
	if w.ndjson {
		w.buf = event.AppendCursorLine(w.buf[:0], id, retry)
	} else {
		w.buf = event.AppendCursor(w.buf[:0], id, retry)
	}
	w.write(w.buf)
}

// event writes an event of the server's own.
func (w *wire) event(e event.Event) {
	if w.ndjson {
		w.buf = event.AppendLine(w.buf[:0], e)
	} else {
		w.buf = event.AppendFrame(w.buf[:0], e)
	}
	if w.write(w.buf); w.err == nil {
		w.events++
	}
}

// encoded returns the entry's bytes, which all streams of the form share.
func (w *wire) encoded(e *hub.Entry) []byte {
	if w.ndjson {
		return e.Line().Bytes
	}
	return e.Frame().Bytes
}

// entries writes the hub's entries as they are. Small ones are gathered, since many writes
// cost more than a copy.
func (w *wire) entries(entries []*hub.Entry) {
	w.events += len(entries)
	if len(entries) == 1 {
		w.write(w.encoded(entries[0]))
		return
	}
	buf := gathers.Get().(*[gatherBytes]byte) //nolint:forcetypeassert // it holds nothing else
	defer gathers.Put(buf)
	gathered := buf[:0]
	for _, e := range entries {
		p := w.encoded(e)
		if len(gathered)+len(p) > gatherBytes {
			w.write(gathered)
			gathered = gathered[:0]
		}
		if len(p) > gatherBytes {
			w.write(p)
		} else {
			gathered = append(gathered, p...)
		}
	}
	w.write(gathered)
}

// gathers has buffers to gather frames in: no stream keeps one while it waits.
var gathers = sync.Pool{New: func() any { return new([gatherBytes]byte) }}

func (w *wire) write(p []byte) {
	// By the piece, as the deadline is for each: a slow reader gets a large event too.
	for len(p) > 0 && w.err == nil {
		piece := p[:min(len(p), pieceBytes)]
		p = p[len(piece):]
		w.extend()
		_, w.err = w.out.Write(piece)
		if w.taken != nil {
			w.sent += len(piece)
		}
	}
}

// flush sends what was written.
func (w *wire) flush() {
	if w.err != nil {
		return
	}
	w.extend()
	if err := w.control.Flush(); !errors.Is(err, http.ErrNotSupported) {
		w.err = err
	}
	w.rest()
}

// rest is called when all that was written is flushed.
func (w *wire) rest() {
	if w.guard != nil {
		w.guard.off()
		w.deadline = time.Time{}
	}
}

// extend gives the connection at least stall to take what is written next. The deadline
// is moved now and then, not at each write.
func (w *wire) extend() {
	now := time.Now()
	if w.deadline.Sub(now) >= stall {
		return
	}
	w.deadline = now.Add(stall + 5*time.Second)
	_ = w.control.SetWriteDeadline(w.deadline) // where there is none, the transport has its own
}

// stalled says that writing ended because the connection took nothing.
func (w *wire) stalled() bool {
	return errors.Is(w.err, os.ErrDeadlineExceeded) || w.guard != nil && w.guard.stalled()
}
