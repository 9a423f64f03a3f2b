package handlers

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"freshet/event"
	"freshet/hub"
	"freshet/park"

	"github.com/gin-gonic/gin"
)

// parked is a stream that has left its handler: while it is caught up, the park holds its
// connection; while it is not, a goroutine of its own does.
type parked struct {
	h              *Handlers
	sub            *hub.Subscriber
	counter, stats bool
	address        netip.Prefix
	done           func(bytes int, more ...slog.Attr) // completes the request's log record
}

// parkable returns how the stream can be parked; nil if it cannot: over TLS or HTTP/2, what
// is written to the socket is not ours, NDJSON has no shared bytes, and HTTP/1.0 no chunks.
func (h *Handlers) parkable(c *gin.Context, s *stream, address netip.Prefix) *parked {
	r := c.Request
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if _, tcp := local.(*net.TCPAddr); !tcp { // nor can what is no socket
		return nil
	}
	if h.park == nil || s.wire.ndjson || r.TLS != nil || r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return nil
	}
	p := &parked{h: h, sub: s.sub, counter: s.counter != nil, stats: s.stats != nil, address: address, done: func(int, ...slog.Attr) {}}
	s.takeOver = func() (net.Conn, error) {
		conn, rw, err := s.wire.response.Hijack()
		if err != nil {
			return nil, err
		}
		// The log's record outlives its request from here on.
		if detach, ok := c.Get("log.detach"); ok {
			p.done = detach.(func() func(int, ...slog.Attr))() //nolint:errcheck,forcetypeassert // the middleware's word for it
		}
		s.wire.sent += max(0, c.Writer.Size())
		return conn, rw.Flush()
	}
	return p
}

// park hands the stream over, which has nothing to write now. It returns false if the stream
// stays with its goroutine.
func (s *stream) park() bool {
	select {
	case <-s.h.gate.draining:
		return false
	default:
	}
	if s.owner == nil || s.takeOver == nil {
		return false
	}
	conn, err := s.takeOver()
	if conn == nil {
		s.owner = nil
		return false
	}
	if err == nil {
		err = s.h.park.Enter(conn, park.Stream{
			Sub: s.sub, Counter: s.owner.counter, Stats: s.owner.stats, Owner: s.owner,
			Account: park.Account{Count: s.count, Events: s.wire.events, Bytes: s.wire.sent, SentID: s.sentID},
		})
	}
	if err == nil {
		return true
	}
	// It is ours now, and cannot be parked: go on as it is.
	s.h.logger.Debug("a stream is not parked", "error", err)
	s.wire.take(conn)
	s.takeOver = nil
	return false
}

// Behind has a goroutine read from the log for the stream until it has caught up.
func (p *parked) Behind(conn net.Conn, a park.Account, rest []byte) {
	go func() {
		s := p.h.newStream(context.Background(), p.sub, p.counter, p.stats)
		defer s.stop()
		s.count, s.sentID, s.owner = a.Count, a.SentID, p
		s.wire = &wire{events: a.Events, sent: a.Bytes}
		s.wire.take(conn)
		s.wire.plain(rest)
		s.takeOver = func() (net.Conn, error) { return conn, s.wire.err }
		p.sub.Rewake(s.wake)
		for s.step(nil) {
		}
		if s.reason != reasonParked {
			p.finish(s)
		}
	}()
}

// finish ends a stream that its handler has left to a goroutine.
func (p *parked) finish(s *stream) {
	p.sub.Close()
	s.wire.close(s.reason == string(park.Drained))
	p.end(s.wire.sent, s.wire.events, s.reason)
}

// Ended is told by the park.
func (p *parked) Ended(a park.Account, why park.Reason) {
	if why == park.Stalled {
		p.h.stats.stalled.Add(1)
	}
	p.end(a.Bytes, a.Events, string(why))
}

func (p *parked) end(bytes, events int, reason string) {
	p.done(bytes, slog.Int("events", events), slog.String("reason", reason))
	p.h.gate.leave(p.address)
}

// chunked writes to a connection that was taken over in the middle of a chunked answer
// (RFC 9112, 7.1). What is written between two flushes is one chunk.
type chunked struct {
	conn net.Conn
	buf  []byte
}

func (c *chunked) Write(p []byte) (int, error) {
	c.buf = append(c.buf, p...)
	if len(c.buf) >= pieceBytes {
		return len(p), c.Flush()
	}
	return len(p), nil
}

// Flush sends the chunk.
func (c *chunked) Flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	chunk := strconv.AppendUint(nil, uint64(len(c.buf)), 16)
	chunk = append(append(append(chunk, "\r\n"...), c.buf...), "\r\n"...)
	c.buf = c.buf[:0]
	_, err := c.conn.Write(chunk)
	return err
}

// SetWriteDeadline sets that of the connection.
func (c *chunked) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

// newPark returns the park for the streams; nil where there is none.
func (h *Handlers) newPark() (*park.Park, error) {
	return park.New(park.Config{
		CounterInterval: h.cfg.CounterInterval,
		StatsInterval:   statsInterval,
		Heartbeat:       h.cfg.Heartbeat,
		Stall:           stall,
		Stats:           func() *event.Event { return h.stats.latest.Load() },
		Retry:           func() time.Duration { return h.jitter(h.cfg.RetryMin, h.cfg.RetryMax) },
	})
}
