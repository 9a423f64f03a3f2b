package stream

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/hub"
)

// ErrStalled is the error of an [Output] whose client took nothing for too long.
var ErrStalled = errors.New("stream: the client takes nothing")

// Never is the time of a step that is not due at all.
const Never time.Duration = math.MaxInt64

// Output is where a step writes. Each method takes all of its argument unless the
// connection blocks; then it keeps the rest of a piece that is partly written.
type Output interface {
	// Write writes events of this stream alone.
	Write(p event.Encoded) error
	// WriteEntries writes shared entries and returns how many it took: fewer than all only
	// if the connection blocks.
	WriteEntries(entries []*hub.Entry, f event.Format) (n int, err error)
	// Blocked reports whether the connection takes nothing now.
	Blocked() bool
}

// Scratch is memory that a driver lends to a step, so that idle streams need none.
type Scratch struct {
	entries []*hub.Entry
	builder event.Builder
}

// Result says how a step went.
type Result struct {
	// Ended is why the stream is over; Open if it is not.
	Ended Reason
	// Behind: the next events have left the hub's window. The driver calls Replay, from any
	// goroutine, then Replayed, and then steps again.
	Behind bool
	// Wrote reports whether anything was written.
	Wrote bool
	// Next is when the next step is due if nothing wakes the stream before.
	Next time.Duration
}

// Stream is one connection's event stream.
type Stream struct {
	registry *Registry
	sub      *hub.Subscriber
	caller   auth.Caller
	driver   atomic.Pointer[func()] // what Wake calls
	stop     atomic.Uint32          // a Reason, set by Stop
	parked   atomic.Bool
	onClose  func(Reason)

	id      uint64
	opened  time.Duration
	address netip.Prefix
	places  int // in the limits of connections
	from    event.ID
	older   *Stream // in the registry's list
	newer   *Stream

	// The driver's. Times are since the registry was made.
	format      event.Format
	transport   Transport
	merge       *string // between the data of events that are written together; nil: they stay apart
	counter     bool
	stats       bool
	started     bool     // the opening is written
	replaying   bool     // Replay has the subscriber
	replaysFrom event.ID // the cursor when it began
	failed      bool     // Replay has failed
	counterAt   time.Duration
	statsAt     time.Duration
	heartbeatAt time.Duration
	expiresAt   time.Duration
	drainAt     time.Duration
	count       uint64
	events      int
	bytes       int
	backlog     []*hub.Entry // replayed, to be written
}

// Step writes everything that is due at now.
func (s *Stream) Step(now time.Duration, out Output, scratch *Scratch) Result {
	before := s.bytes
	reason, behind, err := s.step(now, out, scratch)
	if reason == Open {
		reason = ReasonOf(err)
	}
	if s.bytes != before {
		s.registry.bytes.Add(uint64(s.bytes - before))
	}
	return Result{Ended: reason, Behind: behind, Wrote: s.bytes != before, Next: s.next(out)}
}

func (s *Stream) step(now time.Duration, out Output, scratch *Scratch) (over Reason, behind bool, err error) {
	if s.drainAt == Never {
		s.drainAt = s.registry.drawDrain(now)
	}
	switch stop := Reason(s.stop.Load()); {
	case s.failed:
		return LogUnavailable, false, nil
	case stop != Open:
		return stop, false, s.writeLast(stop, out, scratch)
	case now >= s.expiresAt:
		return Expired, false, s.writeLast(Expired, out, scratch)
	case now >= s.drainAt:
		return Drained, false, s.writeLast(Drained, out, scratch)
	case out.Blocked():
		return Open, false, nil
	}
	if !s.started {
		if err := s.writeOpening(now, out, scratch); err != nil || out.Blocked() {
			return Open, false, err
		}
	}
	if !s.replaying {
		if behind, err = s.deliver(now, out, scratch); err != nil || out.Blocked() {
			return Open, behind, err
		}
		if !behind && s.complete() {
			return Complete, false, nil
		}
	}
	return Open, behind, s.writeDue(now, out, scratch)
}

// complete reports whether nothing can follow, because all topics have ended.
func (s *Stream) complete() bool { return !s.counter && !s.stats && s.sub.Complete() }

// next is when the next step is due. A blocked connection only waits to be ended.
func (s *Stream) next(out Output) time.Duration {
	at := min(s.expiresAt, s.drainAt)
	if out.Blocked() {
		return at
	}
	return min(at, s.counterAt, s.statsAt, s.heartbeatAt)
}

func (s *Stream) writeOpening(now time.Duration, out Output, scratch *Scratch) error {
	s.started = true
	b := &scratch.builder
	b.Reset(s.format)
	b.Cursor(s.sub.Cursor(), s.registry.Retry())
	if s.stats {
		if e := s.registry.cfg.Stats(); e != nil {
			b.Event(*e)
			s.events++
		}
	}
	s.sentID(now)
	return s.write(out, b)
}

// deliver writes the backlog, then what the subscriber has in the hub's window.
func (s *Stream) deliver(now time.Duration, out Output, scratch *Scratch) (behind bool, err error) {
	if len(s.backlog) > 0 {
		n, err := s.writeEntries(now, s.backlog, out)
		clear(s.backlog[:n])
		if s.backlog = s.backlog[n:]; len(s.backlog) > 0 || err != nil {
			return false, err
		}
		s.backlog = nil
		if out.Blocked() {
			return false, nil
		}
	}
	entries, err := s.sub.Next(scratch.entries[:0])
	defer func() {
		clear(entries) // an entry that leaves the window must not live on here
		scratch.entries = entries
	}()
	if errors.Is(err, hub.ErrBehind) {
		s.replaying, s.replaysFrom = true, s.sub.Cursor()
		return true, nil
	}
	if len(entries) == 0 {
		return false, nil
	}
	n, err := s.writeEntries(now, entries, out)
	if n < len(entries) && err == nil {
		s.sub.Return(entries[n])
	}
	return false, err
}

func (s *Stream) writeEntries(now time.Duration, entries []*hub.Entry, out Output) (int, error) {
	written := entries
	var starts []int
	if s.merge != nil {
		written, starts = hub.Merge(entries, *s.merge, s.format)
	}
	n, err := out.WriteEntries(written, s.format)
	if n == 0 || err != nil {
		return n, err
	}
	for _, e := range written[:n] {
		s.bytes += len(e.Encoded(s.format).Bytes)
	}
	if s.merge != nil {
		n = starts[n]
	}
	s.events += n
	s.sentID(now)
	s.sub.Delivered(entries[:n], time.Now())
	return n, nil
}

// writeDue writes the counter, stats and the heartbeat whose times have come.
func (s *Stream) writeDue(now time.Duration, out Output, scratch *Scratch) error {
	cfg, b := &s.registry.cfg, &scratch.builder
	if now < min(s.counterAt, s.statsAt, s.heartbeatAt) {
		return nil
	}
	b.Reset(s.format)
	if now >= s.counterAt {
		s.counterAt = following(s.counterAt, now, cfg.CounterInterval)
		s.count++
		s.events++
		b.Event(event.Counter(s.count))
	}
	if now >= s.statsAt {
		s.statsAt = following(s.statsAt, now, cfg.StatsInterval)
		if e := cfg.Stats(); e != nil {
			s.events++
			b.Event(*e)
		}
	}
	if now >= s.heartbeatAt {
		cursor := s.replaysFrom // Replay has the subscriber, and may wait long
		if !s.replaying {
			cursor = s.sub.Cursor()
		}
		b.Cursor(cursor, 0)
		s.sentID(now)
	}
	return s.write(out, b)
}

// following is the first time of the interval after now: missed ones are skipped.
func following(at, now, interval time.Duration) time.Duration {
	return at + interval*((now-at)/interval+1)
}

// writeLast writes the last event of a stream that the server ends.
func (s *Stream) writeLast(why Reason, out Output, scratch *Scratch) error {
	if out.Blocked() {
		return nil
	}
	b := &scratch.builder
	b.Reset(s.format)
	if why == Expired {
		b.Event(event.AuthExpired())
	} else {
		b.Event(event.Drain(s.registry.Retry()))
	}
	s.events++
	return s.write(out, b)
}

func (s *Stream) write(out Output, b *event.Builder) error {
	p := b.Encoded()
	if len(p.Bytes) == 0 {
		return nil
	}
	s.bytes += len(p.Bytes)
	return out.Write(p)
}

// sentID postpones the heartbeat. Streams that got one event at one moment send their heartbeats over a sixteenth of the
// interval.
func (s *Stream) sentID(now time.Duration) {
	if d := s.registry.cfg.Heartbeat; d > 0 {
		s.heartbeatAt = now + d - Jitter(0, d/16)
	}
}

// Replay reads from the log what the stream is due next, after a step that was behind. It
// waits for the log, so a driver of many streams calls it from another goroutine.
func (s *Stream) Replay(ctx context.Context) ([]*hub.Entry, error) {
	entries, err := s.sub.Replay(ctx)
	if err != nil && ctx.Err() == nil {
		s.registry.cfg.Logger.Warn("a stream cannot read the log", "error", err)
	}
	return entries, err
}

// Replayed takes the result of Replay; the next step writes it.
func (s *Stream) Replayed(entries []*hub.Entry, err error) {
	s.replaying = false
	s.backlog, s.failed = entries, err != nil
}

// Drive makes Wake call the function from now on. It calls it at once if something may
// have happened meanwhile. The function must not block.
func (s *Stream) Drive(wake func()) {
	s.driver.Store(&wake)
	if s.sub.Pending() || s.stop.Load() != uint32(Open) || s.registry.Draining() {
		wake()
	}
}

// Wake tells the driver to step the stream soon.
func (s *Stream) Wake() {
	if wake := s.driver.Load(); wake != nil {
		(*wake)()
	}
}

// Stop ends the stream for the reason: its next step writes the last event. Only the first
// reason counts.
func (s *Stream) Stop(why Reason) {
	s.stop.CompareAndSwap(uint32(Open), uint32(why))
	s.Wake()
}

// SetParked notes whether the stream is held without a goroutine of its own.
func (s *Stream) SetParked(parked bool) { s.parked.Store(parked) }

// OnClose has Close call the function.
func (s *Stream) OnClose(f func(Reason)) { s.onClose = f }

// Format is how the stream is written.
func (s *Stream) Format() event.Format { return s.format }

// Close removes the stream from the hub and the registry. The driver calls it once, after
// its last step.
func (s *Stream) Close(why Reason) {
	s.sub.Close()
	s.registry.remove(s, why)
	if s.onClose != nil {
		s.onClose(why)
	}
}
