package park

import "time"

// A wheel orders connections by the time of their next step: a ring with one list for each
// tick. A step that is due later than one round of the ring is skipped until its round.
type wheel struct {
	slots [wheelSlots]*conn
	tick  time.Duration // steps that are due within one are done together
	now   int64         // the tick that was looked at last
	size  int
}

const wheelSlots = 1024

func newWheel(tick, now time.Duration) wheel { return wheel{tick: tick, now: int64(now / tick)} }

// tickOf is the tick at which a time has come.
func (w *wheel) tickOf(t time.Duration) int64 { return int64((t + w.tick - 1) / w.tick) }

// set schedules the connection for the time, and for no earlier setting.
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

// advance appends to dst the connections whose time has come.
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
