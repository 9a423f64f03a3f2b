package eventlog

import (
	"slices"
	"sync"
	"time"

	"freshet/event"
)

const (
	// keptReplays bounds the consumers that JetStream has beside those that are read.
	keptReplays = 64
	// keptFor is how long a reader may take to come back for the next piece.
	keptFor = time.Second
)

// kept holds replays between two pieces of a reader who is fast: a consumer costs
// JetStream more than a piece. A place that is taken stays taken: among more readers than
// places each would else find that its own was given to the next.
type kept struct {
	mu      sync.Mutex
	replays []*replay
	closed  bool
	ending  sync.WaitGroup
}

// take returns the replay that goes on behind the sequence, or nil.
func (p *kept) take(after uint64, patterns event.Patterns) *replay {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.replays {
		if r.upto == after && slices.Equal(r.patterns, patterns) {
			p.replays = slices.Delete(p.replays, i, i+1)
			r.expiry.Stop()
			return r
		}
	}
	return nil
}

// put keeps the replay for a while, and lets JetStream send the next piece meanwhile. It is
// false if there is no place for it.
func (p *kept) put(r *replay) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.replays) >= keptReplays || r.ahead() != nil {
		return false
	}
	p.replays = append(p.replays, r)
	r.expiry = time.AfterFunc(keptFor, func() { p.expire(r) })
	return true
}

// expire ends a replay that nobody has taken.
func (p *kept) expire(r *replay) {
	p.mu.Lock()
	i := slices.Index(p.replays, r)
	if i < 0 {
		p.mu.Unlock()
		return
	}
	p.replays = slices.Delete(p.replays, i, i+1)
	p.ending.Add(1)
	p.mu.Unlock()
	defer p.ending.Done()
	r.end()
}

// close ends all, and waits for those that are ending.
func (p *kept) close() {
	p.mu.Lock()
	p.closed = true
	left := p.replays
	p.replays = nil
	p.mu.Unlock()
	for _, r := range left {
		r.expiry.Stop()
		r.end()
	}
	p.ending.Wait()
}
