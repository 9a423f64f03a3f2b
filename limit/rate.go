package limit

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Never is the wait for more than a whole burst.
const Never = time.Duration(math.MaxInt64)

const (
	maxKeys = 10_000 // about two megabytes
	sample  = 4      // keys to check for each new one, so that at most about a quarter of all buckets are full
)

// Rate limits how often each key may do something: a burst at once, then perSecond.
type Rate[K comparable] struct {
	perSecond rate.Limit
	burst     int

	mu      sync.Mutex
	buckets map[K]*rate.Limiter
}

// NewRate returns a Rate. With perSecond 0 there is no limit.
func NewRate[K comparable](perSecond float64, burst int) *Rate[K] {
	return &Rate[K]{perSecond: rate.Limit(perSecond), burst: burst, buckets: map[K]*rate.Limiter{}}
}

// Burst is the most that Allow grants at once.
func (r *Rate[K]) Burst() int { return r.burst }

// Allow takes n for the key, or nothing. If it takes nothing, wait is the time after which the same call succeeds, unless other calls
// take from the key before. It is [Never] if n is more than a burst.
func (r *Rate[K]) Allow(key K, n int) (wait time.Duration, ok bool) {
	if r.perSecond == 0 {
		return 0, true
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket := r.buckets[key]
	if bucket == nil {
		r.forget(now)
		bucket = rate.NewLimiter(r.perSecond, r.burst)
		r.buckets[key] = bucket
	}
	reservation := bucket.ReserveN(now, n)
	if !reservation.OK() {
		return Never, false
	}
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
	}
	return wait, wait == 0
}

// Wait is the time after which the key may take one. It takes nothing.
func (r *Rate[K]) Wait(key K) time.Duration {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket := r.buckets[key]
	if bucket == nil {
		return 0
	}
	reservation := bucket.ReserveN(now, 1)
	defer reservation.CancelAt(now)
	return reservation.DelayFrom(now)
}

// forget checks a few random keys and removes those with a full bucket, since a new bucket is full too. At the maximum it also removes
// one that is not full.
func (r *Rate[K]) forget(now time.Time) {
	checked := 0
	for key, bucket := range r.buckets {
		if len(r.buckets) >= maxKeys || bucket.TokensAt(now) >= float64(r.burst) {
			delete(r.buckets, key)
		}
		if checked++; checked == sample {
			return
		}
	}
}
