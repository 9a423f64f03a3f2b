package park

import "sync/atomic"

// Leash ends a stream while it is parked, also if that is for the second time. The zero value
// is ready; it is one stream's.
type Leash struct{ conn atomic.Pointer[conn] }

// End ends the stream with the event auth-expired if it is parked now. It does not wait. Who
// enters a stream that was to end before calls it once more.
func (l *Leash) End() {
	c := l.conn.Load()
	if c == nil {
		return
	}
	_ = c.shard.post(func(in *inbox) error { // a closed one has ended c
		in.expired = append(in.expired, c)
		return nil
	})
}
