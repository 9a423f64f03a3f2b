package ticket

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/limit"

	"golang.org/x/sync/errgroup"
)

// Store keeps small values that all nodes share. Each write gets a later revision.
type Store interface {
	// Create writes the value if the key does not exist. That it exists is no error.
	Create(ctx context.Context, key string, value []byte) error
	// Put writes the value, which the Store deletes after the TTL.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error)
	// Watch calls change with what the Store holds, then loaded, then change with each write, until ctx is done. It calls one
	// function at a time. After a lost connection it starts over with what the Store holds.
	Watch(ctx context.Context, change func(key string, value []byte, revision uint64), loaded func()) error
}

// The keys of the Store.
const (
	signingKey = "key"      // 32 random bytes, kept for good
	idPrefix   = "id."      // and a ticket's ID: it is revoked
	subjPrefix = "subject." // and a subject: all its tickets of earlier revisions are revoked
	// The value of a revocation is the Unix time at which the last of its tickets has expired.
)

const (
	loadTimeout = 5 * time.Second       // how long a request waits for the key and the revocations to be loaded
	endInterval = 50 * time.Millisecond // between two searches for streams to end, each of which visits every stream
	sweepPause  = time.Minute           // between two searches for revocations that have expired
)

var (
	// ErrTooMany is for a subject that issues or revokes tickets too fast.
	ErrTooMany = errors.New("too many tickets at once for the token's subject; use one ticket for all streams of a page")
	// ErrNoID is for an ID that no ticket has.
	ErrNoID = errors.New("this is not the ID of a ticket")

	errInvalid = fmt.Errorf("%w: the ticket is not valid here: it is malformed, has expired or was revoked; get a new one with POST /ticket",
		auth.ErrUnauthenticated)
	errOrigin = fmt.Errorf("%w: the ticket is for pages of another origin; get one for this page's origin with POST /ticket", auth.ErrForbidden)
	errOwner  = fmt.Errorf("%w: the ticket belongs to another subject; use its token, or an operator's", auth.ErrForbidden)
)

// Config configures [Tickets].
type Config struct {
	Store  Store        // required
	Logger *slog.Logger // nil: logs nothing
}

// Tickets issues, verifies and revokes tickets. Run must run.
type Tickets struct {
	store       Store
	logger      *slog.Logger
	issues      *limit.Rate[string] // by subject
	revocations *limit.Rate[string] // by subject
	loaded      chan struct{}       // closed once the keys and the revocations are known
	changed     chan struct{}       // holds a value while there may be streams to end

	mu          sync.RWMutex
	keys        *keys                 // nil before they are loaded
	revision    uint64                // the latest
	keyRevision uint64                // at which the keys were written
	revoked     map[string]revocation // by key of the Store
	swept       time.Time
}

type revocation struct {
	revision uint64
	expires  time.Time // of the last ticket that it concerns
}

// New returns Tickets on the Store, where it creates the shared key if there is none.
func New(ctx context.Context, cfg Config) (*Tickets, error) {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	if err := cfg.Store.Create(ctx, signingKey, key); err != nil {
		return nil, fmt.Errorf("create the key that signs tickets: %w", err)
	}
	return &Tickets{
		store: cfg.Store, logger: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), revoked: map[string]revocation{},
		issues: limit.NewRate[string](10, 200), revocations: limit.NewRate[string](1.0/60, 200),
		loaded: make(chan struct{}), changed: make(chan struct{}, 1),
	}, nil
}

// Request asks for a ticket.
type Request struct {
	Topics   event.Patterns // to read; nil: all that the caller may read, or none if there is something to publish
	Publish  event.Patterns // to publish
	Origin   string         // from [auth.ParseOrigin]
	Lifetime time.Duration  // 0 means DefaultLifetime
}

// Issue returns a signed ticket with some of the caller's rights. It expires no later than the caller's token. The error is an
// [event.InvalidError], [auth.ErrForbidden], [ErrTooMany] or [auth.ErrUnavailable].
func (t *Tickets) Issue(ctx context.Context, caller auth.Caller, r Request) (string, Ticket, error) {
	if r.Lifetime = cmp.Or(r.Lifetime, DefaultLifetime); r.Lifetime < time.Second || r.Lifetime > MaxLifetime {
		return "", Ticket{}, &event.InvalidError{Field: "lifetime", Reason: `must be "1s" to "24h", such as "30m"`}
	}
	if r.Topics == nil && len(r.Publish) == 0 {
		r.Topics = caller.Readable()
	}
	if len(r.Topics)+len(r.Publish) == 0 {
		return "", Ticket{}, &event.InvalidError{Field: "topics", Reason: "must not be empty"}
	}
	for _, p := range r.Topics {
		if err := caller.MayRead(p); err != nil {
			return "", Ticket{}, err
		}
	}
	for _, p := range r.Publish {
		if err := caller.MayPublishAll(p); err != nil {
			return "", Ticket{}, err
		}
	}
	if err := allow(t.issues, caller); err != nil {
		return "", Ticket{}, err
	}
	keys, revision, err := t.load(ctx)
	if err != nil {
		return "", Ticket{}, err
	}
	expires := time.Now().Add(r.Lifetime)
	if end := caller.Expires(); !end.IsZero() && end.Before(expires) {
		expires = end
	}
	ticket := Ticket{
		ID: keys.newID(caller.Subject()), Subject: caller.Subject(), Topics: r.Topics, Publish: r.Publish, Origin: r.Origin,
		Expires: expires.Truncate(time.Second), // as claims have it
	}
	token, err := keys.sign(ticket, revision)
	return token, ticket, err
}

// Verify returns the caller that the ticket stands for. The error is of [auth.ErrUnauthenticated] for a ticket that is not valid, of
// [auth.ErrForbidden] for one that belongs to another origin's pages, or [auth.ErrUnavailable].
func (t *Tickets) Verify(ctx context.Context, token string, from Origin) (auth.Caller, error) {
	if len(token) > maxBytes || strings.Count(token, ".") != 2 {
		return auth.Caller{}, errInvalid
	}
	keys, _, err := t.load(ctx)
	if err != nil {
		return auth.Caller{}, err
	}
	caller, origin, err := keys.verify(token)
	switch {
	case err != nil:
		return auth.Caller{}, err
	case t.Revoked(caller):
		return auth.Caller{}, errInvalid
	case !from.matches(origin):
		return auth.Caller{}, errOrigin
	}
	return caller, nil
}

// Revoked reports whether the caller came with a ticket that has been revoked. It is false for callers without a ticket.
func (t *Tickets) Revoked(caller auth.Caller) bool {
	ticket := caller.Ticket()
	if ticket.ID == "" {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if _, revoked := t.revoked[idPrefix+ticket.ID]; revoked || ticket.Revision < t.keyRevision {
		return true
	}
	return ticket.Revision < t.revoked[subjPrefix+caller.Subject()].revision
}

// Revoke revokes the ticket on every node. The caller must be its owner or an operator. Revoking a ticket again is no error.
func (t *Tickets) Revoke(ctx context.Context, caller auth.Caller, id string) error {
	raw := decodeID(id)
	if raw == nil {
		return ErrNoID
	}
	keys, _, err := t.load(ctx)
	if err != nil {
		return err
	}
	if caller.MayOperate() != nil && !keys.owns(caller.Subject(), raw) {
		return errOwner
	}
	return t.revoke(ctx, caller, idPrefix+id)
}

var isSubject = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// RevokeSubject revokes all tickets of the subject that exist now, on every node. The caller must have this subject or be an operator.
func (t *Tickets) RevokeSubject(ctx context.Context, caller auth.Caller, subject string) error {
	switch {
	case !isSubject.MatchString(subject):
		return &event.InvalidError{Field: "subject", Reason: `must be a subject that POST /ticket has returned; send it as ?subject=`}
	case caller.MayOperate() != nil && caller.Subject() != subject:
		return errOwner
	}
	return t.revoke(ctx, caller, subjPrefix+subject)
}

func (t *Tickets) revoke(ctx context.Context, caller auth.Caller, key string) error {
	if err := allow(t.revocations, caller); err != nil {
		return err
	}
	value := strconv.AppendInt(nil, time.Now().Add(MaxLifetime).Unix()+1, 10)
	revision, err := t.store.Put(ctx, key, value, MaxLifetime+time.Minute) // longer than it counts: clocks differ
	if err != nil {
		return err
	}
	t.change(key, value, revision) // a ticket issued next must not count as revoked
	return nil
}

func allow(rate *limit.Rate[string], caller auth.Caller) error {
	if caller.MayOperate() == nil {
		return nil
	}
	if _, ok := rate.Allow(caller.Subject(), 1); !ok {
		return ErrTooMany
	}
	return nil
}

// load returns the keys and the latest revision. It waits until the Store is loaded.
func (t *Tickets) load(ctx context.Context) (*keys, uint64, error) {
	select {
	case <-t.loaded:
	default:
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		select {
		case <-t.loaded:
		case <-ctx.Done():
			return nil, 0, auth.ErrUnavailable
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.keys, t.revision, nil
}

// Run keeps the key and the revocations up to date until ctx is done. When tickets are revoked it calls end, which must end every open
// stream whose caller matches.
func (t *Tickets) Run(ctx context.Context, end func(match func(auth.Caller) bool)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := t.store.Watch(ctx, t.change, t.open)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because it should
		}
		return err
	})
	g.Go(func() error {
		for {
			select {
			case <-t.changed:
				end(t.Revoked)
			case <-ctx.Done():
				return nil
			}
			select {
			case <-time.After(endInterval):
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// open lets requests proceed that wait for the Store to be loaded. It is called each time the watch has loaded it.
func (t *Tickets) open() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	select {
	case <-t.loaded:
	default:
		if t.keys == nil {
			t.logger.Error("the store has lost the key that signs tickets: restart the server to create another")
			return
		}
		close(t.loaded)
	}
}

// change applies a write to the Store. A write may arrive more than once.
func (t *Tickets) change(key string, value []byte, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision = max(t.revision, revision)
	if key == signingKey {
		if k := deriveKeys(value); k != nil && (t.keys == nil || !bytes.Equal(k.signing, t.keys.signing)) {
			// All tickets are invalid now. The Store may be a new one, whose revisions start again.
			t.keys, t.revision, t.keyRevision = k, revision, revision
			clear(t.revoked)
			t.search()
		}
		return
	}
	if !strings.HasPrefix(key, idPrefix) && !strings.HasPrefix(key, subjPrefix) {
		return
	}
	now := time.Now()
	seconds, err := strconv.ParseInt(string(value), 10, 64)
	expires := time.Unix(seconds, 0)
	if err != nil || !now.Before(expires) || t.revoked[key].revision >= revision {
		return
	}
	t.revoked[key] = revocation{revision, expires}
	if now.Sub(t.swept) >= sweepPause {
		t.swept = now
		maps.DeleteFunc(t.revoked, func(_ string, r revocation) bool { return !now.Before(r.expires) })
	}
	t.search()
}

// search makes Run search for streams to end. One search finds all that are revoked by then.
func (t *Tickets) search() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}
