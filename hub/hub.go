package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"freshet/event"

	"github.com/nats-io/nats-server/v2/server/gsl"
	"golang.org/x/sync/errgroup"
)

// Log is what the hub needs of the log. Package eventlog has the rules of each method.
type Log interface {
	Epoch() uint64
	Bounds(ctx context.Context) (first, last uint64, err error)
	ProvedBounds(ctx context.Context, after time.Time) (first, last uint64, proved bool, err error)
	Recent(ctx context.Context, size int64) (after uint64, err error)
	Seek(ctx context.Context, since event.Since, patterns event.Patterns) (after uint64, err error)
	Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error
	Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error)
	Ended(ctx context.Context, topic event.Topic) (seq uint64, err error)
	ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error)
}

// Deliveries learns when events whose publish is traced reach subscribers.
type Deliveries interface {
	// Begin is called with each of these events before subscribers get it.
	Begin(e event.Event)
	// Delivered is called with each event that was written to a subscriber at the time now, traced or not. Many goroutines call it.
	Delivered(id event.ID, now time.Time)
}

// Defaults of a [Config], which are the server's.
const (
	DefaultWindowBytes = 64 << 20
	DefaultReplays     = 64
)

// Config bounds the hub.
type Config struct {
	WindowBytes int64      // memory of the window; 0 means 64 MiB
	Replays     int        // subscribers that read the log at once; 0 means 64
	ReplayBytes int64      // memory of all events read from the log and not written yet; 0 means 128 MiB
	Deliveries  Deliveries // nil: nobody wants to know
}

// Hub tails the log for all subscribers of a process.
type Hub struct {
	log       Log
	window    *window
	matcher   *gsl.GenericSublist[*Subscriber]
	lostUntil atomic.Uint64 // retention deleted events below this one before the tail read them; 0: none
	matched   atomic.Uint64 // every event up to here is in dueFrom of its subscribers
	lines     atomic.Int64  // subscribers in event.Lines; without any, events are not encoded as lines
	ahead     aheadSet      // subscribers whose ID is after what this node sees of the log
	replays   chan struct{} // holds a token for each subscriber that reads the log
	budget    *budget       // what subscribers have read and not written
	caughtUp  chan struct{} // closed when the tail has reached the log's end
	startSeq  uint64        // the log's last sequence when the hub was made
	toWake    []*Subscriber // used by Run alone
	counters  counters

	deliveries Deliveries // nil: nobody wants to know
}

// New returns a hub of the log. It does nothing until [Hub.Run].
func New(ctx context.Context, log Log, cfg Config) (*Hub, error) {
	if cfg.WindowBytes < 0 || cfg.Replays < 0 || cfg.ReplayBytes < 0 {
		return nil, errors.New("hub: a limit is negative")
	}
	size := cmp.Or(cfg.WindowBytes, DefaultWindowBytes)
	// The tail begins with recent events, so that the window serves clients that reconnect after a restart.
	after, err := log.Recent(ctx, size/2)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	_, last, err := log.Bounds(ctx)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	h := &Hub{
		log:      log,
		window:   newWindow(size, after),
		matcher:  gsl.NewSublist[*Subscriber](),
		ahead:    newAheadSet(),
		replays:  make(chan struct{}, cmp.Or(cfg.Replays, DefaultReplays)),
		budget:   newBudget(cmp.Or(cfg.ReplayBytes, 128<<20)),
		caughtUp: make(chan struct{}),
		startSeq: last,

		deliveries: cfg.Deliveries,
	}
	h.matched.Store(after)
	return h, nil
}

// CaughtUp is closed when the hub has reached the log's end for the first time. Open no stream before: its "now" would
// be in the past.
func (h *Hub) CaughtUp() <-chan struct{} { return h.caughtUp }

// wakeEvery is how many events the hub adds at most before it wakes subscribers.
const wakeEvery = 64

// Run tails the log until ctx is done, or returns the log's error. Call it once.
func (h *Hub) Run(ctx context.Context) error {
	events := make(chan event.Event, 1024)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		send := func(e event.Event) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		atEnd := sync.OnceFunc(func() { _ = send(event.Event{}) }) // queued behind the events before it
		return h.log.Tail(ctx, h.window.head.Load(), atEnd, send)
	})
	g.Go(func() error {
		for {
			select {
			case e := <-events:
				h.add(ctx, e)
			case <-ctx.Done():
				return ctx.Err()
			}
			for n := 1; n < wakeEvery && len(events) > 0; n++ {
				h.add(ctx, <-events)
			}
			for _, s := range h.toWake {
				s.wake()
			}
			clear(h.toWake) // closed subscribers can be freed
			h.toWake = h.toWake[:0]
		}
	})
	g.Go(func() error { return h.watchAhead(ctx) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

// add adds an event to the window and notes it at the subscribers that select it. The zero event says that the tail is
// at the log's end.
func (h *Hub) add(ctx context.Context, e event.Event) {
	if e.ID().IsZero() {
		close(h.caughtUp)
		return
	}
	seq, head := e.ID().Seq(), h.window.head.Load()
	if seq <= head {
		return // a log that repeats events must not break the window
	}
	if seq > head+1 && seq > h.startSeq { // there were no subscribers before startSeq
		// The sequences between are holes in the log, or retention was faster than the tail. Only the first is harmless.
		if first, _, err := h.log.Bounds(ctx); err != nil || first > head+1 {
			h.lostUntil.Store(seq)
			h.window.reset(seq)
		}
	}
	if !e.Trace().IsZero() {
		if h.deliveries != nil && seq > h.startSeq {
			h.deliveries.Begin(e)
		}
		e = e.Traced(event.Trace{}) // the window needs no memory for it
	}
	if e.Type() == event.TypeGap { // the topic was purged
		h.window.purge(e.Topic())
	}
	formats := []event.Format{event.Frames, event.Lines}
	if h.lines.Load() == 0 {
		formats = formats[:1]
	}
	entry := newEntry(e, formats...)
	entry.expires = h.expiryOf(e)
	h.window.append(entry)
	h.matcher.Match(e.Topic().String(), func(s *Subscriber) {
		if s.dueFrom.CompareAndSwap(0, seq) {
			h.toWake = append(h.toWake, s)
		}
	})
	h.matched.Store(seq)
	if seq > h.startSeq && e.Topic() != (event.Topic{}) {
		h.counters.published.Add(1)
		h.counters.publishedBytes.Add(uint64(len(e.Data())))
	}
}

// expiryOf returns when the TTL of an event that the tail has read is over, 0 for never. If this machine's clock is ahead of that of the
// log, a new event must not expire before anyone has got it.
func (h *Hub) expiryOf(e event.Event) int64 {
	if e.TTL().IsZero() {
		return 0
	}
	stored := e.Time()
	if now := time.Now(); e.ID().Seq() > h.startSeq && now.After(stored) {
		stored = now
	}
	return stored.Add(e.TTL().Duration()).UnixNano()
}

// acquireReplay waits until the subscriber may read the log. Each read holds consumers of the log, whose number is
// limited.
func (h *Hub) acquireReplay(ctx context.Context) error {
	select {
	case h.replays <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hub) releaseReplay() { <-h.replays }

func (h *Hub) id(seq uint64) event.ID { return event.NewID(h.log.Epoch(), seq) }
