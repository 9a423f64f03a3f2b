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

// Acquire takes one for the key, and reports false if the key has the most already. Each Acquire that succeeds needs one Release.
func (c *Concurrency[K]) Acquire(key K) bool {
	if c.most == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inUse[key] >= c.most {
		return false
	}
	c.inUse[key]++
	return true
}

// Release gives back one that Acquire took.
func (c *Concurrency[K]) Release(key K) {
	if c.most == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inUse[key]--; c.inUse[key] == 0 {
		delete(c.inUse, key)
	}
}
