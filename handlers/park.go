package handlers

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/hub"
	"freshet/park"

	"github.com/gin-gonic/gin"
)

// parked is a stream that may leave its handler: while it is caught up, the park holds its
// connection; while it is not, a goroutine of its own does.
type parked struct {
	h              *Handlers
	caller         auth.Caller
	sub            *hub.Subscriber
	counter, stats bool
	ndjson         bool
	address        netip.Prefix
	from           event.ID
	leash          *leash                             // nil: the reader may read for ever
	done           func(bytes int, more ...slog.Attr) // completes the request's log record
	connection     connection
}

// parkable says whether the stream can be parked: over TLS or HTTP/2, what is written to the
// socket is not ours, and HTTP/1.0 has no chunks.
func (h *Handlers) parkable(c *gin.Context) bool {
	r := c.Request
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	_, tcp := local.(*net.TCPAddr) // nor can what is no socket
	return h.park != nil && tcp && r.TLS == nil && r.ProtoMajor == 1 && r.ProtoMinor == 1
}

// takeOver takes the connection from net/http. It is nil if net/http does not give it away.
func (p *parked) takeOver(c *gin.Context, w *wire) (net.Conn, error) {
	conn, rw, err := w.response.Hijack()
	if err != nil {
		return nil, err
	}
	// The log's record outlives its request from here on.
	p.done = accessLogOf(c).Detach()
	w.sent += max(0, c.Writer.Size())
	return conn, rw.Flush()
}

// attrs is what the log's record has of the stream.
func (p *parked) attrs(more ...slog.Attr) []slog.Attr {
	return append([]slog.Attr{slog.String("topics", strings.Join(p.topics(), " ")), slog.String("from", p.from.String())}, more...)
}

// topics are the names of what the stream sends.
func (p *parked) topics() []string {
	topics := []string{}
	for _, pattern := range p.sub.Patterns() {
		topics = append(topics, pattern.String())
	}
	if p.counter {
		topics = append(topics, event.TopicCounter.String())
	}
	if p.stats {
		topics = append(topics, event.TopicStats.String())
	}
	return topics
}

// park hands the stream over, which has nothing to write now. It returns false if the stream
// stays with its goroutine.
func (s *stream) park() bool {
	select {
	case <-s.h.gate.draining:
		return false
	default:
	}
	if s.owner == nil {
		return false
	}
	conn, err := s.takeOver()
	s.owner.connection.parked.Store(err == nil) // before it may come back
	if err == nil {
		err = s.h.park.Enter(conn, park.Stream{
			Sub: s.sub, Counter: s.owner.counter, Stats: s.owner.stats, Lines: s.owner.ndjson, Owner: s.owner,
			Account: park.Account{Count: s.count, Events: s.wire.events, Bytes: s.wire.sent},
		})
	}
	if err == nil {
		return true
	}
	s.h.logger.Debug("a stream is not parked", "error", err)
	s.owner.connection.parked.Store(false)
	s.owner = nil // it goes on as it is
	if conn != nil {
		s.wire.take(conn) // it is ours now
	}
	return false
}

// Behind reads from the log for the stream until it has caught up.
func (p *parked) Behind(ctx context.Context, conn net.Conn, a park.Account) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // no write outlasts it
	p.connection.parked.Store(false)
	s := p.h.newStream(ctx, p.sub, p.counter, p.stats)
	defer s.stop()
	s.count, s.owner, s.leash = a.Count, p, p.leash
	s.wire = &wire{events: a.Events, sent: a.Bytes, ndjson: p.ndjson}
	s.wire.take(conn)
	s.takeOver = func() (net.Conn, error) { return conn, nil }
	p.sub.Rewake(s.wake)
	for s.step(nil) {
	}
	if s.reason == reasonParked {
		return
	}
	p.sub.Close()
	s.wire.close(s.ended())
	p.end(s.wire.sent, s.wire.events, s.reason)
}

// Why is asked by the park.
func (p *parked) Why() park.Reason { return p.leash.reason() }

// Ended is told by the park.
func (p *parked) Ended(a park.Account, why park.Reason) {
	if why == park.Stalled {
		p.h.stats.stalled.Add(1)
	}
	p.end(a.Bytes, a.Events, string(why))
}

func (p *parked) end(bytes, events int, reason string) {
	p.done(bytes, p.attrs(slog.Int("events", events), slog.String("reason", reason))...)
	p.leave()
}

// leave is told once that the stream is over.
func (p *parked) leave() {
	p.h.gate.leave(p.address)
	p.leash.free()
	p.h.connections.remove(p)
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
