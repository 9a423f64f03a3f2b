package hub

import (
	"math/bits"
	"sync/atomic"
	"time"
)

type counters struct {
	subscribers atomic.Int64
	published   atomic.Uint64
	delivered   atomic.Uint64
	latency     [latencyBuckets]atomic.Uint64
}

// Stats is a snapshot of the hub's counters. All but Subscribers count since the hub was made and never fall.
type Stats struct {
	Subscribers int64  // now
	Published   uint64 // events that the log stored
	Delivered   uint64 // events written to subscribers
	Latency     Latency
}

// Stats returns a snapshot of the counters.
func (h *Hub) Stats() Stats {
	c := &h.counters
	s := Stats{Subscribers: c.subscribers.Load(), Published: c.published.Load(), Delivered: c.delivered.Load()}
	for i := range c.latency {
		s.Latency[i] = c.latency[i].Load()
	}
	return s
}

// Delivered counts entries that were written to the subscriber's connection at the time now. The latency counted is
// that of the oldest entry. An event that is older than the subscription has none.
func (s *Subscriber) Delivered(entries []*Entry, now time.Time) {
	if len(entries) == 0 {
		return
	}
	s.sent.Add(uint64(len(entries)))
	s.hub.counters.delivered.Add(uint64(len(entries)))
	if e := entries[0]; e.seq() > s.subscribedAt && !e.Event.Time().IsZero() { // a gap has no time
		s.hub.counters.latency[bucketOf(now.Sub(e.Event.Time()))].Add(1)
	}
}

const latencyBuckets = 256

// Latency counts deliveries by the time from the log's append to the write. It has eight buckets for each power of two
// of microseconds, so a percentile is exact to an eighth.
type Latency [latencyBuckets]uint64

// Since returns the deliveries that were counted after the earlier snapshot.
func (l Latency) Since(earlier Latency) Latency {
	for i := range l {
		l[i] -= earlier[i]
	}
	return l
}

// Percentile returns the time that p percent of the deliveries did not exceed; false without deliveries.
func (l Latency) Percentile(p uint64) (d time.Duration, ok bool) {
	var total, seen uint64
	for _, n := range l {
		total += n
	}
	for i, n := range l {
		if seen += n; n > 0 && seen*100 >= total*p {
			return bucketMiddle(i), true
		}
	}
	return 0, false
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < 8 {
		return int(us)
	}
	shift := bits.Len64(us) - 4
	return min(8*shift+int(us>>shift), latencyBuckets-1)
}

func bucketMiddle(i int) time.Duration {
	if i < 16 {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/8 - 1
	return time.Duration(8+i%8)<<shift*time.Microsecond + 1<<shift*time.Microsecond/2
}
