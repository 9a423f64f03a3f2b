package limit

import "sync"

// Concurrency limits how many of something each key may have at once.
type Concurrency[K comparable] struct {
	most int

	mu    sync.Mutex
	inUse map[K]int
}

// NewConcurrency returns a Concurrency. With most 0 there is no limit.
func NewConcurrency[K comparable](most int) *Concurrency[K] {
	return &Concurrency[K]{most: most, inUse: map[K]int{}}
}

// Acquire takes n for the key, but never more than the limit. It takes nothing and reports false if the key would then have more
// than the limit. Each Acquire that succeeds needs a Release of the same n.
func (c *Concurrency[K]) Acquire(key K, n int) bool {
	if c.most == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, c.most)
	if c.inUse[key] > c.most-n {
		return false
	}
	c.inUse[key] += n
	return true
}

// Release gives back what Acquire took.
func (c *Concurrency[K]) Release(key K, n int) {
	if c.most == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inUse[key] -= min(n, c.most); c.inUse[key] == 0 {
		delete(c.inUse, key)
	}
}
