package auth

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// notePause is how long what tickets are used for waits to be written.
	notePause = time.Second
	// linger is how long a node goes on having a ticket in use after its last stream has ended: a browser that reconnects, or that
	// opens the next page, costs no writing.
	linger = 10 * time.Second
	// writersAtOnce bounds what is on its way to the store.
	writersAtOnce = 16
)

// Stream is what a use may move or end while it is open. Its methods do not wait.
type Stream interface {
	// Extend: the stream may go on until then; zero: for ever.
	Extend(until time.Time)
	// End ends the stream.
	End()
}

// Use is a ticket that is in use.
type Use struct {
	tickets *Tickets
	held    *held
	stream  Stream
}

// Ticket is the ticket as it is now.
func (u *Use) Ticket() Ticket {
	u.tickets.mu.Lock()
	defer u.tickets.mu.Unlock()
	return u.held.ticket
}

// Attach has the stream told of what becomes of the ticket from here on, and of what it has become by now.
func (u *Use) Attach(s Stream) {
	u.tickets.mu.Lock()
	defer u.tickets.mu.Unlock()
	u.stream = s
	s.Extend(u.held.ticket.Expires)
	if u.held.gone {
		s.End()
	}
}

// Close ends the use. A second call does nothing, nor does one of no use at all.
func (u *Use) Close() {
	if u == nil {
		return
	}
	t, h := u.tickets, u.held
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, open := h.uses[u]; !open {
		return
	}
	delete(h.uses, u)
	if len(h.uses) > 0 {
		return
	}
	h.closed = time.Now()
	if !h.gone {
		t.dirty[h.id] = h
	}
	t.letGo(h)
}

// held is a ticket in use. The Tickets' mutex guards it.
type held struct {
	id       string
	record   record
	ticket   Ticket
	revision uint64 // 0: not read yet
	gone     bool
	readers  int // of the store, that are to be told
	uses     map[*Use]struct{}
	closed   time.Time // when the last use was closed
	noted    time.Time // when the store was told that it is in use; zero: it was not
}

// letGo forgets a ticket that nobody has to do with.
func (t *Tickets) letGo(h *held) {
	if t.held[h.id] == h && h.readers == 0 && len(h.uses) == 0 && h.noted.IsZero() && h.closed.IsZero() {
		delete(t.held, h.id)
		delete(t.dirty, h.id)
	}
}

func (t *Tickets) alive(id string, r record, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.livesLocked(t.held[id], r, now)
}

// livesLocked says whether the ticket of the record is alive. h is what this node knows of it, or nil.
func (t *Tickets) livesLocked(h *held, r record, now time.Time) bool {
	if r.Expires != 0 && now.UnixMilli() >= r.Expires {
		return false
	}
	used := time.UnixMilli(r.Used)
	if h != nil {
		if len(h.uses) > 0 {
			return true
		}
		used = later(used, h.closed)
	}
	end := t.lastUse(h, r, used).Add(ticketIdle)
	for _, o := range t.outages { // oldest first: one may reach into the next
		if from, to := time.UnixMilli(o.From), time.UnixMilli(o.To); end.After(from) {
			end = later(end, to.Add(ticketIdle))
		}
	}
	return now.Before(end)
}

// lastUse is when the ticket was last in use, also by the leases of the nodes that have it.
func (t *Tickets) lastUse(h *held, r record, used time.Time) time.Time {
	for _, node := range r.Nodes {
		if node != t.node || h == nil || h.noted.IsZero() { // of what it has in use, this one knows more
			used = later(used, t.nodes[node])
		}
	}
	return used
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// adopt takes over what the store has, and tells the uses.
func (t *Tickets) adopt(h *held, r record, ticket Ticket, revision uint64) {
	if revision <= h.revision || h.gone {
		return
	}
	moved := h.revision != 0 && r.Expires != h.record.Expires
	h.record, h.ticket, h.revision = r, ticket, revision
	if !moved {
		return
	}
	for u := range h.uses {
		if u.stream != nil {
			u.stream.Extend(ticket.Expires)
		}
	}
}

// end ends a ticket that was revoked, and all that it has opened here.
func (t *Tickets) end(h *held) {
	h.gone = true
	h.endStreams()
	delete(t.dirty, h.id)
	if t.held[h.id] == h {
		delete(t.held, h.id)
	}
}

func (h *held) endStreams() {
	for u := range h.uses {
		if u.stream != nil {
			u.stream.End()
		}
	}
}

// note tells the store which tickets are in use here, and which no longer.
func (t *Tickets) note(ctx context.Context) {
	now := time.Now()
	t.mu.Lock()
	if now.Sub(t.swept) > time.Hour {
		t.swept = now
		for id, h := range t.held { // before the store lets go of it
			if !h.noted.IsZero() && now.Sub(h.noted) > leaseKept/2 {
				h.noted = time.Time{}
				t.dirty[id] = h
			}
		}
	}
	var due []*held
	for id, h := range t.dirty {
		switch {
		case len(h.uses) > 0 && !h.noted.IsZero():
			delete(t.dirty, id) // it was opened again
		case len(h.uses) > 0 || now.Sub(h.closed) >= linger:
			due = append(due, h)
		}
	}
	t.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writersAtOnce)
	for _, h := range due {
		g.Go(func() error { return t.write(ctx, h) })
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		t.logger.Warn("what tickets are in use is not stored yet", "error", err)
	}
}

// write stores whether the ticket is in use here.
func (t *Tickets) write(ctx context.Context, h *held) error {
	for {
		t.mu.Lock()
		r, ticket, revision, inUse := h.record, h.ticket, h.revision, len(h.uses) > 0
		now := time.Now()
		if revision != 0 {
			r = t.noted(h, inUse, now)
		}
		gone := h.gone
		t.mu.Unlock()
		if gone {
			return nil
		}
		var written uint64
		if revision != 0 {
			value, err := r.encode()
			if err == nil {
				written, err = t.store.Put(ctx, ticketKey+h.id, value, revision, r.keep(now, false))
			}
			if err != nil {
				return err
			}
		}
		if written != 0 {
			t.mu.Lock()
			t.adopt(h, r, ticket, written)
			t.wrote(h, inUse, now)
			t.mu.Unlock()
			return nil
		}
		// Another was faster.
		r, ticket, revision, err := t.read(ctx, h.id)
		if err != nil {
			return err
		}
		t.mu.Lock()
		if revision == 0 {
			t.end(h)
		} else {
			t.adopt(h, r, ticket, revision)
		}
		t.mu.Unlock()
	}
}

// noted is the record with what is known of its use now; of other nodes, only those that may have it in use stay.
func (t *Tickets) noted(h *held, inUse bool, now time.Time) record {
	r, used := h.record, h.closed
	if inUse {
		used = now
	}
	r.Used = max(r.Used, t.lastUse(h, r, used).UnixMilli())
	r.Nodes = slices.DeleteFunc(slices.Clone(r.Nodes), func(node string) bool { return node == t.node || now.Sub(t.nodes[node]) > ticketIdle })
	if inUse {
		r.Nodes = append(r.Nodes, t.node)
	}
	return r
}

// wrote does what follows from having stored it.
func (t *Tickets) wrote(h *held, inUse bool, now time.Time) {
	if h.noted = now; !inUse {
		h.noted = time.Time{}
		if len(h.uses) == 0 && !h.closed.After(now) {
			h.closed = time.Time{}
		}
	}
	if inUse && len(h.uses) > 0 {
		delete(t.dirty, h.id)
	}
	t.letGo(h)
}
