package hub

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"freshet/event"
)

// ErrBehind says that the next event of a subscriber has left the window: call [Subscriber.Replay].
var ErrBehind = errors.New("hub: the subscriber is behind the window")

// Limits of one call of [Subscriber.Next] or [Subscriber.Replay].
const (
	batchEvents = 1024
	batchBytes  = 256 << 10        // of data that Next returns
	batchScan   = 16 * batchEvents // sequences that Next looks at, whether they match or not
	pieceBytes  = 512 << 10        // of memory that Replay's entries take, unless one alone takes more
)

// Subscriber is a cursor into the log for some patterns. One reader at a time uses it, except for the methods that
// say otherwise.
type Subscriber struct {
	hub          *Hub
	patterns     event.Patterns
	format       event.Format
	wake         func()
	subscribedAt uint64 // the hub's newest event at Subscribe

	sent   atomic.Uint64
	closed atomic.Bool

	// dueFrom is 0 if nothing is due, else no event below it is due. The hub changes it from 0 to the first event that
	// matches. The reader sets it back to 0.
	dueFrom atomic.Uint64

	// The reader's.
	cursor uint64        // everything due up to here has been returned
	gap    *Entry        // to return first
	ended  []event.Topic // that have ended up to the cursor, if all patterns are topics
	ahead  *ahead        // nil: the log has come as far as the cursor
	// For Since.Last: the newest event of each topic is still to be returned, if it is after the first and up to the
	// second of these. The second is 0 when all have been returned.
	perTopicAfter, perTopicUpto uint64
	large                       int64       // more than pieceBytes: what the next entry of the log is expected to take
	unwritten                   reservation // of the entries that Replay has returned
}

// Next appends to dst the next due events of the window, at most about a thousand or 256 KiB. If more is left, it calls
// Wake itself. If nothing is left, the hub calls Wake once when there is more. The error is [ErrBehind] or nil. The
// entries of the last Replay must be written before.
func (s *Subscriber) Next(dst []*Entry) ([]*Entry, error) {
	if s.unwritten.size > 0 {
		s.hub.budget.shrink(&s.unwritten, 0)
	}
	if s.ahead != nil {
		s.settleAhead()
	}
	if s.gap != nil {
		dst = append(dst, s.gap)
		s.gap = nil
		s.wake()
		return dst, nil
	}
	if s.perTopicUpto > 0 {
		return dst, ErrBehind
	}
	// Load matched first: if dueFrom is 0 afterwards, nothing up to matched is due. Load lostUntil last, because the hub
	// sets it before the others.
	matched := s.hub.matched.Load()
	from := s.dueFrom.Swap(0)
	if s.cursor+1 < s.hub.lostUntil.Load() {
		s.setCursor(s.cursor)
		return dst, ErrBehind
	}
	if from == 0 {
		s.cursor = max(s.cursor, matched)
		return dst, nil
	}
	from = max(from, s.cursor+1)
	head, n, size := s.hub.window.head.Load(), len(dst), 0
	for seq := from; seq <= head; seq++ {
		e, covered := s.hub.window.at(seq)
		full := len(dst)-n >= batchEvents || size >= batchBytes || seq-from >= batchScan
		if !covered || full {
			s.setCursor(seq - 1)
			if covered || len(dst) > n {
				s.wake()
				return dst, nil
			}
			return dst, ErrBehind
		}
		if e != nil && s.patterns.Match(e.Event.Topic()) && !e.expired() {
			dst = append(dst, e)
			size += len(e.Event.Data())
		}
	}
	s.cursor = max(s.cursor, head)
	return dst, nil
}

// setCursor moves the cursor. Events behind it may be due, even if the hub has set a higher dueFrom meanwhile.
func (s *Subscriber) setCursor(seq uint64) {
	s.cursor = seq
	s.dueFrom.Store(seq + 1)
}

// Complete reports whether all topics of the subscriber have ended, and nothing is left to deliver.
func (s *Subscriber) Complete() bool {
	return len(s.ended) > 0 && len(s.ended) == len(s.patterns) && s.gap == nil && s.ahead == nil && s.perTopicUpto == 0
}

// Patterns returns what the subscriber selects, without duplicates.
func (s *Subscriber) Patterns() event.Patterns { return s.patterns }

// Pending reports whether Next may return something. Any goroutine may call it.
func (s *Subscriber) Pending() bool { return s.dueFrom.Load() != 0 }

// Sent is how many events have been delivered. Any goroutine may call it.
func (s *Subscriber) Sent() uint64 { return s.sent.Load() }

// Lag is about how many events of the log, of any topic, the subscriber has not looked at yet. Any goroutine may call
// it.
func (s *Subscriber) Lag() uint64 {
	from, head := s.dueFrom.Load(), s.hub.window.head.Load()
	if from == 0 || from > head {
		return 0
	}
	return head - from + 1
}

// Return gives back an entry of the last Next, and all entries after it: the following Next returns them again. It does
// not call Wake.
func (s *Subscriber) Return(e *Entry) { s.setCursor(e.seq() - 1) }

// Replay reads the next due events from the log, at most about a thousand or 512 KiB, none at the log's end. Then call
// [Subscriber.Next] again. The entries count as memory of the client's network until the next call of Replay, Next or
// Close, which must not come before they are written.
//
// Replay waits until its entries have room among those of all subscribers, for a free place among the hub's replays, and
// for the log. It holds no place while its caller writes, so slow clients do not delay others. After Close it soon
// returns none. The error is the log's, or ctx's.
func (s *Subscriber) Replay(ctx context.Context) ([]*Entry, error) {
	began := time.Now()
	defer func() { s.hub.counters.replays.Observe(time.Since(began)) }()
	if s.ahead != nil {
		if err := s.awaitAhead(ctx); err != nil {
			return nil, err
		}
	}
	for {
		// Each piece waits for a place again, so that a long search without matches does not delay others.
		entries, more, err := s.replayPiece(ctx)
		if len(entries) > 0 || err != nil || !more {
			return entries, err
		}
	}
}

func (s *Subscriber) replayPiece(ctx context.Context) (entries []*Entry, more bool, err error) {
	if err := s.hub.budget.acquire(ctx, &s.unwritten, max(s.large, pieceBytes)); err != nil {
		return nil, false, err
	}
	defer func() {
		size := int64(0)
		for _, e := range entries {
			size += e.size
		}
		s.hub.budget.shrink(&s.unwritten, size)
	}()
	if err := s.hub.acquireReplay(ctx); err != nil {
		return nil, false, err
	}
	defer s.hub.releaseReplay()
	if s.closed.Load() {
		return nil, false, nil
	}
	if s.perTopicUpto > 0 {
		entries, err = s.replayPerTopic(ctx)
		return entries, true, err
	}
	start := s.cursor
	read, upto, tooLarge, err := s.read(ctx, s.hub.log.Read, start)
	if err != nil {
		return nil, false, err
	}
	first, last := start+1, upto+1
	if uint64(len(read)) < max(upto-start, 1) { // else no sequence is missing
		// Ask after the read, because retention may delete events during the read.
		if first, last, err = s.hub.log.Bounds(ctx); err != nil {
			return nil, false, err
		}
	}
	if s.gap != nil {
		entries, s.gap = append(entries, s.gap), nil
	}
	if start+1 < first {
		// Events below first were read while retention deleted their neighbours. The gap covers them too, so that
		// nothing is missing after it.
		for len(read) > 0 && read[0].seq() < first {
			read = read[1:]
		}
		upto = max(upto, first-1)
		resumed := upto
		if len(read) > 0 {
			resumed = read[0].seq() - 1
		}
		entries = append(entries, s.newGap(s.hub.id(start).String(), first, resumed, event.GapExpired))
	}
	s.setCursor(upto)
	return append(entries, read...), tooLarge || start < upto && upto < last, nil
}

// replayPerTopic returns the newest event of each topic, up to where the subscriber began. Later events are due anyway.
func (s *Subscriber) replayPerTopic(ctx context.Context) ([]*Entry, error) {
	read, upto, _, err := s.read(ctx, s.hub.log.ReadLast, s.perTopicAfter)
	if err != nil {
		return nil, err
	}
	for len(read) > 0 && read[len(read)-1].seq() > s.perTopicUpto {
		read = read[:len(read)-1]
	}
	if s.perTopicAfter = upto; upto >= s.perTopicUpto {
		s.perTopicUpto = 0
	}
	return read, nil
}

type readFunc func(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error)

// read reads a piece: as many entries as fit into pieceBytes, or one that is larger if it is no larger than expected.
// Else that one is tooLarge, and nothing is read; the next piece expects it.
func (s *Subscriber) read(ctx context.Context, read readFunc, after uint64) (entries []*Entry, upto uint64, tooLarge bool, err error) {
	full, size, expected := errors.New("full"), int64(0), max(s.large, pieceBytes)
	limit := batchEvents
	if s.large > 0 {
		limit = 1
	}
	s.large = 0
	upto, err = read(ctx, after, s.patterns, limit, func(e event.Event) error {
		next := entrySize(e, s.format)
		if next > pieceBytes {
			s.large = next
		}
		if size += next; size > expected {
			tooLarge = len(entries) == 0
			return full
		}
		entries = append(entries, newEntry(e, s.format))
		return nil
	})
	if errors.Is(err, full) {
		err = nil
	}
	return entries, upto, tooLarge, err
}

// Cursor returns the ID that a client which disconnects now should resume from. It is the zero ID while the newest
// events of each topic are not all returned: then there is no such ID.
func (s *Subscriber) Cursor() event.ID {
	if s.perTopicUpto > 0 {
		return event.ID{}
	}
	return s.hub.id(s.cursor)
}
