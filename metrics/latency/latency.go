// Package latency counts durations in buckets that grow exponentially. Counting takes no lock and allocates nothing, so it suits the path of
// each event. Package metrics shows the counts to Prometheus.
package latency

import (
	"math"
	"sync/atomic"
	"time"
)

// The buckets are those of Prometheus's native histograms with [Schema]: bucket i holds the durations up to 2^((i+first)/8) seconds that
// are longer than those of bucket i-1. Bucket 0 also holds all shorter durations, and the last bucket all longer ones.
const (
	// Schema: each bound is 2^(1/8) times the one before.
	Schema = 3

	perOctave = 1 << Schema
	buckets   = 256
	first     = -21 * perOctave // 2^-21 s is about half a microsecond
)

// bounds are the lower bounds of an octave's buckets, between 0.5 and 1.
var bounds = func() (b [perOctave]float64) {
	for i := range b {
		b[i] = math.Exp2(float64(i)/perOctave - 1)
	}
	return b
}()

// Histogram counts durations. Its zero value is ready, and any number of goroutines may use it.
type Histogram struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Int64
}

// Observe counts the duration. A negative one, of clocks that differ, counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(d)].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot returns the counts since the start.
func (h *Histogram) Snapshot() Snapshot {
	var s Snapshot
	for i := range h.counts {
		s.counts[i] = h.counts[i].Load()
	}
	s.sum = time.Duration(h.sum.Load())
	return s
}

func bucketOf(d time.Duration) int {
	if d == 0 {
		return 0
	}
	fraction, exponent := math.Frexp(d.Seconds())
	i := 0
	for i < perOctave && bounds[i] < fraction {
		i++
	}
	return min(max((exponent-1)*perOctave+i-first, 0), buckets-1)
}

// Snapshot has the counts of a [Histogram] at one moment.
type Snapshot struct {
	counts [buckets]uint64
	sum    time.Duration
}

// Since returns what was counted after the earlier snapshot.
func (s Snapshot) Since(earlier Snapshot) Snapshot {
	for i := range s.counts {
		s.counts[i] -= earlier.counts[i]
	}
	s.sum -= earlier.sum
	return s
}

// Count is how many durations were counted.
func (s Snapshot) Count() (n uint64) {
	for _, c := range s.counts {
		n += c
	}
	return n
}

// Sum is the sum of all durations.
func (s Snapshot) Sum() time.Duration { return s.sum }

// Percentile returns the duration that p percent of all did not exceed, exact to a sixteenth of an octave; false if there were none.
func (s Snapshot) Percentile(p uint64) (d time.Duration, ok bool) {
	total, seen := s.Count(), uint64(0)
	for i, n := range s.counts {
		if seen += n; n > 0 && seen*100 >= total*p {
			return time.Duration(math.Exp2((float64(i+first)-0.5)/perOctave) * float64(time.Second)), true
		}
	}
	return 0, false
}

// Shortest is the upper bound of the shortest bucket, in seconds.
func Shortest() float64 { return math.Exp2(first / perOctave) }

// Buckets returns the counts by the key of Prometheus's native buckets: key k has the durations up to 2^(k/8) seconds. Empty buckets are left
// out. The durations up to [Shortest] are apart.
func (s Snapshot) Buckets() (shortest uint64, byKey map[int]int64) {
	byKey = map[int]int64{}
	for i, n := range s.counts[1:] {
		if n > 0 {
			byKey[i+1+first] = int64(n)
		}
	}
	return s.counts[0], byKey
}

// Octaves returns how many durations were at most 2^n seconds, by n from least to most.
func (s Snapshot) Octaves(least, most int) map[float64]uint64 {
	atMost, upto, i := map[float64]uint64{}, uint64(0), 0
	for n := least; n <= most; n++ {
		for ; i < buckets && i+first <= n*perOctave; i++ {
			upto += s.counts[i]
		}
		atMost[math.Exp2(float64(n))] = upto
	}
	return atMost
}
