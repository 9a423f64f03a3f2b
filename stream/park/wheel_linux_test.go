package park

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

// The wheel against a plain map from each connection to its tick, over random steps of all sizes.
func TestTheWheelIsAMapByTime(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	conns := make([]conn, 300)
	w := newWheel(50*time.Millisecond, 0)
	tick, tickOf := w.tick, w.tickOf
	spans := []time.Duration{0, time.Millisecond, 3 * tick, time.Second, wheelSlots * tick, 5 * wheelSlots * tick}
	var now time.Duration
	due, came := map[*conn]int64{}, 0
	for step := range 20_000 {
		c := &conns[r.IntN(len(conns))]
		switch r.IntN(5) {
		case 0, 1, 2:
			at := now - tick + time.Duration(r.Int64N(int64(spans[r.IntN(len(spans))]+2*tick)))
			w.set(c, at)
			due[c] = max(tickOf(at), int64(now/tick)+1)
		case 3:
			w.unset(c)
			delete(due, c)
		case 4:
			now += time.Duration(r.Int64N(int64(spans[r.IntN(len(spans))] + 1)))
			for _, c := range w.advance(now, nil) {
				if at, set := due[c]; !set || at > int64(now/tick) {
					t.Fatalf("step %d: a connection for tick %d came up at %v", step, at, now)
				}
				delete(due, c)
				came++
			}
			maps.DeleteFunc(due, func(_ *conn, at int64) bool {
				if at <= int64(now/tick) {
					t.Fatalf("step %d: at %v, the connection for tick %d has not come up", step, now, at)
				}
				return false
			})
		}
		if w.size != len(due) {
			t.Fatalf("step %d: %d in the wheel, want %d", step, w.size, len(due))
		}
		wait := w.wait(now)
		for c, at := range due {
			if c.due != at {
				t.Fatalf("step %d: due at tick %d, want %d", step, c.due, at)
			}
			if until := time.Duration(at)*tick - now; wait > until && wait > 0 {
				t.Fatalf("step %d: waits for %v, but something is due in %v", step, wait, until)
			}
		}
		if wait < 0 || wait > time.Second {
			t.Fatalf("step %d: waits for %v", step, wait)
		}
	}
	if came < 1000 {
		t.Errorf("%d connections came up: the test shows little", came)
	}
}

// Each that came up has left the wheel, and may be set anew while others of its batch wait.
func TestTheWheelLetsGoOfWhatCameUp(t *testing.T) {
	w := newWheel(50*time.Millisecond, 0)
	conns := make([]conn, 10)
	for i := range conns {
		w.set(&conns[i], w.tick)
	}
	came := w.advance(w.tick, nil)
	if len(came) != len(conns) || w.size != 0 {
		t.Fatalf("%d came up and %d are left", len(came), w.size)
	}
	for _, c := range came {
		if c.due != 0 || c.next != nil || c.prev != nil {
			t.Errorf("a connection that came up holds on to the wheel: %d", c.due)
		}
		w.unset(c)
		w.set(c, 0) // in the past: at the next tick
	}
	if again := w.advance(2*w.tick, nil); len(again) != len(conns) {
		t.Errorf("%d came up again", len(again))
	}
}
