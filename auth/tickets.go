package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// TicketStore keeps small values for all nodes. A revision is 0 where there is no value, and where Put has not written
// because another was faster. Watch tells of all that is written after a revision, in order, a nil value being a key that was deleted.
type TicketStore interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Put(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error)
	Delete(ctx context.Context, key string) error
	Last(ctx context.Context) (revision, keys uint64, err error)
	Keys(ctx context.Context, prefix string) ([]string, error)
	Watch(ctx context.Context, after uint64, fn func(key string, value []byte, revision uint64)) error
}

// The keys of the store.
const (
	ticketKey  = "ticket."
	leaseKey   = "node."
	outagesKey = "outages"
)

const (
	// notePause is how long what tickets are used for waits to be written.
	notePause = time.Second
	// linger is how long a node goes on having a ticket in use after its last stream has ended: a browser that reconnects, or that
	// opens the next page, costs no writing.
	linger = 10 * time.Second
	// leaseInterval is how often a node says that it is there, and leaseMissed when it is taken to be gone.
	leaseInterval = 10 * time.Second
	leaseMissed   = 30 * time.Second
	// leaseKept is how long the store keeps what only a node that is there writes again: a server that was away for longer finds
	// no ticket in use.
	leaseKept = 24 * time.Hour
	// deaf is how long a node may hear nothing of the others before it ends what it might have been told to end.
	deaf = 5 * time.Minute
	// beginWait is how long who comes before the beginning waits for it.
	beginWait = 5 * time.Second
	// writersAtOnce bounds what is on its way to the store.
	writersAtOnce = 16
	// keptOutages is how many of the last outages are remembered.
	keptOutages = 8

	// What one subject may get, on one node: a page that asks in a loop, or a hostile user, is to leave room for the others. As a
	// ticket that nobody uses is gone after two minutes, that is 1,400 of them at once.
	ticketRate  = 10
	ticketBurst = 200
)

// ErrTooManyTickets is for a subject that gets more tickets than it can have use for (429).
var ErrTooManyTickets = errors.New("too many tickets at once for the token's subject; use one for all streams of a page, and get new ones only when they have ended")

var errNotRun = errors.New("auth: the tickets are not run")

// TicketsConfig says where tickets are kept.
type TicketsConfig struct {
	Store  TicketStore
	Logger *slog.Logger // nil: logs nothing
}

// Tickets issues, redeems, extends and revokes tickets, on any node that shares the store.
//
// A ticket lives until its token expires, and no longer than a minute after it was last in use. It is in use while a [Use] of
// it is open. That costs two writes: a node notes in the ticket that it has it in use, and that it no longer has. In
// between, and for all its tickets together, a node writes a lease every ten seconds, so that those of a node that has crashed die a
// minute after its last one. Time in which no node was there does not count.
//
// Run has to run: before it has begun, Redeem waits. What a use is told, it is told by one goroutine and must not wait.
type Tickets struct {
	store  TicketStore
	logger *slog.Logger
	node   string
	begun  chan struct{} // closed once the others are known
	limits limits

	mu       sync.Mutex
	held     map[string]*held // by ID: in use here, or until lately
	dirty    map[string]*held // of these, those that the store has to be told of
	nodes    map[string]time.Time
	outages  []outage
	leasing  bool // a node needs no lease before it has seen a ticket
	notBegun error
	heard    time.Time // when the watch was last seen to work
	swept    time.Time // when those long in use were last looked at

	leased struct { // Run's
		at       time.Time
		revision uint64
	}
}

// outage is a time in which no node was there.
type outage struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

type lease struct {
	At    int64 `json:"at"`
	Ended bool  `json:"ended,omitempty"` // the node has said good-bye
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

// NewTickets returns tickets on the store.
func NewTickets(cfg TicketsConfig) (*Tickets, error) {
	if cfg.Store == nil {
		return nil, errors.New("auth: a store for the tickets is needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Tickets{
		swept: time.Now(),
		store: cfg.Store, logger: cfg.Logger, node: strings.ToLower(rand.Text()), begun: make(chan struct{}),
		limits: limits{buckets: map[string]*rate.Limiter{}, tidy: 1024},
		held:   map[string]*held{}, dirty: map[string]*held{}, nodes: map[string]time.Time{},
	}, nil
}

// Issue makes a ticket, with an ID of its own, and returns the secret that redeems it. limited holds the subject to what
// a single one can have use for; the error is then [ErrTooManyTickets]. Else it is the store's, or an event.InvalidError.
func (t *Tickets) Issue(ctx context.Context, ticket Ticket, limited bool) (secret string, _ Ticket, err error) {
	if limited && !t.limits.take(ticket.Subject) {
		return "", Ticket{}, ErrTooManyTickets
	}
	now := time.Now()
	secret = newSecret()
	ticket.ID, _ = idOf(secret)
	r := record{Subject: ticket.Subject, Origin: ticket.Origin, Used: now.UnixMilli()}
	if !ticket.Expires.IsZero() {
		r.Expires = ticket.Expires.UnixMilli()
	}
	for _, p := range ticket.Topics {
		r.Topics = append(r.Topics, p.String())
	}
	value, err := r.encode()
	if err != nil {
		return "", Ticket{}, err
	}
	revision, err := t.store.Put(ctx, ticketKey+ticket.ID, value, 0, r.keep(now, true))
	if err == nil && revision == 0 {
		err = errors.New("auth: a ticket of that name is there") // once in 2^128 times
	}
	return secret, ticket, err
}

// Get returns the ticket of the ID, dead or alive; ok is false if there is none.
func (t *Tickets) Get(ctx context.Context, id string) (_ Ticket, ok bool, err error) {
	_, ticket, revision, err := t.read(ctx, id)
	return ticket, revision != 0, err
}

func (t *Tickets) read(ctx context.Context, id string) (r record, ticket Ticket, revision uint64, err error) {
	if !wellFormedID(id) {
		return record{}, Ticket{}, 0, nil
	}
	value, revision, err := t.store.Get(ctx, ticketKey+id)
	if err != nil || revision == 0 {
		return record{}, Ticket{}, 0, err
	}
	if r, err = decodeRecord(value); err == nil {
		ticket, err = r.ticket(id)
	}
	return r, ticket, revision, err
}

// Extend moves the expiry of a living ticket, and of what it has opened on any node, to a later time. ok is false if there is none.
func (t *Tickets) Extend(ctx context.Context, id string, expires time.Time) (_ Ticket, ok bool, err error) {
	if err := t.wait(ctx); err != nil {
		return Ticket{}, false, err
	}
	for {
		r, ticket, revision, err := t.read(ctx, id)
		now := time.Now()
		if err != nil || revision == 0 || !t.alive(id, r, now) {
			return Ticket{}, false, err
		}
		if r.Expires == 0 || !expires.IsZero() && expires.UnixMilli() <= r.Expires {
			return ticket, true, nil
		}
		ticket.Expires, r.Expires = expires, 0
		if !expires.IsZero() {
			r.Expires = expires.UnixMilli()
		}
		value, err := r.encode()
		if err != nil {
			return Ticket{}, false, err
		}
		if revision, err = t.store.Put(ctx, ticketKey+id, value, revision, r.keep(now, false)); err != nil || revision != 0 {
			return ticket, err == nil, err
		}
	}
}

// Revoke ends the ticket and what it has opened on any node.
func (t *Tickets) Revoke(ctx context.Context, id string) error {
	if !wellFormedID(id) {
		return nil
	}
	return t.store.Delete(ctx, ticketKey+id)
}

// Redeem returns a use of the ticket, which the caller closes. The error is of [ErrUnauthenticated] for a ticket that is unknown
// or dead, of [ErrForbidden] for one of another origin's pages, or the store's.
func (t *Tickets) Redeem(ctx context.Context, secret string, from Origin) (*Use, error) {
	id, ok := idOf(secret)
	if !ok {
		return nil, errTicket
	}
	if err := t.wait(ctx); err != nil {
		return nil, err
	}
	// Held before it is read: what is written in between is heard.
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.held[id]
	if h == nil {
		h = &held{id: id, uses: map[*Use]struct{}{}}
		t.held[id] = h
	}
	h.readers++
	defer func() {
		h.readers--
		t.letGo(h)
	}()
	if h.revision == 0 {
		t.mu.Unlock()
		r, ticket, revision, err := t.read(ctx, id)
		t.mu.Lock()
		if err != nil {
			return nil, err
		}
		if revision == 0 {
			return nil, errTicket
		}
		t.adopt(h, r, ticket, revision)
	}
	now := time.Now()
	if h.gone || !t.livesLocked(h, h.record, now) {
		return nil, errTicket
	}
	if !from.is(h.ticket.Origin) {
		return nil, errForeignTicket
	}
	u := &Use{tickets: t, held: h}
	h.uses[u] = struct{}{}
	t.leasing = true
	if h.noted.IsZero() {
		t.dirty[id] = h
	}
	return u, nil
}

func (t *Tickets) wait(ctx context.Context) error {
	select {
	case <-t.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(beginWait):
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return cmp.Or(t.notBegun, errNotRun)
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

// Run keeps the store and the tickets in use in step until ctx is done.
func (t *Tickets) Run(ctx context.Context) error {
	after, err := t.begin(ctx)
	if err != nil {
		return endOf(ctx, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return endOf(ctx, t.store.Watch(ctx, after, t.hear)) })
	g.Go(func() error {
		tick := time.NewTicker(notePause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				t.renew(ctx, false)
				t.note(ctx)
			case <-ctx.Done():
				// The minute of those in use begins now.
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				t.renew(last, true)
				return nil
			}
		}
	})
	return g.Wait()
}

// endOf is nil for the end that was asked for.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// begin learns which nodes there are, and whether there were none for a while. It returns the revision from which on
// the rest is heard.
func (t *Tickets) begin(ctx context.Context) (after uint64, err error) {
	tick := time.NewTicker(notePause)
	defer tick.Stop()
	for {
		if after, err = t.survey(ctx); err == nil {
			close(t.begun)
			return after, nil
		}
		t.logger.Warn("the store of the tickets does not answer", "error", err)
		t.mu.Lock()
		t.notBegun = err
		t.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (t *Tickets) survey(ctx context.Context) (after uint64, err error) {
	after, stored, err := t.store.Last(ctx)
	if err != nil {
		return 0, err
	}
	keys, err := t.store.Keys(ctx, leaseKey)
	if err != nil {
		return 0, err
	}
	now, newest, alone := time.Now(), time.Time{}, true
	nodes := map[string]time.Time{}
	for _, key := range keys {
		value, _, err := t.store.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		var l lease
		if json.Unmarshal(value, &l) != nil || l.At == 0 {
			continue // it has run out
		}
		at := time.UnixMilli(l.At)
		nodes[strings.TrimPrefix(key, leaseKey)] = at
		newest = later(newest, at)
		alone = alone && (l.Ended || now.Sub(at) > leaseMissed)
	}
	outages, err := t.outagesSince(ctx, newest, now, alone)
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes, t.outages, t.leasing = nodes, outages, stored > 0
	return after, nil
}

// outagesSince returns the outages that are known, with one until now if no other node is there, and was at last.
func (t *Tickets) outagesSince(ctx context.Context, last, now time.Time, alone bool) ([]outage, error) {
	for {
		value, revision, err := t.store.Get(ctx, outagesKey)
		if err != nil {
			return nil, err
		}
		outages := decodeOutages(value)
		if !alone || last.IsZero() {
			return outages, nil
		}
		outages = append(outages, outage{last.UnixMilli(), now.UnixMilli()})
		outages = outages[max(0, len(outages)-keptOutages):]
		if value, err = json.Marshal(outages); err != nil {
			return nil, err
		}
		// A full disk is no reason to take no tickets.
		if revision, err = t.store.Put(ctx, outagesKey, value, revision, 2*leaseKept); err != nil || revision != 0 {
			return outages, ctx.Err()
		}
	}
}

func decodeOutages(value []byte) (outages []outage) {
	_ = json.Unmarshal(value, &outages) // what cannot be read is none
	return outages
}

// hear is told of all that is written.
func (t *Tickets) hear(key string, value []byte, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if node, ok := strings.CutPrefix(key, leaseKey); ok {
		t.nodes[node] = now // and not what its clock said
		if node == t.node {
			if t.heard.IsZero() {
				t.heard = now
			}
			missed := now.Sub(t.heard) > deaf
			t.heard = now
			if missed {
				t.logger.Warn("nothing was heard of the tickets for long: the streams that they opened are ended, to come back")
				for _, h := range t.held {
					h.revision = 0 // to be read anew
					h.endStreams()
				}
			}
		}
		return
	}
	if key == outagesKey {
		t.outages = decodeOutages(value)
		return
	}
	id, ok := strings.CutPrefix(key, ticketKey)
	if !ok {
		return
	}
	t.leasing = true
	h := t.held[id]
	if h == nil {
		return
	}
	if value == nil {
		t.end(h)
		return
	}
	r, err := decodeRecord(value)
	if err != nil {
		return
	}
	if ticket, err := r.ticket(id); err == nil {
		t.adopt(h, r, ticket, revision)
	}
}

// renew writes the node's lease if it is time to.
func (t *Tickets) renew(ctx context.Context, ended bool) {
	now := time.Now()
	t.mu.Lock()
	leasing := t.leasing
	for node, at := range t.nodes {
		if now.Sub(at) > leaseKept {
			delete(t.nodes, node)
		}
	}
	t.mu.Unlock()
	if !leasing || !ended && now.Sub(t.leased.at) < leaseInterval {
		return
	}
	value, err := json.Marshal(lease{now.UnixMilli(), ended})
	if err != nil {
		return
	}
	for range 2 {
		revision, errPut := t.store.Put(ctx, leaseKey+t.node, value, t.leased.revision, leaseKept)
		switch {
		case errPut != nil:
			t.logger.Debug("the lease is not renewed", "error", errPut)
			return
		case revision != 0:
			t.leased.at, t.leased.revision = now, revision
			return
		}
		// An answer was lost, or the lease has run out.
		if _, t.leased.revision, err = t.store.Get(ctx, leaseKey+t.node); err != nil {
			return
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

// limits holds each subject to a rate, so that one gets no more tickets than it can have use for.
type limits struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	tidy    int // as soon as there are so many buckets, the full ones go
}

func (l *limits) take(subject string) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[subject]
	if bucket == nil {
		if len(l.buckets) >= l.tidy {
			for subject, bucket := range l.buckets {
				if bucket.TokensAt(now) >= ticketBurst {
					delete(l.buckets, subject)
				}
			}
			l.tidy = max(1024, 2*len(l.buckets))
		}
		bucket = rate.NewLimiter(ticketRate, ticketBurst)
		l.buckets[subject] = bucket
	}
	return bucket.AllowN(now, 1)
}
