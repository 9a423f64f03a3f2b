package stream

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"freshet/event"
	"freshet/hub"
)

// pieceBytes is how much is written under one deadline, and how much of small events is
// gathered into one write.
const pieceBytes = 32 << 10

// Response writes a stream to an HTTP response. Its writes block, but no longer than the
// stall time without the client taking something.
type Response struct {
	out      http.ResponseWriter
	flushed  bool
	control  *http.ResponseController
	stall    time.Duration
	deadline time.Time           // of the writes now
	http2    *http2WriteDeadline // nil for HTTP/1
	unread   unread
	err      error // the first error; nothing is written after it
}

// NewResponse returns an output that writes to w, in the format that the request's stream
// has. The caller closes it before its handler returns.
func NewResponse(w http.ResponseWriter, r *http.Request, stall time.Duration) *Response {
	under := w
	for {
		u, ok := under.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		under = u.Unwrap() // only the server's own writer returns the errors of a flush
	}
	out := &Response{out: w, control: http.NewResponseController(under), stall: stall, unread: limitUnread(r)}
	if r.ProtoMajor >= 2 {
		out.http2 = newHTTP2WriteDeadline(out.control, stall)
	}
	return out
}

// OpenResponse sends the headers of a stream. The status is 200 from here on.
func OpenResponse(w http.ResponseWriter, f event.Format) {
	h := w.Header()
	h.Set("Content-Type", f.ContentType())
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx: pass on at once
	w.WriteHeader(http.StatusOK)
}

// Control controls the connection under the response.
func (r *Response) Control() *http.ResponseController { return r.control }

// Close turns the deadline off, and the limit of what the client sends.
func (r *Response) Close() {
	r.unread.release()
	if r.http2 != nil {
		r.http2.close()
	}
}

// Blocked is false: writes wait instead.
func (r *Response) Blocked() bool { return false }

// Write writes events of this stream alone.
func (r *Response) Write(p event.Encoded) error { return r.write(p.Bytes) }

// WriteEntries gathers small entries, because many writes cost more than a copy.
func (r *Response) WriteEntries(entries []*hub.Entry, f event.Format) (int, error) {
	if len(entries) == 1 {
		return 1, r.write(entries[0].Encoded(f).Bytes)
	}
	buf := pieces.Get().(*[pieceBytes]byte) //nolint:forcetypeassert // it holds nothing else
	defer pieces.Put(buf)
	piece := buf[:0]
	for _, e := range entries {
		p := e.Encoded(f).Bytes
		if len(piece)+len(p) > pieceBytes {
			_ = r.write(piece) // its error is kept
			piece = piece[:0]
		}
		if len(p) > pieceBytes {
			_ = r.write(p)
		} else {
			piece = append(piece, p...)
		}
	}
	return len(entries), r.write(piece)
}

// pieces has buffers to gather events in: an idle stream keeps none.
var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

func (r *Response) write(p []byte) error {
	// In pieces, each under a deadline of its own: a slow client gets a large event too.
	for len(p) > 0 && r.err == nil {
		piece := p[:min(len(p), pieceBytes)]
		p = p[len(piece):]
		r.extendDeadline()
		_, err := r.out.Write(piece)
		r.fail(err)
	}
	return r.err
}

// Flush sends what was written.
func (r *Response) Flush() error {
	if r.err != nil {
		return r.err
	}
	r.extendDeadline()
	if flusher, ok := r.out.(http.Flusher); ok && !r.flushed {
		flusher.Flush() // middleware takes the first flush for the opening of a stream
	}
	r.flushed = true
	if err := r.control.Flush(); !errors.Is(err, http.ErrNotSupported) {
		r.fail(err)
	}
	if r.http2 != nil {
		r.http2.off() // between two writes, HTTP/2 must have no deadline
		r.deadline = time.Time{}
	}
	r.fail(r.unread.check())
	return r.err
}

func (r *Response) fail(err error) {
	if err == nil || r.err != nil {
		return
	}
	if r.err = err; errors.Is(err, os.ErrDeadlineExceeded) || r.http2 != nil && r.http2.expired() {
		r.err = ErrStalled
	}
}

// extendDeadline gives the client at least the stall time to take what is written next. The
// deadline moves now and then, not at each write.
func (r *Response) extendDeadline() {
	now := time.Now()
	if r.deadline.Sub(now) >= r.stall {
		return
	}
	r.deadline = now.Add(r.stall + r.stall/6)
	if r.http2 != nil {
		r.http2.set(r.deadline)
		return
	}
	_ = r.control.SetWriteDeadline(r.deadline) // where there is none, the transport has its own
}

// http2WriteDeadline is the write deadline of an HTTP/2 stream. The deadline of net/http
// ends such a stream when it passes even if nothing is being written, unlike that of a
// connection; this one is on only from a write to its flush.
type http2WriteDeadline struct {
	control *http.ResponseController
	timer   *time.Timer

	mu     sync.Mutex
	closed bool // the response must not be touched any more
	fired  bool
}

func newHTTP2WriteDeadline(control *http.ResponseController, stall time.Duration) *http2WriteDeadline {
	d := &http2WriteDeadline{control: control}
	_ = control.SetWriteDeadline(time.Time{}) // removes the server's; HTTP/2 supports it
	d.timer = time.AfterFunc(stall, d.fire)
	d.timer.Stop()
	return d
}

func (d *http2WriteDeadline) set(deadline time.Time) { d.timer.Reset(time.Until(deadline)) }

func (d *http2WriteDeadline) off() { d.timer.Stop() }

// fire resets the HTTP/2 stream, which ends the write that waits.
func (d *http2WriteDeadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.fired = true
		_ = d.control.SetWriteDeadline(time.Unix(1, 0)) // at once
	}
}

func (d *http2WriteDeadline) expired() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fired
}

func (d *http2WriteDeadline) close() {
	d.timer.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}
