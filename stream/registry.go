package stream

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/hub"
	"freshet/limit"
)

// Errors of [Registry.Open] that callers tell apart with errors.Is.
var (
	// ErrDraining: no stream is opened any more.
	ErrDraining = errors.New("the server is shutting down")
	// ErrFull: the open streams have all places that Config.MaxStreams allows.
	ErrFull = errors.New("all connections are in use")
	// ErrAddressFull: those of the client's address have all that Config.MaxPerAddress allows.
	ErrAddressFull = errors.New("all connections of this address are in use")
	// ErrComplete: all topics of the request have ended, and the client has all of their events.
	ErrComplete = errors.New("the topics have ended")
)

// Config is what all streams of a registry have in common. An interval or limit of 0 turns
// the thing off.
type Config struct {
	Hub *hub.Hub

	CounterInterval time.Duration       // between the counts of a stream
	StatsInterval   time.Duration       // between the stats events of a stream
	Stats           func() *event.Event // the latest; nil while there is none
	Heartbeat       time.Duration       // after so long without an ID, or up to a sixteenth less, a stream sends its cursor
	Stall           time.Duration       // how long a client may take nothing; 0 means 30 s
	RetryMin        time.Duration       // the reconnection time is drawn between these two
	RetryMax        time.Duration       //
	MaxStreams      int                 // places of all streams: one for each 64 segments of a stream's patterns, rounded up
	MaxPerAddress   int                 // places of the streams of one client address
	Logger          *slog.Logger        // nil: logs nothing
}

// Registry opens the streams of a hub and knows those that are open.
type Registry struct {
	cfg       Config
	made      time.Time
	places    *limit.Concurrency[struct{}] // of all streams together
	addresses *limit.Concurrency[netip.Prefix]
	drainEnds atomic.Int64  // a time of the registry; 0 before the drain
	begun     chan struct{} // closed when the drain begins
	empty     chan struct{} // closed when the last stream of a drain has ended
	bytes     atomic.Uint64 // written to all streams

	mu       sync.Mutex
	newest   *Stream
	lastID   uint64
	open     int
	closing  bool
	openBy   [transports]int
	openedBy [transports]uint64
	closed   [reasons]uint64 // how many streams have ended, by reason
}

// New returns a registry, or an error that says what is wrong with the configuration.
func New(cfg Config) (*Registry, error) {
	cfg.Stall = cmp.Or(cfg.Stall, 30*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Stats == nil {
		cfg.Stats = func() *event.Event { return nil }
	}
	switch {
	case cfg.Hub == nil:
		return nil, errors.New("stream: a hub is needed")
	case min(cfg.CounterInterval, cfg.StatsInterval, cfg.Heartbeat, cfg.Stall) < 0 || cfg.MaxStreams < 0 || cfg.MaxPerAddress < 0:
		return nil, errors.New("stream: an interval or limit is negative")
	case cfg.RetryMin < 0 || cfg.RetryMax < cfg.RetryMin:
		return nil, errors.New("stream: the reconnection times are not a range")
	}
	return &Registry{
		cfg:       cfg,
		made:      time.Now(),
		places:    limit.NewConcurrency[struct{}](cfg.MaxStreams),
		addresses: limit.NewConcurrency[netip.Prefix](cfg.MaxPerAddress),
		begun:     make(chan struct{}),
		empty:     make(chan struct{}),
	}, nil
}

// Request says what a stream delivers, to which client.
type Request struct {
	Patterns    event.Patterns // into the log
	Counter     bool           // the connection's own counter
	Stats       bool           // the server's stats
	LastEventID string         // where the client left off; beats Since
	Since       event.Since
	Format      event.Format
	Merge       *string      // joins the data of neighbors with one topic and type that are written together, with this in between; nil: they stay apart
	Caller      auth.Caller  // the stream ends when the caller's credentials do
	Address     netip.Prefix // the client's, as limit.Network has it
	Transport   Transport
}

// Open opens a stream. The error is [ErrDraining], [ErrFull], [ErrAddressFull], [ErrComplete] or the log's.
// The caller has a driver run the stream, or closes it.
func (r *Registry) Open(ctx context.Context, q Request) (*Stream, error) {
	now := r.Now()
	s := &Stream{
		registry: r, caller: q.Caller, format: q.Format, merge: q.Merge, counter: q.Counter, stats: q.Stats, opened: now, address: q.Address, transport: q.Transport,
		places:    (max(1, q.Patterns.Segments()) + segmentsPerPlace - 1) / segmentsPerPlace,
		counterAt: Never, statsAt: Never, heartbeatAt: Never, expiresAt: Never, drainAt: Never,
	}
	if q.Counter && r.cfg.CounterInterval > 0 {
		s.counterAt = now + r.cfg.CounterInterval
	}
	if q.Stats && r.cfg.StatsInterval > 0 {
		s.statsAt = now + r.cfg.StatsInterval
	}
	if expires := q.Caller.Expires(); !expires.IsZero() {
		s.expiresAt = now + min(time.Until(expires), Never-now)
	}
	if err := r.admit(s); err != nil {
		return nil, err
	}
	var err error
	s.sub, err = r.cfg.Hub.Subscribe(ctx, hub.Request{
		Patterns: q.Patterns, LastEventID: q.LastEventID, Since: q.Since, Format: q.Format, Network: q.Address, Wake: s.Wake,
	})
	if err != nil {
		r.release(s)
		return nil, err
	}
	if s.complete() {
		s.sub.Close()
		r.release(s)
		return nil, ErrComplete
	}
	s.from = s.sub.Cursor()
	r.add(s)
	return s, nil
}

// segmentsPerPlace is how many segments of patterns cost about as much memory as a connection.
const segmentsPerPlace = 64

// admit counts a stream that is about to be opened. A stream takes at most all places, so it can be opened alone.
func (r *Registry) admit(s *Stream) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closing:
		return ErrDraining
	case !r.places.Acquire(struct{}{}, s.places):
		return ErrFull
	case !r.addresses.Acquire(s.address, s.places):
		r.places.Release(struct{}{}, s.places)
		return ErrAddressFull
	}
	r.open++
	return nil
}

func (r *Registry) release(s *Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(s)
}

func (r *Registry) releaseLocked(s *Stream) {
	r.places.Release(struct{}{}, s.places)
	r.addresses.Release(s.address, s.places)
	if r.open--; r.open == 0 && r.closing {
		close(r.empty)
	}
}

func (r *Registry) add(s *Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastID++
	s.id = r.lastID
	if s.older = r.newest; s.older != nil {
		s.older.newer = s
	}
	r.newest = s
	r.openBy[s.transport]++
	r.openedBy[s.transport]++
}

func (r *Registry) remove(s *Stream, why Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		r.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	}
	s.older, s.newer = nil, nil
	r.openBy[s.transport]--
	r.closed[why]++
	r.releaseLocked(s)
}

// Now is the time of the registry's streams: how long ago the registry was made.
func (r *Registry) Now() time.Duration { return time.Since(r.made) }

// Tick is how exactly a driver of many streams should keep time: steps that are due within
// one tick can be done together.
func (r *Registry) Tick() time.Duration {
	tick := 50 * time.Millisecond
	for _, interval := range []time.Duration{r.cfg.CounterInterval, r.cfg.StatsInterval, r.cfg.Heartbeat} {
		if interval > 0 {
			tick = max(time.Millisecond, min(tick, interval/20))
		}
	}
	return tick
}

// Stall is how long a client may take nothing.
func (r *Registry) Stall() time.Duration { return r.cfg.Stall }

// Retry draws a reconnection time.
func (r *Registry) Retry() time.Duration { return Jitter(r.cfg.RetryMin, r.cfg.RetryMax) }

// Jitter draws a duration between the two.
func Jitter(least, most time.Duration) time.Duration {
	return least + rand.N(most-least+1) //nolint:gosec // spread, not secret
}

// Len is how many streams are open.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// Turnover is how many streams have been opened since the start, and how many have ended, in sum.
func (r *Registry) Turnover() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.lastID
	for _, closed := range r.closed {
		n += closed
	}
	return n
}

// Closed is how many streams have ended for the reason since the start.
func (r *Registry) Closed(why Reason) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed[why]
}

// StopMatching stops the streams whose caller matches.
func (r *Registry) StopMatching(match func(auth.Caller) bool, why Reason) {
	for _, s := range r.Newest(-1) {
		if match(s.caller) {
			s.Stop(why)
		}
	}
}

// Newest returns the newest open streams, at most n; all if n is negative.
func (r *Registry) Newest(n int) []*Stream { return r.Older(math.MaxUint64, n) }

// Older returns the newest open streams with lower IDs than id, at most n; all if n is negative.
func (r *Registry) Older(id uint64, n int) []*Stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	var older []*Stream
	for s := r.newest; s != nil && len(older) != n; s = s.older {
		if s.id < id {
			older = append(older, s)
		}
	}
	return older
}

// Find returns the open stream with the ID, or nil.
func (r *Registry) Find(id uint64) *Stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := r.newest; s != nil && s.id >= id; s = s.older {
		if s.id == id {
			return s
		}
	}
	return nil
}

// drainRate is how many streams a second a drain ends at most: a few streams take less than
// the whole span.
const drainRate = 200

// Drain refuses new streams and ends the open ones, spread over at most span. It returns
// once the last has ended, or with ctx's error.
func (r *Registry) Drain(ctx context.Context, span time.Duration) error {
	r.mu.Lock()
	if !r.closing {
		r.closing = true
		close(r.begun)
		span = min(span, time.Duration(r.open)*time.Second/drainRate)
		r.drainEnds.Store(int64(r.Now() + span + 1)) // never 0
		if r.open == 0 {
			close(r.empty)
		}
	}
	r.mu.Unlock()
	for _, s := range r.Newest(-1) {
		s.Wake()
	}
	select {
	case <-r.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Draining reports whether the drain has begun.
func (r *Registry) Draining() bool { return r.drainEnds.Load() != 0 }

// Closing is closed when the drain begins.
func (r *Registry) Closing() <-chan struct{} { return r.begun }

// DrainLeft is how long the drain goes on; 0 before it begins.
func (r *Registry) DrainLeft() time.Duration {
	return max(0, time.Duration(r.drainEnds.Load())-r.Now())
}

// drawDrain returns when a stream ends by the drain; [Never] before the drain.
func (r *Registry) drawDrain(now time.Duration) time.Duration {
	if !r.Draining() {
		return Never
	}
	return now + rand.N(max(0, time.Duration(r.drainEnds.Load())-now)+1) //nolint:gosec // spread, not secret
}
