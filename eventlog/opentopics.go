package eventlog

import (
	"sync"
	"sync/atomic"

	"freshet/event"
)

// maxOpenTopics is how many topics a log knows as open at least, if there are so many. It knows at most twice as many.
const maxOpenTopics = 1 << 14

// openTopics holds topics that have not ended, as far as this node knows: those that were used last. Its zero value is empty.
type openTopics struct {
	all atomic.Bool // no topic has ended

	mu         sync.Mutex
	newer, old map[event.Topic]struct{}
	ending     map[event.Topic]int // how many calls of End each has in flight
	gen        generation
}

// generation counts the ends that the node has learned of.
type generation uint64

func (o *openTopics) current() generation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gen
}

func (o *openTopics) has(t event.Topic) bool {
	if o.all.Load() {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.newer[t]; ok {
		return true
	}
	_, ok := o.old[t]
	if ok {
		o.addLocked(t)
	}
	return ok
}

// add adds a topic of which JetStream said after the generation that it has not ended. It does nothing if the node has learned of an end
// since, because it may be this topic's.
func (o *openTopics) add(t event.Topic, before generation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gen == before && o.ending[t] == 0 {
		o.addLocked(t)
	}
}

func (o *openTopics) addLocked(t event.Topic) {
	if o.newer == nil || len(o.newer) >= maxOpenTopics {
		o.old, o.newer = o.newer, map[event.Topic]struct{}{}
	}
	o.newer[t] = struct{}{}
}

// remove removes a topic that has ended.
func (o *openTopics) remove(t event.Topic) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removeLocked(t)
}

func (o *openTopics) removeLocked(t event.Topic) {
	o.all.Store(false)
	o.gen++
	delete(o.newer, t)
	delete(o.old, t)
}

// closing removes a topic that is about to end, and keeps it out until the function that it returns is called.
func (o *openTopics) closing(t event.Topic) (ended func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removeLocked(t)
	if o.ending == nil {
		o.ending = map[event.Topic]int{}
	}
	o.ending[t]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.gen++
		if o.ending[t]--; o.ending[t] == 0 {
			delete(o.ending, t)
		}
	}
}
