package handlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/hub"
	"freshet/park"

	"github.com/gin-gonic/gin"
)

// stream is one connection's event stream. One goroutine runs it, a step at a time.
type stream struct {
	h     *Handlers
	ctx   context.Context //nolint:containedctx // the request's: it lives as long as the stream
	wire  *wire
	sub   *hub.Subscriber
	ready chan struct{} // holds a token when there may be something to read

	// A nil channel is something that this stream does not have.
	counter   <-chan time.Time
	stats     <-chan time.Time
	heartbeat *time.Timer
	draining  <-chan struct{}
	over      <-chan time.Time // set when the drain begins

	count  uint64
	sentID time.Time // when an ID was last sent
	reason string    // why the stream ended

	leash    *leash                   // nil: the reader may read for ever
	owner    *parked                  // of the stream when it is parked; nil: it never is
	takeOver func() (net.Conn, error) // takes the connection from net/http
	timers   []func()                 // what stops them
}

// reasonParked: the stream goes on without its goroutine.
const reasonParked = "parked"

// newStream returns a stream without its wire and its place. The caller stops it.
func (h *Handlers) newStream(ctx context.Context, sub *hub.Subscriber, counter, stats bool) *stream {
	s := &stream{h: h, ctx: ctx, sub: sub, ready: make(chan struct{}, 1), draining: h.gate.draining}
	if d := h.cfg.CounterInterval; counter && d > 0 {
		ticker := time.NewTicker(d)
		s.counter, s.timers = ticker.C, append(s.timers, ticker.Stop)
	}
	if stats {
		ticker := time.NewTicker(statsInterval)
		s.stats, s.timers = ticker.C, append(s.timers, ticker.Stop)
	}
	s.heartbeat = time.NewTimer(h.cfg.Heartbeat)
	s.timers = append(s.timers, func() { s.heartbeat.Stop() })
	if h.cfg.Heartbeat == 0 {
		s.heartbeat.Stop()
	}
	return s
}

func (s *stream) stop() {
	for _, stop := range s.timers {
		stop()
	}
}

// stream serves GET /event and GET /event/{topic}.
func (h *Handlers) stream(c *gin.Context) {
	s, p := h.admit(c)
	if s == nil {
		return
	}
	// In functions of their own: what lies on the stack here does so for as long as the stream
	// lasts, and some hundred bytes more would double its goroutine's stack.
	defer s.leave(p)
	out := c.Writer
	c.Writer = streamWriter{out}
	s.wire = newWire(c)
	defer s.wire.guarded(c)()
	s.begin(c, p, out)
	s.open(out)
	if h.parkable(c) {
		s.owner, s.takeOver = p, func() (net.Conn, error) { return p.takeOver(c, s.wire) }
	}
	c.Stream(s.step)
	s.close(c, p)
}

// admit returns the stream that is asked for, in its place and counted; nil if it has turned
// the caller away.
func (h *Handlers) admit(c *gin.Context) (*stream, *parked) {
	if c.Request.ContentLength != 0 { // the server would wait for it, for as long as the stream is open
		fail(c, fmt.Errorf("%w: a request for a stream has no body", errRequest))
		return nil, nil
	}
	err := h.authenticateTicket(c)
	var patterns event.Patterns
	var counter, stats bool
	if err == nil {
		patterns, counter, stats, err = h.parseTopics(c)
	}
	if errors.Is(err, auth.ErrUnavailable) {
		h.refuse(c, err)
		return nil, nil
	}
	if err != nil {
		fail(c, err)
		return nil, nil
	}
	lastEventID, since, err := parsePlace(c)
	if err != nil {
		fail(c, err)
		return nil, nil
	}
	address := networkOf(c)
	if err := h.gate.enter(address); err != nil {
		h.refuse(c, err)
		return nil, nil
	}
	s := h.newStream(c.Request.Context(), nil, counter, stats)
	s.sub, err = h.hub.Subscribe(s.ctx, hub.Request{
		Patterns: patterns, LastEventID: lastEventID, Since: since, Lines: wantsNDJSON(c), Wake: s.wake,
	})
	if err != nil {
		s.stop()
		h.gate.leave(address)
		h.refuse(c, err)
		return nil, nil
	}
	caller := auth.FromContext(c.Request.Context())
	s.leash = newLeash(s.sub, caller)
	p := &parked{h: h, caller: caller, sub: s.sub, leash: s.leash, counter: counter, stats: stats, ndjson: wantsNDJSON(c), address: address, from: s.sub.Cursor()}
	h.connections.add(p)
	if caller.Ticket().ID != "" && h.cfg.Tickets.Revoked(caller) { // since it was verified, and before endIf could find the stream
		s.leash.end()
	}
	return s, p
}

// leave gives back what admit has taken, unless the stream goes on elsewhere.
func (s *stream) leave(p *parked) {
	s.stop()
	if s.reason != reasonParked {
		s.sub.Close()
		p.leave()
	}
}

// begin writes the headers and the first frame.
func (s *stream) begin(c *gin.Context, p *parked, out gin.ResponseWriter) {
	accessLogOf(c).Add(p.attrs()...)
	s.wire.open(out)
	s.wire.cursor(s.sub.Cursor(), s.h.jitter(s.h.cfg.RetryMin, s.h.cfg.RetryMax))
	s.sentID = time.Now()
	if p.stats {
		s.sendStats()
	}
}

// close completes the log's record, unless the stream goes on elsewhere.
func (s *stream) close(c *gin.Context, p *parked) {
	switch {
	case s.reason == reasonParked:
	case s.wire.taken != nil:
		s.wire.close(s.ended())
		p.done(s.wire.sent, p.attrs(slog.Int("events", s.wire.events), slog.String("reason", s.reason))...)
	default:
		accessLogOf(c).Add(slog.Int("events", s.wire.events), slog.String("reason", s.reason))
	}
}

// open sends what was written, and with it what is due and at hand: one write for who comes
// back. The rest is for the steps.
func (s *stream) open(out gin.ResponseWriter) {
	batch := batches.Get().(*[]*hub.Entry) //nolint:forcetypeassert // it holds nothing else
	entries, err := s.sub.Next((*batch)[:0])
	defer giveBack(batch, entries)
	if err == nil { // else it is that the log is to be read
		s.wire.entries(entries)
	}
	out.Flush()
	s.wire.rest()
	s.delivered(entries)
}

// step waits for what comes first and writes it. It returns false when the stream is over.
func (s *stream) step(io.Writer) bool {
	select {
	case <-s.ctx.Done():
		return s.end("gone")
	case <-s.draining:
		s.draining, s.over = nil, time.After(rand.N(s.h.gate.rest()+1)) //nolint:gosec // spread, not secret
	case <-s.over:
		s.sayDrain()
		return s.end(string(park.Drained))
	case <-s.counter:
		s.count++
		s.wire.event(event.Counter(s.count))
	case <-s.stats:
		s.sendStats()
	case <-s.heartbeat.C:
		return s.deliver() && s.beat()
	case <-s.ready:
		return s.deliver()
	}
	return s.sent()
}

// deliver writes what the subscriber is due.
func (s *stream) deliver() bool {
	batch := batches.Get().(*[]*hub.Entry) //nolint:forcetypeassert // it holds nothing else
	entries, err := s.sub.Next((*batch)[:0])
	defer func() { giveBack(batch, entries) }()
	if errors.Is(err, hub.ErrBehind) {
		entries, err = s.sub.Replay(s.ctx)
		s.wake() // the window may have more
	}
	if errors.Is(err, hub.ErrEnded) {
		return s.sayEnded()
	}
	if err != nil {
		if s.ctx.Err() != nil {
			return s.end("gone")
		}
		s.h.logger.Warn("replay", "error", err)
		return s.end("log unavailable")
	}
	if len(entries) == 0 {
		if s.park() {
			return s.end(reasonParked)
		}
		return true
	}
	s.wire.entries(entries)
	if !s.sent() {
		return false
	}
	if s.owner != nil {
		s.wake() // to look once more, and be parked
	}
	s.delivered(entries)
	return true
}

// sayEnded sends those of a stream that was ended from outside.
func (s *stream) sayEnded() bool {
	why := s.leash.reason()
	if why != park.Expired {
		s.sayDrain()
	} else {
		s.wire.event(event.AuthExpired())
		s.wire.flush()
	}
	return s.end(string(why))
}

// sayDrain sends the last words of a stream whose reader is to come back.
func (s *stream) sayDrain() {
	s.wire.cursor(event.ID{}, s.h.jitter(s.h.cfg.RetryMin, s.h.cfg.RetryMax))
	s.wire.event(event.Drain())
	s.wire.flush()
}

// delivered counts entries that were written.
func (s *stream) delivered(entries []*hub.Entry) {
	if len(entries) > 0 && s.wire.err == nil {
		s.sentID = time.Now()
		s.sub.Delivered(entries, s.sentID)
	}
}

// batches has slices for what is handed out at once: thousands of streams that wait need none.
var batches = sync.Pool{New: func() any { return new([]*hub.Entry) }}

// giveBack gives a batch back, without the entries: those that leave the window are not to
// live on there.
func giveBack(batch *[]*hub.Entry, entries []*hub.Entry) {
	clear(entries)
	if cap(entries) <= 2048 { // what grew larger is not kept
		*batch = entries
	}
	batches.Put(batch)
}

// beat sends the cursor if no ID has been sent for the heartbeat's time: proxies see
// traffic, and the reader's last event ID moves past what its topics did not match.
func (s *stream) beat() bool {
	quiet := time.Since(s.sentID)
	if quiet >= s.h.cfg.Heartbeat {
		s.wire.cursor(s.sub.Cursor(), 0)
		if !s.sent() {
			return false
		}
		s.sentID, quiet = time.Now(), 0
	}
	s.heartbeat.Reset(s.h.cfg.Heartbeat - quiet)
	return true
}

func (s *stream) sendStats() {
	if e := s.h.stats.latest.Load(); e != nil {
		s.wire.event(*e)
	}
}

// sent flushes, and ends the stream if that failed.
func (s *stream) sent() bool {
	s.wire.flush()
	if s.wire.err == nil {
		return true
	}
	if s.wire.stalled() {
		s.h.stats.stalled.Add(1)
		return s.end("stalled")
	}
	return s.end("gone")
}

func (s *stream) end(reason string) bool {
	s.reason = reason
	return false
}

// ended says that the stream was ended from this side, and whole.
func (s *stream) ended() bool {
	return s.reason == string(park.Drained) || s.reason == string(park.Expired) || s.reason == string(park.Ended)
}

func (s *stream) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// refuse turns a stream away. A browser would take any other status than 200 as an order
// to stop for good, so it gets an empty stream that tells it when to come back.
func (h *Handlers) refuse(c *gin.Context, err error) {
	if !strings.Contains(c.GetHeader("Accept"), "text/event-stream") {
		fail(c, err)
		return
	}
	_ = c.Error(err) // for the request log
	leave(c, err)
	w := newWire(c)
	w.open(c.Writer)
	wait := h.jitter(5*time.Second, 30*time.Second)
	if errors.Is(err, errDraining) { // who comes after the drain finds the next server
		wait = h.gate.rest() + h.jitter(h.cfg.RetryMin, h.cfg.RetryMax)
	}
	w.cursor(event.ID{}, wait)
}

func (h *Handlers) jitter(least, most time.Duration) time.Duration {
	return least + rand.N(most-least+1) //nolint:gosec // spread, not secret
}

// streamWriter is a Gin writer that c.Stream takes anywhere: Gin's own panics on a writer
// without CloseNotify, and on a Flush once the connection is taken over.
type streamWriter struct{ gin.ResponseWriter }

// CloseNotify never notifies: the stream watches its request's context instead.
func (streamWriter) CloseNotify() <-chan bool { return nil }

// Flush is what c.Stream calls after each step, which has flushed already.
func (streamWriter) Flush() {}

// Unwrap lets http.ResponseController through.
func (w streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
