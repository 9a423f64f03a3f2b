package hub

import (
	"context"
	"net/netip"
	"slices"
	"time"
	"unique"

	"freshet/event"
)

// Request says which events a subscriber gets, and where it begins.
type Request struct {
	Patterns event.Patterns // what it selects; none: nothing
	// LastEventID is the client's last event ID as the client sent it; it beats Since. An invalid or unknown ID is no
	// error: the subscriber gets a gap event.
	LastEventID string
	Since       event.Since
	// Continue: LastEventID is an event of an earlier subscriber with Since.Last, and this one gets the newest event of
	// each topic only where it is later.
	Continue bool
	Format   event.Format
	// Network is the client's network, which shares the memory of replays fairly with others.
	Network netip.Prefix
	// Wake is called when there is more to read. It must not block or call the hub.
	Wake func()
}

// endedTimeout is how long Subscribe waits for the log to say whether the topics have ended. Without an answer, they have not.
const endedTimeout = time.Second

// Subscribe returns a subscriber, after it has called Wake. The error is the log's. The caller closes the subscriber.
func (h *Hub) Subscribe(ctx context.Context, r Request) (*Subscriber, error) {
	s := &Subscriber{hub: h, format: r.Format, wake: r.Wake, subscribedAt: h.matched.Load(), unwritten: reservation{network: unique.Make(r.Network)}}
	for i, p := range r.Patterns {
		if !slices.Contains(r.Patterns[:i], p) {
			s.patterns = append(s.patterns, unique.Make(p).Value()) // a copy: the caller's may keep a large request in memory
		}
	}
	if err := s.findCursor(ctx, r); err != nil {
		return nil, err
	}
	s.findEnded(ctx)
	// Set dueFrom before the matcher has the subscriber: the first Next then reads from the cursor, and so finds the
	// events that arrive between.
	s.dueFrom.Store(s.cursor + 1)
	for _, p := range s.patterns {
		if err := h.matcher.Insert(p.String(), s); err != nil {
			return nil, err
		}
	}
	s.count(1)
	s.hub.ahead.add(s.ahead)
	s.wake()
	return s, nil
}

// Close ends the subscription. A last call of Wake may still come while Close runs. Replay may still run too: it soon
// returns.
func (s *Subscriber) Close() {
	s.closed.Store(true)
	s.hub.ahead.remove(s.ahead)
	s.hub.budget.close(&s.unwritten)
	for _, p := range s.patterns {
		_ = s.hub.matcher.Remove(p.String(), s) // Subscribe has inserted it
	}
	s.count(-1)
}

func (s *Subscriber) count(n int64) {
	s.hub.counters.subscribers.Add(n)
	if s.format == event.Lines {
		s.hub.lines.Add(n)
	}
}

// findCursor sets the cursor where the request begins.
func (s *Subscriber) findCursor(ctx context.Context, r Request) (err error) {
	requested, since := r.LastEventID, r.Since
	if requested == "" && !since.ID.IsZero() {
		requested = since.ID.String()
	}
	s.cursor = s.subscribedAt
	switch {
	case len(s.patterns) == 0 || requested == "" && since == event.Since{}: // from now on
		return nil
	case since.Last && (requested == "" || r.Continue):
		return s.beginPerTopic(ctx, requested)
	case requested != "":
		return s.resume(ctx, requested)
	}
	if err := s.hub.acquireReplay(ctx); err != nil {
		return err
	}
	defer s.hub.releaseReplay()
	cursor, err := s.hub.log.Seek(ctx, since, s.patterns)
	if err != nil && since.Newest > 0 { // the log is away, and the window may have as many
		if before, found := s.hub.window.beforeNewest(since.Newest, s.patterns, s.cursor); found {
			cursor, err = before, nil
		}
	}
	if err == nil {
		s.cursor = cursor
	}
	return err
}

// beginPerTopic makes Replay begin with the newest event of each topic, after the requested ID if there is one.
func (s *Subscriber) beginPerTopic(ctx context.Context, requested string) (err error) {
	_, last, err := s.hub.log.Bounds(ctx)
	if err != nil {
		return err
	}
	id, invalid := event.ParseID(requested)
	if requested != "" && (invalid != nil || id.Epoch() != s.hub.log.Epoch() || id.Seq() >= last) {
		return s.resume(ctx, requested)
	}
	s.perTopicAfter, s.perTopicUpto, s.cursor = id.Seq(), last, last
	return nil
}

// findEnded asks the log which topics have ended up to the cursor, if all patterns are topics.
func (s *Subscriber) findEnded(ctx context.Context) {
	if !s.patterns.Exact() || s.perTopicUpto > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, endedTimeout)
	defer cancel()
	for _, p := range s.patterns {
		topic, err := event.ParseTopic(p.String())
		if err != nil {
			return
		}
		switch seq, err := s.hub.log.Ended(ctx, topic); {
		case err != nil:
			return
		case 0 < seq && seq <= s.cursor:
			s.ended = append(s.ended, topic)
		}
	}
}

// resume sets the cursor to the requested ID. If the log does not have that ID, it sets the nearest cursor and a gap.
// Replay finds out whether the events after the ID have expired.
func (s *Subscriber) resume(ctx context.Context, requested string) error {
	id, err := event.ParseID(requested)
	known := err == nil && id.Epoch() == s.hub.log.Epoch()
	if known && id.Seq() <= s.cursor {
		s.cursor = id.Seq()
		return nil
	}
	first, last, proved, errBounds := s.hub.log.ProvedBounds(ctx, time.Time{})
	switch unsure := errBounds != nil || id.Seq() > last && !proved; {
	case ctx.Err() != nil:
		return ctx.Err()
	case !known && errBounds != nil:
		return errBounds
	case known && unsure:
		s.ahead = &ahead{sub: s, requested: id.Seq(), settled: make(chan struct{})}
		s.cursor = id.Seq()
		return nil
	case known && id.Seq() <= last:
		s.cursor = id.Seq() // another node has delivered it before this node's tail had it
		return nil
	}
	reason := event.GapUnknown
	if err == nil && !known {
		s.cursor, reason = first-1, event.GapEpoch
	}
	s.gap = s.newGap(requested, first, s.cursor, reason)
	return nil
}

func (s *Subscriber) newGap(requested string, first, resumed uint64, reason event.GapReason) *Entry {
	s.hub.counters.gap(reason)
	g := event.Gap{Requested: requested, First: s.hub.id(first), Resumed: s.hub.id(resumed), Reason: reason}
	return newEntry(g.Event(), s.format)
}
