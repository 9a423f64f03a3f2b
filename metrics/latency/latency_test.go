package latency_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"freshet/metrics/latency"
)

// Each duration is in the one bucket whose bounds it is between.
func TestADurationIsInTheBucketOfItsBounds(t *testing.T) {
	t.Parallel()
	for d := time.Microsecond; d < 20*time.Minute; d = d*21/20 + 1 {
		var h latency.Histogram
		h.Observe(d)
		shortest, byKey := h.Snapshot().Buckets()
		if shortest != 0 || len(byKey) != 1 {
			t.Fatalf("%v: %d shortest, buckets %v", d, shortest, byKey)
		}
		for key, n := range byKey {
			low, high := math.Exp2(float64(key-1)/8), math.Exp2(float64(key)/8)
			if s := d.Seconds(); n != 1 || s <= low*0.999999 || s > high*1.000001 {
				t.Errorf("%v is in bucket %d, from %g to %g s", d, key, low, high)
			}
		}
		if got, ok := h.Snapshot().Percentile(50); !ok || got < d*9/10 || got > d*11/10 {
			t.Errorf("the median of %v alone is %v, %v", d, got, ok)
		}
	}
}

func TestDurationsAtTheEnds(t *testing.T) {
	t.Parallel()
	var h latency.Histogram
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Hour, math.MaxInt64} {
		h.Observe(d)
	}
	s := h.Snapshot()
	if shortest, byKey := s.Buckets(); shortest != 3 || len(byKey) != 1 || s.Count() != 5 {
		t.Errorf("shortest %d, buckets %v of %d durations", shortest, byKey, s.Count())
	}
	if below := s.Octaves(-14, 6); below[64] != 3 || len(below) != 21 {
		t.Errorf("by octaves: %v", below)
	}
}

func TestOctaves(t *testing.T) {
	t.Parallel()
	var h latency.Histogram
	for _, d := range []time.Duration{time.Millisecond, 250 * time.Millisecond, 251 * time.Millisecond, time.Second, time.Second + 1, 3 * time.Second} {
		h.Observe(d)
	}
	s := h.Snapshot()
	below := s.Octaves(-2, 1)
	for bound, want := range map[float64]uint64{0.25: 2, 0.5: 3, 1: 4, 2: 5} {
		if below[bound] != want {
			t.Errorf("at most %g s: %d, want %d", bound, below[bound], want)
		}
	}
	if want := 5*time.Second + 502*time.Millisecond + 1; s.Sum() != want {
		t.Errorf("the sum is %v, want %v", s.Sum(), want)
	}
}

func TestSinceIsWhatCameBetween(t *testing.T) {
	t.Parallel()
	var h latency.Histogram
	h.Observe(time.Millisecond)
	before := h.Snapshot()
	h.Observe(time.Second)
	got := h.Snapshot().Since(before)
	if p, ok := got.Percentile(1); got.Count() != 1 || got.Sum() != time.Second || !ok || p < 900*time.Millisecond {
		t.Errorf("count %d, sum %v, first percentile %v", got.Count(), got.Sum(), p)
	}
	if _, ok := got.Since(got).Percentile(50); ok {
		t.Error("a percentile of nothing")
	}
}

func TestManyCountAtOnce(t *testing.T) {
	t.Parallel()
	var h latency.Histogram
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				h.Observe(time.Duration(i) * time.Microsecond)
			}
		})
	}
	wg.Wait()
	if s := h.Snapshot(); s.Count() != 8000 || s.Sum() != 8*499_500*time.Microsecond {
		t.Errorf("count %d, sum %v", s.Count(), s.Sum())
	}
}
