package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
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
	// deaf is how long a node may hear nothing of the others before it ends what it might have been told to end.
	deaf = 5 * time.Minute
	// beginWait is how long who comes before the beginning waits for it.
	beginWait = 5 * time.Second
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
