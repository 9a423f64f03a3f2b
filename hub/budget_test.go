package hub_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/eventlog/eventlogtest"
	"freshet/hub"
)

func networkOf(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 32)
}

// behind subscribes at the log's beginning, which is not in the window.
func behind(t *testing.T, h *hub.Hub, network netip.Prefix) *hub.Subscriber {
	t.Helper()
	s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-0", Network: network, Wake: func() {}})
	must(t, err)
	return s
}

// startReplay returns what Replay returned, once it has.
func startReplay(ctx context.Context, s *hub.Subscriber) <-chan replayed {
	done := make(chan replayed, 1)
	go func() {
		entries, err := s.Replay(ctx)
		done <- replayed{entries, err}
	}()
	synctest.Wait()
	return done
}

type replayed struct {
	entries []*hub.Entry
	err     error
}

// A network holds at most a quarter of the memory, its other subscribers wait, and those of other networks do not.
// Each way to end a wait ends it, and gives nothing away.
func TestReplaysShareTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := eventlogtest.NewMemory()
		for range 40 { // each takes a little more than 200 kB
			log.Publish(t, "a", strings.Repeat("x", 100_000))
		}
		h := start(t, log, hub.Config{WindowBytes: 10_000, ReplayBytes: 8 << 20})
		var slow []*hub.Subscriber
		for len(slow) < 10 {
			s := behind(t, h, networkOf(1))
			done := startReplay(t.Context(), s)
			if len(done) == 0 {
				left, cancel := context.WithCancel(t.Context())
				other := behind(t, h, networkOf(1))
				otherDone := startReplay(left, other)
				cancel()
				if r := <-otherDone; !errors.Is(r.err, context.Canceled) {
					t.Errorf("after its client has left, a replay returned %d entries, %v", len(r.entries), r.err)
				}
				other.Close()
				s.Close()
				if r := <-done; r.err != nil || len(r.entries) > 0 {
					t.Errorf("a closed subscriber's replay returned %d entries, %v", len(r.entries), r.err)
				}
				break
			}
			if r := <-done; r.err != nil || len(r.entries) != 2 {
				t.Fatalf("a piece has %d entries, %v", len(r.entries), r.err)
			}
			slow = append(slow, s)
		}
		if n := len(slow); n < 4 || n > 5 { // of 2 MiB
			t.Errorf("%d pieces of 400 kB are held by one network", n)
		}
		for n := range 20 {
			s := behind(t, h, networkOf(2+n))
			if done := startReplay(t.Context(), s); len(done) == 0 {
				t.Fatalf("network %d waits", n)
			}
			s.Close()
		}

		// What is written is free again, and goes to the subscriber that has waited longest.
		first, second := behind(t, h, networkOf(1)), behind(t, h, networkOf(1))
		firstDone, secondDone := startReplay(t.Context(), first), startReplay(t.Context(), second)
		if len(firstDone)+len(secondDone) != 0 {
			t.Fatal("more than its part is held by one network")
		}
		_, err := slow[0].Next(nil)
		if !errors.Is(err, hub.ErrBehind) {
			t.Error(err)
		}
		synctest.Wait()
		if len(firstDone) != 1 || len(secondDone) != 0 {
			t.Errorf("first %d, second %d", len(firstDone), len(secondDone))
		}
		slow[1].Close()
		synctest.Wait()
		if len(secondDone) != 1 {
			t.Error("what a closed subscriber held is not free")
		}
	})
}

// An event that is larger than a network's part, or than the whole memory, still comes.
func TestALargeEventIsReplayedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := eventlogtest.NewMemory()
		sizes := []int{10, 10, 2 << 20, 10, 300_000, 6 << 20, 6 << 20, 10}
		for _, size := range sizes {
			log.Publish(t, "a", strings.Repeat("\n", size))
		}
		h := start(t, log, hub.Config{WindowBytes: 10_000, ReplayBytes: 4 << 20})
		var reading sync.WaitGroup
		for n := range 3 {
			reading.Go(func() {
				r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-0", Network: networkOf(n / 2)})
				defer r.Close()
				for i, size := range sizes[:len(sizes)-1] { // the last one is in the window
					if i == 1 {
						continue // comes together with the first
					}
					entries := r.read()
					if last := entries[len(entries)-1].Event; last.Data() != strings.Repeat("\n", size) {
						t.Errorf("event %d has %d bytes, want %d", last.ID().Seq(), len(last.Data()), size)
					}
				}
			})
		}
		reading.Wait()
	})
}

// However large the events are and however many subscribers read them, what is not written takes no more than the
// memory that it may take.
func TestTheMemoryOfReplaysIsBounded(t *testing.T) {
	const most, subscribers, events = 6 << 20, 60, 60
	synctest.Test(t, func(t *testing.T) {
		log := eventlogtest.NewMemory()
		for i := range events {
			log.Publish(t, "a", strings.Repeat("\n", i%7*i%5*10_000))
		}
		h := start(t, log, hub.Config{WindowBytes: 10_000, ReplayBytes: most})
		var unwritten, peak atomic.Int64
		var reading sync.WaitGroup
		for n := range subscribers {
			reading.Go(func() {
				s := behind(t, h, networkOf(n%9))
				defer s.Close()
				for got := 0; got < events-1; {
					entries, err := s.Replay(t.Context())
					if err != nil || len(entries) == 0 {
						t.Errorf("after %d events: %d, %v", got, len(entries), err)
						return
					}
					size := int64(0)
					for _, e := range entries {
						size += int64(len(e.Event.Data()) + cap(e.Encoded(0).Chunk))
					}
					now := unwritten.Add(size)
					for before := peak.Load(); now > before && !peak.CompareAndSwap(before, now); before = peak.Load() {
					}
					<-time.After(time.Duration(n+1) * time.Millisecond) // writes, in fake time
					unwritten.Add(-size)
					got += len(entries)
				}
			})
		}
		reading.Wait()
		if n := peak.Load(); n > most || n < most/2 {
			t.Errorf("up to %d bytes were not written, want at most %d, and most of them", n, most)
		}
	})
}
