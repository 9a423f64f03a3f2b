package handlers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/stream"

	"github.com/gin-gonic/gin"
)

// streamHeader tells a client the ID of its stream in GET /connections.
const streamHeader = "Freshet-Stream"

// streamEvents serves GET /event and GET /event/{topic}.
func (h *Handlers) streamEvents(c *gin.Context) {
	s, err := h.openStream(c)
	switch {
	case errors.Is(err, stream.ErrComplete):
		c.Status(http.StatusNoContent) // an EventSource stops
		return
	case err != nil:
		h.refuse(c, err)
		return
	}
	record := accessLogOf(c)
	record.Add(s.Attrs()...)
	out := stream.NewResponse(c.Writer, c.Request, h.streams.Stall())
	defer out.Close()
	loop := stream.NewLoop(s, out, h.handOff(c, s, out))
	defer func() {
		if !loop.HandedOff() {
			s.Close(loop.Reason())
			record.Add(s.ClosingAttrs(loop.Reason())...)
		}
	}()
	c.Header(streamHeader, connectionID(s))
	stream.OpenResponse(c.Writer, s.Format())
	c.Writer = streamWriter{c.Writer}
	c.Stream(func(io.Writer) bool { return loop.Step(c.Request.Context()) })
}

// openStream returns the stream that the request asks for.
func (h *Handlers) openStream(c *gin.Context) (*stream.Stream, error) {
	if c.Request.ContentLength != 0 { // the server would wait for the body as long as the stream is open
		return nil, fmt.Errorf("%w: a request for a stream has no body", errRequest)
	}
	if err := h.authenticateTicket(c); err != nil {
		return nil, err
	}
	q := stream.Request{Format: formatOf(c), Caller: auth.FromContext(c.Request.Context()), Address: networkOf(c),
		Transport: stream.TransportOf(c.Request.ProtoMajor, c.Request.ProtoMinor)}
	var err error
	if q.Patterns, q.Counter, q.Stats, err = h.parseTopics(c); err != nil {
		return nil, err
	}
	if q.LastEventID, q.Since, err = parsePosition(c); err != nil {
		return nil, err
	}
	var valid bool
	if q.Merge, valid = separatorOf(c, "merge"); !valid {
		return nil, &event.InvalidError{Field: "merge", Reason: "must be text or lines"}
	}
	s, err := h.streams.Open(c.Request.Context(), q)
	if err == nil && h.cfg.Tickets != nil && h.cfg.Tickets.Revoked(q.Caller) { // since its ticket was verified
		s.Stop(stream.Expired)
	}
	return s, err
}

// handOff returns a function that hands the stream over to the park; nil if the connection
// cannot be parked: over TLS or HTTP/2 the server does not write to the socket itself, and
// HTTP/1.0 has no chunks.
func (h *Handlers) handOff(c *gin.Context, s *stream.Stream, out *stream.Response) func() bool {
	r := c.Request
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	_, tcp := local.(*net.TCPAddr)
	if h.park == nil || !tcp || r.TLS != nil || r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return nil
	}
	return func() bool {
		if h.streams.Draining() {
			return false
		}
		conn, rw, err := out.Control().Hijack()
		if err != nil {
			return false
		}
		finish := accessLogOf(c).Detach()
		s.OnClose(func(why stream.Reason) { finish(s.Bytes(), append(s.Attrs(), s.ClosingAttrs(why)...)...) })
		if err = rw.Flush(); err == nil {
			err = h.park.Enter(conn, s)
		}
		if err != nil { // net/http does not take a connection back
			h.logger.Warn("a connection could not be parked and was closed; its client resumes", "error", err)
			_ = conn.Close()
			s.Close(stream.Gone)
		}
		return true
	}
}

// refuse answers a request for a stream that is not opened. An EventSource stops for good at any
// status but 200. So where the client should come back, it gets a stream whose only event, busy,
// says why and when.
func (h *Handlers) refuse(c *gin.Context, err error) {
	status, p := problemOf(err)
	comeBack := status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
	if !comeBack || !strings.Contains(c.GetHeader("Accept"), "text/event-stream") {
		fail(c, err)
		return
	}
	_ = c.Error(err) // for the request log
	countError(c, p.Code)
	closeIfDraining(c, err)
	wait := stream.Jitter(5*time.Second, 30*time.Second)
	if errors.Is(err, stream.ErrDraining) { // after the drain, the client finds the next server
		wait = h.streams.DrainLeft() + h.streams.Retry()
	}
	f := formatOf(c)
	stream.OpenResponse(c.Writer, f)
	_, _ = c.Writer.Write(f.AppendEvent(nil, event.Busy(p.Code, wait)))
}

// streamWriter is a Gin writer that c.Stream works with everywhere: Gin's own panics on a
// writer without CloseNotify, and on a Flush after the connection was handed off.
type streamWriter struct{ gin.ResponseWriter }

// CloseNotify never notifies: the loop watches its request's context.
func (streamWriter) CloseNotify() <-chan bool { return nil }

// Flush does nothing: c.Stream calls it after each step, which has flushed already.
func (streamWriter) Flush() {}

// Unwrap lets http.ResponseController through.
func (w streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
