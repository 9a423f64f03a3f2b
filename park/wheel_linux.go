package park

import "time"

// A wheel keeps connections by the time at which something is due: one list for each tick,
// in a ring. What is due later than a round of the ring is passed by until its round.
type wheel struct {
	slots [wheelSlots]*conn
	tick  time.Duration // what is due within one is done at one wake-up
	now   int64         // the tick that was looked at last
	size  int
}

const (
	mostTick   = 50 * time.Millisecond
	wheelSlots = 1024 // a round is 51 s
)

// newWheel returns a wheel that is fine enough for what comes at the intervals; at 0 nothing does.
func newWheel(intervals ...time.Duration) wheel {
	w := wheel{tick: mostTick}
	for _, interval := range intervals {
		if interval > 0 {
			w.tick = max(time.Millisecond, min(w.tick, interval/20))
		}
	}
	return w
}

// tickOf is the tick at which a time has come.
func (w *wheel) tickOf(t time.Duration) int64 { return int64((t + w.tick - 1) / w.tick) }

// set has the connection come up at the time, and not at any that was set before.
func (w *wheel) set(c *conn, at time.Duration) {
	w.unset(c)
	c.due = max(w.tickOf(at), w.now+1)
	slot := &w.slots[c.due%wheelSlots]
	if c.next = *slot; c.next != nil {
		c.next.prev = c
	}
	*slot = c
	w.size++
}

func (w *wheel) unset(c *conn) {
	if c.due == 0 {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		w.slots[c.due%wheelSlots] = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev, c.due = nil, nil, 0
	w.size--
}

// advance appends to dst the connections whose time has come by now.
func (w *wheel) advance(now time.Duration, dst []*conn) []*conn {
	last := int64(now / w.tick)
	if last-w.now > wheelSlots { // a pause of more than a round: each list once
		w.now = last - wheelSlots
	}
	for ; w.now < last; w.now++ {
		for c := w.slots[(w.now+1)%wheelSlots]; c != nil; {
			next := c.next
			if c.due <= last {
				w.unset(c)
				dst = append(dst, c)
			}
			c = next
		}
	}
	return dst
}

// wait is how long nothing is due, at most a second.
func (w *wheel) wait(now time.Duration) time.Duration {
	const most = time.Second
	if w.size == 0 {
		return most
	}
	for t := w.now + 1; t <= w.tickOf(now+most); t++ {
		if w.slots[t%wheelSlots] != nil {
			return min(max(0, time.Duration(t)*w.tick-now), most)
		}
	}
	return most
}
