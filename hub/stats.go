package hub

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// counters count since the hub was made.
type counters struct {
	subscribers atomic.Int64
	published   atomic.Uint64
	delivered   atomic.Uint64
	latency     histogram
}

// Stats is what the hub has counted.
type Stats struct {
	Subscribers int64  // now
	Published   uint64 // events that the log has taken since the hub was made
	Delivered   uint64 // events written to subscribers
	// Latencies from the log's append to the write, of the deliveries since the last
	// call; negative without any.
	P50, P99 time.Duration
}

// Stats returns what has been counted. Latencies start anew at each call: one caller only.
func (h *Hub) Stats() Stats {
	p50, p99 := h.counters.latency.take()
	return Stats{
		Subscribers: h.counters.subscribers.Load(),
		Published:   h.counters.published.Load(),
		Delivered:   h.counters.delivered.Load(),
		P50:         p50,
		P99:         p99,
	}
}

// Delivered counts entries that have been written to the subscriber's connection at the
// time now. Latency is that of the oldest; what was published before the subscriber came
// has none.
func (s *Subscriber) Delivered(entries []*Entry, now time.Time) {
	if len(entries) == 0 {
		return
	}
	s.sent.Add(uint64(len(entries)))
	s.hub.counters.delivered.Add(uint64(len(entries)))
	if e := entries[0]; e.seq() > s.joined && !e.Event.Time().IsZero() { // a gap has no time
		s.hub.counters.latency.add(now.Sub(e.Event.Time()))
	}
}

// histogram counts durations in buckets of microseconds, eight to each power of two: a
// percentile is right to within an eighth.
type histogram struct{ buckets [256]atomic.Uint64 }

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(uint64(max(d.Microseconds(), 0)))].Add(1)
}

// take returns two percentiles and empties the histogram.
func (h *histogram) take() (p50, p99 time.Duration) {
	var counts [256]uint64
	var total uint64
	for i := range h.buckets {
		counts[i] = h.buckets[i].Swap(0)
		total += counts[i]
	}
	at := func(share uint64) time.Duration {
		var seen uint64
		for i, n := range counts {
			if seen += n; seen*100 >= total*share && n > 0 {
				return time.Duration(bucketMiddle(i)) * time.Microsecond
			}
		}
		return -1
	}
	return at(50), at(99)
}

func bucketOf(us uint64) int {
	if us < 8 {
		return int(us)
	}
	shift := bits.Len64(us) - 4
	return min(8*shift+int(us>>shift), 255)
}

func bucketMiddle(i int) uint64 {
	if i < 16 {
		return uint64(i)
	}
	shift := i/8 - 1
	return uint64(8+i%8)<<shift + 1<<shift/2
}
