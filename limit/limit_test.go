package limit_test

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/limit"
)

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.7":          "203.0.113.7/32",
		"::ffff:203.0.113.7":   "203.0.113.7/32",
		"2001:db8:1:2:3::4":    "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::/64",
		"fe80::1%eth0":         "fe80::/64",
	} {
		if got := limit.Network(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
	if got := limit.Network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("the invalid address counts as %v", got)
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate[string](2, 20)
		want := func(key string, n int, wait time.Duration) {
			t.Helper()
			if got, ok := r.Allow(key, n); got != wait || ok != (wait == 0) {
				t.Errorf("%d for %q: wait %v, %v; want %v", n, key, got, ok, wait)
			}
		}
		for range 20 {
			want("a", 1, 0)
		}
		want("a", 1, time.Second/2)
		want("a", 15, 7500*time.Millisecond)
		want("b", 21, limit.Never)
		want("b", 20, 0)
		want("b", 0, 0)

		// Refused calls have taken nothing, and the wait is exact.
		time.Sleep(7500*time.Millisecond - time.Microsecond)
		if wait, ok := r.Allow("a", 15); ok || wait > 2*time.Microsecond {
			t.Errorf("a microsecond too early: wait %v, %v", wait, ok)
		}
		time.Sleep(time.Microsecond)
		want("a", 15, 0)
		want("a", 1, time.Second/2)

		// A pause saves up one burst and no more.
		time.Sleep(time.Hour)
		want("a", 20, 0)
		want("a", 1, time.Second/2)
	})
}

// A caller that waits as long as Allow says is not refused again, at any rate.
func TestRateWaitsAreEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, perSecond := range []float64{1.0 / 3, 0.7, 7, 3333} {
			r := limit.NewRate[int](perSecond, 3)
			for range 100 {
				wait, ok := r.Allow(1, 2)
				if ok {
					continue
				}
				time.Sleep(wait)
				if wait, ok = r.Allow(1, 2); !ok {
					t.Fatalf("%v a second: refused after the wait, %v more", perSecond, wait)
				}
			}
		}
	})
}

func TestRateWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate[string](1.0/3, 2)
		want := func(wait time.Duration) {
			t.Helper()
			for range 3 { // Wait takes nothing
				if got := r.Wait("a"); got != wait {
					t.Errorf("wait %v, want %v", got, wait)
				}
			}
		}
		want(0)
		if r.Len() != 0 {
			t.Error("a key is held that has taken nothing")
		}
		r.Allow("a", 1)
		want(0)
		r.Allow("a", 1)
		want(3 * time.Second)
		r.Allow("a", 1) // refused
		want(3 * time.Second)
		time.Sleep(2 * time.Second)
		want(time.Second)
		time.Sleep(time.Second)
		want(0)
	})
}

func TestNoRate(t *testing.T) {
	r := limit.NewRate[int](0, 0)
	for range 1000 {
		if wait, ok := r.Allow(1, 1000); wait != 0 || !ok {
			t.Fatalf("wait %v, %v", wait, ok)
		}
	}
	if r.Wait(1) != 0 || r.Len() != 0 {
		t.Errorf("wait %v, %d keys", r.Wait(1), r.Len())
	}
}

func TestRateForgetsFullBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate[int](1, 10)
		r.Allow(-1, 10)
		for i := range 3000 {
			r.Allow(i, 1)
		}
		if wait, ok := r.Allow(-1, 1); ok {
			t.Error("a key with an empty bucket was forgotten")
		} else {
			time.Sleep(wait)
		}
		r.Allow(-1, 1) // all others are full now
		for i := range 3000 {
			r.Allow(10_000+i, 1)
		}
		// 3,001 keys are not full. The others are removed step by step.
		if n := r.Len(); n > 4500 {
			t.Errorf("%d keys are held", n)
		}
		if _, ok := r.Allow(-1, 1); ok {
			t.Error("a key with an empty bucket was forgotten")
		}
	})
}

func TestRateHoldsSoManyKeysAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate[int](1, 1)
		for i := range 30_000 {
			if _, ok := r.Allow(i, 1); !ok {
				t.Fatalf("key %d was refused", i)
			}
		}
		if n := r.Len(); n != 10_000 {
			t.Errorf("%d keys are held, want 10,000", n)
		}
	})
}

func TestConcurrency(t *testing.T) {
	c := limit.NewConcurrency[string](2)
	want := func(key string, ok bool) {
		t.Helper()
		if got := c.Acquire(key, 1); got != ok {
			t.Errorf("%q: %v, want %v", key, got, ok)
		}
	}
	want("a", true)
	want("a", true)
	want("a", false)
	want("b", true)
	c.Release("a", 1)
	want("a", true)
	want("a", false)
	c.Release("a", 1)
	c.Release("a", 1)
	want("a", true)
	want("a", true)
	want("a", false)
}

func TestConcurrencyOfSeveralAtOnce(t *testing.T) {
	c := limit.NewConcurrency[string](5)
	if !c.Acquire("a", 3) || c.Acquire("a", 3) || !c.Acquire("a", 2) || c.Acquire("a", 1) {
		t.Error("not 5 were taken")
	}
	c.Release("a", 3)
	if c.Acquire("a", 4) || !c.Acquire("a", 3) {
		t.Error("not 3 were given back")
	}
	c.Release("a", 3)
	c.Release("a", 2)
	// More than the limit takes all.
	if !c.Acquire("a", 7) || c.Acquire("a", 1) {
		t.Error("7 of 5 did not take all")
	}
	c.Release("a", 7)
	if !c.Acquire("a", 5) {
		t.Error("7 of 5 were not given back")
	}
}

func TestNoConcurrencyLimit(t *testing.T) {
	c := limit.NewConcurrency[int](0)
	for range 1000 {
		if !c.Acquire(1, 1) {
			t.Fatal("refused")
		}
	}
	c.Release(1, 1)
}

func TestManyCallersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := limit.NewRate[int](1, 50), limit.NewConcurrency[int](50)
		var rated, open atomic.Int64
		var callers sync.WaitGroup
		for range 200 {
			callers.Go(func() {
				if _, ok := r.Allow(1, 1); ok {
					rated.Add(1)
				}
				if c.Acquire(1, 1) {
					open.Add(1)
				}
			})
		}
		callers.Wait()
		if rated.Load() != 50 || open.Load() != 50 {
			t.Errorf("%d passed the rate and %d the concurrency, want 50", rated.Load(), open.Load())
		}
	})
}

// A line may be written at once, then one a minute, and each knows how many occurrences it stands for.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limit.Log
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {0, 0}, {59 * time.Second, 0}, {time.Second, 3}, {time.Hour, 1}, {0, 0}} {
			time.Sleep(step.wait)
			if n := l.Allow(); n != step.want {
				t.Errorf("after %v: %d, want %d", step.wait, n, step.want)
			}
		}
	})
}
