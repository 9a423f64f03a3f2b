package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"freshet/event"

	"github.com/nats-io/nats-server/v2/server/gsl"
	"golang.org/x/sync/errgroup"
)

// Log is what the hub needs of the log. Package eventlog has the rules of each method.
type Log interface {
	Epoch() uint64
	Bounds(ctx context.Context) (first, last uint64, err error)
	Recent(ctx context.Context, size int64) (after uint64, err error)
	Seek(ctx context.Context, since event.Since, patterns event.Patterns) (after uint64, err error)
	Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error
	Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error)
	ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error)
}

// Config bounds the hub.
type Config struct {
	WindowBytes int64 // what the window may hold in memory; 0 means 64 MiB
	Replays     int   // subscribers that read the log at the same moment; 0 means 64
}

// Hub tails the log for all subscribers of a process.
type Hub struct {
	log     Log
	window  *window
	matcher *gsl.GenericSublist[*Subscriber]
	// overtaken is the event before which the tail has missed some; 0 if it never has.
	overtaken atomic.Uint64
	settled   atomic.Uint64 // every subscriber due an event up to here has been marked
	lines     atomic.Int64  // subscribers that read event.Lines; without any, events are not encoded so
	replays   chan struct{} // one token for each subscriber that reads the log
	caughtUp  chan struct{} // closed once the tail has been at the log's end
	startAt   uint64        // the log's last sequence at the start
	woken     []*Subscriber // the tail's: marked, not yet woken
	counters  counters
}

// New returns a hub of the log, with the window where the tail will begin. It does
// nothing until [Hub.Run].
func New(ctx context.Context, log Log, cfg Config) (*Hub, error) {
	if cfg.WindowBytes < 0 || cfg.Replays < 0 {
		return nil, errors.New("hub: a limit is negative")
	}
	size := cmp.Or(cfg.WindowBytes, 64<<20)
	// A window that is warm from the start serves those who come back after a restart.
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
		replays:  make(chan struct{}, cmp.Or(cfg.Replays, 64)),
		caughtUp: make(chan struct{}),
		startAt:  last,
	}
	h.settled.Store(after)
	return h, nil
}

// CaughtUp is closed once the hub, which runs, has been at the log's end. Before, "now"
// would be in the past: no stream should be opened.
func (h *Hub) CaughtUp() <-chan struct{} { return h.caughtUp }

// wakeEvery bounds how many events are taken in before subscribers are woken.
const wakeEvery = 64

// Run tails the log until ctx is done, or the log ends the tail with an error.
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
		atEnd := sync.OnceFunc(func() { _ = send(event.Event{}) }) // behind the events before it
		return h.log.Tail(ctx, h.window.head.Load(), atEnd, send)
	})
	g.Go(func() error {
		for taken := 0; ; {
			select {
			case e := <-events:
				h.take(ctx, e)
				if taken++; taken%wakeEvery != 0 {
					continue
				}
			default:
			}
			// Nothing more at hand, or enough of it: let them read what there is.
			h.wake()
			select {
			case e := <-events:
				h.take(ctx, e)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

// take adds an event to the window and marks the subscribers that are due it. The event
// without an ID says that the tail is at the log's end.
func (h *Hub) take(ctx context.Context, e event.Event) {
	seq, head := e.ID().Seq(), h.window.head.Load()
	if e.ID().IsZero() {
		select {
		case <-h.caughtUp:
		default:
			close(h.caughtUp)
		}
		return
	}
	if seq <= head {
		return // the log never repeats; a hub that trusts it would
	}
	if seq > head+1 && seq > h.startAt { // nobody subscribes before
		// Holes, or has retention overtaken the tail? Then nobody may pass by here unawares.
		if first, _, err := h.log.Bounds(ctx); err != nil || first > head+1 {
			h.overtaken.Store(seq)
			h.window.restart(seq)
		}
	}
	if h.lines.Load() > 0 {
		h.window.append(newEntry(e, event.Frames, event.Lines))
	} else {
		h.window.append(newEntry(e, event.Frames))
	}
	h.matcher.Match(e.Topic().String(), func(s *Subscriber) {
		if s.mark.CompareAndSwap(0, seq) {
			h.woken = append(h.woken, s)
		}
	})
	h.settled.Store(seq)
	if seq > h.startAt {
		h.counters.published.Add(1)
	}
}

func (h *Hub) wake() {
	for _, s := range h.woken {
		s.wake()
	}
	clear(h.woken) // hold no subscriber that is gone
	h.woken = h.woken[:0]
}

// enterLog waits for a turn among those who read the log: each holds consumers of it,
// which are not without end.
func (h *Hub) enterLog(ctx context.Context) error {
	select {
	case h.replays <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hub) leaveLog() { <-h.replays }

func (h *Hub) id(seq uint64) event.ID { return event.NewID(h.log.Epoch(), seq) }
