package hub

import (
	"context"
	"sync"
	"time"

	"freshet/event"
)

// aheadInterval is how often the hub asks whether the log has come as far as its subscribers that are ahead.
const aheadInterval = 2 * time.Second

// aheadWait is how long Replay waits for the answer.
const aheadWait = 3 * aheadInterval

// ahead is a subscriber with an ID after the log's end, as this node sees it. Another node has delivered that ID, and
// this node's NATS server lags; or the log has lost the event. Until the hub knows, the subscriber waits at its ID, and
// gets later events if they come.
type ahead struct {
	sub       *Subscriber
	requested uint64

	proofs int // how often in a row the log was proved to end before; the set's

	settled  chan struct{} // closed when it is known
	first    uint64        // the log's first event then
	sentBack bool          // the log ends before
}

// aheadSet holds the subscribers for which it is not known yet. Adding and removing nil does nothing.
type aheadSet struct {
	mu    sync.Mutex
	all   map[*ahead]struct{}
	added chan struct{} // holds a token if there may be some
}

func newAheadSet() aheadSet {
	return aheadSet{all: map[*ahead]struct{}{}, added: make(chan struct{}, 1)}
}

func (set *aheadSet) add(a *ahead) {
	if a == nil {
		return
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	set.all[a] = struct{}{}
	select {
	case set.added <- struct{}{}:
	default:
	}
}

func (set *aheadSet) remove(a *ahead) {
	if a == nil {
		return
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	delete(set.all, a)
}

func (set *aheadSet) empty() bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	return len(set.all) == 0
}

// watchAhead asks the log while there are subscribers ahead of it, until ctx is done.
func (h *Hub) watchAhead(ctx context.Context) error {
	for {
		select {
		case <-h.ahead.added:
		case <-ctx.Done():
			return ctx.Err()
		}
		for !h.ahead.empty() {
			began := time.Now()
			select {
			case <-time.After(aheadInterval):
			case <-ctx.Done():
				return ctx.Err()
			}
			first, last, proved, err := h.log.ProvedBounds(ctx, began)
			if err == nil {
				h.ahead.settle(first, last, proved)
			}
		}
	}
}

// settle takes an answer of the log. The second proof in a row counts: the leader may be a moment behind other servers,
// and the subscriber may be newer than the first question.
func (set *aheadSet) settle(first, last uint64, proved bool) {
	set.mu.Lock()
	defer set.mu.Unlock()
	for a := range set.all {
		switch {
		case a.requested <= last:
		case !proved:
			a.proofs = 0
			continue
		default:
			if a.proofs++; a.proofs < 2 {
				continue
			}
			a.first, a.sentBack = first, true
		}
		delete(set.all, a)
		close(a.settled)
		if a.sentBack {
			a.sub.dueFrom.CompareAndSwap(0, a.requested+1) // something is due: the gap
			a.sub.wake()
		}
	}
}

// settleAhead makes the gap if the log ends before the subscriber's ID. Events that came since it subscribed follow.
func (s *Subscriber) settleAhead() {
	select {
	case <-s.ahead.settled:
	default:
		return
	}
	if a := s.ahead; a.sentBack {
		s.setCursor(s.subscribedAt)
		s.gap = s.newGap(s.hub.id(a.requested).String(), a.first, s.cursor, event.GapUnknown)
	}
	s.ahead = nil
}

// awaitAhead waits until it is known whether the log ends before the subscriber's ID, but not for ever: then there is
// nothing to return yet.
func (s *Subscriber) awaitAhead(ctx context.Context) error {
	select {
	case <-s.ahead.settled:
		s.settleAhead()
	case <-time.After(aheadWait):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
