package hub

import (
	"context"
	"slices"
	"unique"

	"freshet/event"
)

// Request says what a subscriber wants and where it begins.
type Request struct {
	Patterns event.Patterns // what it selects; none: nothing
	// LastEventID is where the reader left off, as it sent it; it beats Since. Whatever it
	// holds is no error: a reader that cannot be resumed is told so by a gap event.
	LastEventID string
	Since       event.Since
	Format      event.Format
	// Wake is called when there is more to read. It must not block nor call the hub.
	Wake func()
}

// Subscribe returns a subscriber, and has called its Wake. The error is the log's. The
// caller closes the subscriber.
func (h *Hub) Subscribe(ctx context.Context, r Request) (*Subscriber, error) {
	s := &Subscriber{hub: h, format: r.Format, wake: r.Wake}
	for i, p := range r.Patterns {
		if !slices.Contains(r.Patterns[:i], p) {
			// A copy: what the caller's was cut from may be large.
			s.patterns = append(s.patterns, unique.Make(p).Value())
		}
	}
	if err := s.place(ctx, r); err != nil {
		return nil, err
	}
	// Marked before it is in the matcher: what comes in between is above the mark, and what
	// came before the cursor is read on the first Next.
	s.mark.Store(s.cursor + 1)
	for _, p := range s.patterns {
		if err := h.matcher.Insert(p.String(), s); err != nil {
			return nil, err
		}
	}
	h.counters.subscribers.Add(1)
	if s.format == event.Lines {
		h.lines.Add(1)
	}
	s.wake()
	return s, nil
}

// place finds the subscriber's cursor.
func (s *Subscriber) place(ctx context.Context, r Request) (err error) {
	requested, since := r.LastEventID, r.Since
	if requested == "" && !since.ID.IsZero() {
		requested = since.ID.String()
	}
	now := s.hub.settled.Load()
	s.joined = now
	switch {
	case len(s.patterns) == 0: // nothing is due, so nothing can be missing
		s.cursor = now
		return nil
	case requested != "":
		return s.resume(ctx, requested, now)
	case since.Last:
		_, last, err := s.hub.log.Bounds(ctx)
		s.cursor, s.lastUpto = last, last
		return err
	case since == event.Since{}:
		s.cursor = now
	default:
		if err := s.hub.enterLog(ctx); err != nil {
			return err
		}
		defer s.hub.leaveLog()
		s.cursor, err = s.hub.log.Seek(ctx, since, s.patterns)
	}
	return err
}

// resume finds the place behind the requested ID, or the nearest one and a gap to tell.
// What has expired is found when the log is read.
func (s *Subscriber) resume(ctx context.Context, requested string, now uint64) error {
	id, err := event.ParseID(requested)
	if err == nil && id.Epoch() == s.hub.log.Epoch() && id.Seq() <= now {
		s.cursor = id.Seq()
		return nil
	}
	first, last, errBounds := s.hub.log.Bounds(ctx)
	switch {
	case errBounds != nil:
		return errBounds
	case err == nil && id.Epoch() == s.hub.log.Epoch() && id.Seq() <= last:
		s.cursor = id.Seq() // another node saw it before this one
		return nil
	}
	gap := event.Gap{Requested: requested, First: s.hub.id(first), Reason: event.GapUnknown}
	s.cursor = now
	if err == nil && id.Epoch() != s.hub.log.Epoch() {
		gap.Reason = event.GapEpoch
		s.cursor = first - 1
	}
	gap.Resumed = s.hub.id(s.cursor)
	s.opening = newEntry(gap.Event(), s.format)
	return nil
}
