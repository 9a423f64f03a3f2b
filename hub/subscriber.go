package hub

import (
	"context"
	"errors"
	"sync/atomic"

	"freshet/event"
)

// ErrBehind says that what a subscriber is due next has left the window: read it from
// the log with [Subscriber.Replay].
var ErrBehind = errors.New("hub: the subscriber is behind the window")

// How much [Subscriber.Next] and [Subscriber.Replay] hand out at once. Memory that a
// replay holds is bounded by the second.
const (
	batchEvents = 1024
	batchBytes  = 256 << 10
	batchScan   = 16 * batchEvents // looked at, whether they match or not
)

// Subscriber is a cursor into the log for some patterns. It belongs to one reader at a time.
type Subscriber struct {
	hub      *Hub
	patterns event.Patterns
	format   event.Format
	wake     func()
	joined   uint64 // the hub's newest event when the subscriber came

	sent atomic.Uint64 // entries delivered

	// mark is 0 while the subscriber has been handed all that it is due; else no event
	// below it is due. The hub sets it from 0, the reader takes it back to 0.
	mark atomic.Uint64

	// The reader's.
	cursor   uint64 // everything due up to here has been handed out
	opening  *Entry // a gap to tell first
	lastFrom uint64 // how far the newest of each topic have been handed out,
	lastUpto uint64 // of those up to here; 0 if they were not asked for
}

// Next appends to dst what the subscriber is due from the window, at most about a
// thousand entries or 256 KiB. Once all has been handed out, wake is called, once, when
// there is more; when Next leaves something for the next call, it calls wake itself. The
// error is [ErrBehind] or nil.
func (s *Subscriber) Next(dst []*Entry) ([]*Entry, error) {
	if s.opening != nil {
		dst = append(dst, s.opening)
		s.opening = nil
		s.wake()
		return dst, nil
	}
	if s.lastUpto > 0 {
		return dst, ErrBehind
	}
	if s.cursor+1 < s.hub.overtaken.Load() {
		return dst, ErrBehind // the log knows whether anything is missing
	}
	// In this order: a mark that is gone was for an event up to settled, or is set again.
	settled := s.hub.settled.Load()
	from := s.mark.Swap(0)
	if from == 0 {
		s.cursor = max(s.cursor, settled)
		return dst, nil
	}
	from = max(from, s.cursor+1)
	head, n, size := s.hub.window.head.Load(), len(dst), 0
	for seq := from; seq <= head; seq++ {
		e, covered := s.hub.window.at(seq)
		full := len(dst)-n >= batchEvents || size >= batchBytes || seq-from >= batchScan
		if !covered || full {
			s.cursor = seq - 1
			s.mark.Store(seq) // below any mark that the hub may have set meanwhile
			if covered || len(dst) > n {
				s.wake()
				return dst, nil
			}
			return dst, ErrBehind
		}
		if e != nil && s.patterns.Match(e.Event.Topic()) {
			dst = append(dst, e)
			size += len(e.Event.Data())
		}
	}
	s.cursor = max(s.cursor, head)
	return dst, nil
}

// Patterns are what the subscriber selects, each once.
func (s *Subscriber) Patterns() event.Patterns { return s.patterns }

// Pending reports whether Next may have something to return. It may be called from anywhere.
func (s *Subscriber) Pending() bool { return s.mark.Load() != 0 }

// Sent is how many entries have been delivered. It may be called from anywhere.
func (s *Subscriber) Sent() uint64 { return s.sent.Load() }

// Lag is about how many events of the log, whatever their topics, the reader has not been
// handed that it may be due. It may be called from anywhere.
func (s *Subscriber) Lag() uint64 {
	mark, head := s.mark.Load(), s.hub.window.head.Load()
	if mark == 0 || mark > head {
		return 0
	}
	return head - mark + 1
}

// Return gives back an entry that Next has handed out, and those behind it: the next Next
// hands them out again. Nothing is waked.
func (s *Subscriber) Return(e *Entry) {
	s.cursor = e.seq() - 1
	s.mark.Store(e.seq()) // below any mark that the hub may have set meanwhile
}

// Replay returns what the subscriber is due next from the log, at most about a thousand
// entries or 256 KiB, none at the log's end. Go on with [Subscriber.Next]. It waits for
// its turn among the hub's replays and for the log, but never while its caller writes, so
// a slow reader holds up no other. The error is the log's, or ctx's.
func (s *Subscriber) Replay(ctx context.Context) ([]*Entry, error) {
	for {
		// Each piece waits for its turn, so that one who finds little holds up nobody.
		entries, more, err := s.replayPiece(ctx)
		if len(entries) > 0 || err != nil || !more {
			return entries, err
		}
	}
}

func (s *Subscriber) replayPiece(ctx context.Context) (entries []*Entry, more bool, err error) {
	if err := s.hub.enterLog(ctx); err != nil {
		return nil, false, err
	}
	defer s.hub.leaveLog()
	if s.lastUpto > 0 {
		entries, err = s.replayLast(ctx)
		return entries, true, err
	}
	start := s.cursor
	read, upto, err := s.collect(ctx, s.hub.log.Read, start)
	if err != nil {
		return nil, false, err
	}
	first, last := start+1, upto+1
	if uint64(len(read)) < max(upto-start, 1) { // else no sequence is missing
		// Looked at after the read: retention may have overtaken it.
		if first, last, err = s.hub.log.Bounds(ctx); err != nil {
			return nil, false, err
		}
	}
	if s.opening != nil {
		entries, s.opening = append(entries, s.opening), nil
	}
	if start+1 < first {
		// Between those that retention has taken since, others may be missing already: the
		// gap is over all of them, and behind it is everything.
		for len(read) > 0 && read[0].seq() < first {
			read = read[1:]
		}
		upto = max(upto, first-1)
		resumed := upto
		if len(read) > 0 {
			resumed = read[0].seq() - 1
		}
		entries = append(entries, s.expired(first, resumed))
	}
	s.cursor = upto
	s.mark.Store(upto + 1)
	return append(entries, read...), start < upto && upto < last, nil
}

// replayLast hands out the newest event of each topic up to where the subscriber began.
// What came later is due anyway.
func (s *Subscriber) replayLast(ctx context.Context) ([]*Entry, error) {
	read, upto, err := s.collect(ctx, s.hub.log.ReadLast, s.lastFrom)
	if err != nil {
		return nil, err
	}
	for len(read) > 0 && read[len(read)-1].seq() > s.lastUpto {
		read = read[:len(read)-1]
	}
	if s.lastFrom = upto; upto >= s.lastUpto {
		s.lastUpto = 0
	}
	return read, nil
}

type readFunc func(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error)

func (s *Subscriber) collect(ctx context.Context, read readFunc, after uint64) (entries []*Entry, upto uint64, err error) {
	full, size := errors.New("full"), 0
	upto, err = read(ctx, after, s.patterns, batchEvents, func(e event.Event) error {
		if size >= batchBytes {
			return full
		}
		entry := newEntry(e, s.format)
		entries = append(entries, entry)
		size += len(e.Data())
		return nil
	})
	if errors.Is(err, full) {
		err = nil
	}
	return entries, upto, err
}

func (s *Subscriber) expired(first, resumed uint64) *Entry {
	return newEntry(event.Gap{
		Requested: s.hub.id(s.cursor).String(),
		First:     s.hub.id(first),
		Resumed:   s.hub.id(resumed),
		Reason:    event.GapExpired,
	}.Event(), s.format)
}

// Cursor returns the ID behind which the subscriber has not been handed anything: what a
// reader that is cut off now should resume from. It is the zero ID while there is no such
// place, as long as the newest of each topic are being handed out.
func (s *Subscriber) Cursor() event.ID {
	if s.lastUpto > 0 {
		return event.ID{}
	}
	return s.hub.id(s.cursor)
}

// Close ends the subscription. wake may still be called once while Close runs.
func (s *Subscriber) Close() {
	for _, p := range s.patterns {
		_ = s.hub.matcher.Remove(p.String(), s) // it is there: subscribe put it there
	}
	s.hub.counters.subscribers.Add(-1)
	if s.format == event.Lines {
		s.hub.lines.Add(-1)
	}
}
