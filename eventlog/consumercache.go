package eventlog

import (
	"slices"
	"sync"
	"time"

	"freshet/event"
)

const (
	maxCachedConsumers = 64
	// maxUnread is the largest event in bytes that a cached consumer keeps for its reader.
	maxUnread = 1 << 20
	// cacheExpiry is how soon a reader must continue to find its consumer. A consumer of the
	// newest event of each topic waits longer: another one would start at the first topic.
	cacheExpiry     = time.Second
	lastCacheExpiry = 2 * idleConsumer / 3
)

// consumerCache keeps consumers between two reads of a fast reader: to JetStream, creating a
// consumer costs more than a read. A full cache refuses new consumers and evicts none, or
// with many readers none would find its own.
type consumerCache struct {
	mu        sync.Mutex
	consumers []*consumer
	closed    bool
	closing   sync.WaitGroup
}

// acquire removes and returns the consumer that continues after the sequence, or nil.
func (cc *consumerCache) acquire(last bool, after uint64, patterns event.Patterns) *consumer {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	i := slices.IndexFunc(cc.consumers, func(c *consumer) bool {
		return c.last == last && c.cursor == after && slices.Equal(c.patterns, patterns)
	})
	if i < 0 {
		return nil
	}
	c := cc.consumers[i]
	cc.consumers = slices.Delete(cc.consumers, i, i+1)
	c.expiry.Stop()
	return c
}

// release caches the consumer, and requests the next events of one that reads all events. It
// returns false if the cache is full, or the consumer keeps a large event for its reader.
func (cc *consumerCache) release(c *consumer) bool {
	if c.unread != nil && len(c.unread.Data()) > maxUnread {
		return false
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.closed || len(cc.consumers) >= maxCachedConsumers || !c.last && c.requested == 0 && c.pull(pullEvents, pullBytes) != nil {
		return false
	}
	c.unreserve() // the requested events have come, or come soon
	cc.consumers = append(cc.consumers, c)
	expiry := cacheExpiry
	if c.last {
		expiry = lastCacheExpiry
	}
	c.expiry = time.AfterFunc(expiry, func() { cc.expire(c) })
	return true
}

func (cc *consumerCache) expire(c *consumer) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if i := slices.Index(cc.consumers, c); i >= 0 {
		cc.consumers = slices.Delete(cc.consumers, i, i+1)
		cc.closing.Go(c.close)
	}
}

// close closes the cached consumers, and waits until all are closed.
func (cc *consumerCache) close() {
	cc.mu.Lock()
	cc.closed = true
	for _, c := range cc.consumers {
		c.expiry.Stop()
		cc.closing.Go(c.close)
	}
	cc.consumers = nil
	cc.mu.Unlock()
	cc.closing.Wait()
}
