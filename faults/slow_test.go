package faults_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// Ten of many readers stop reading and one is slow. The others get everything meanwhile. Of
// the ten, five read on and get everything without losing their stream, as the slow one does.
// The other five are closed after 30 seconds and counted, and miss nothing when they come
// back. The everyday test does not wait for that: the five read on too.
func TestReadersThatStopReading(t *testing.T) {
	heavy(t)
	const readers, stopping, forGood = slowReaders, 10, 5
	// The eleven read normally until they have the first news. They subscribe to bulk too: more
	// than the window, a batch and the connection's buffers hold, so only the log has the events
	// that they miss.
	const first, news, bulk, window = slowFirst, slowFirst + 80, 100_000, "6MiB"
	const events = news + news - first
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--window-bytes", window)

	all := make([]received, readers)
	resume := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	var spans latencies
	var opened, closed atomic.Int64
	slow := time.NewTicker(5 * time.Second)
	defer slow.Stop()
	stops := make([]func(), readers)
	for n := range readers {
		r := &all[n]
		sub := client.Subscription{Topics: []string{"news"}, Connected: func() { opened.Add(1) }}
		handle := func(e client.Event) {
			spans.add(e)
			r.add(e)
		}
		if n <= stopping {
			sub.Topics = []string{"news", "bulk"}
			sub.Disconnected = func(err error, _ time.Duration) {
				if n >= forGood || !full {
					t.Errorf("reader %d lost its stream, although it read: %v", n, err)
				}
				closed.Add(1)
			}
			goOn, slowly := resume[0], (<-chan time.Time)(nil)
			switch {
			case n == stopping:
				slowly = slow.C
			case n >= forGood:
				goOn = resume[1]
			}
			handle = func(e client.Event) {
				if r.add(e); r.size() >= first {
					select {
					case <-goOn:
					case <-slowly:
					}
				}
			}
		}
		stops[n] = follow(ctx, t, s.Client, sub, handle)
	}
	defer func() { // if the test fails, a blocked reader could not be stopped
		for _, c := range resume {
			select {
			case <-c:
			default:
				close(c)
			}
		}
	}()
	must(t, apptest.Until(ctx, func() bool { return opened.Load() == readers }))

	complete := func(from, upto, want int) {
		t.Helper()
		for n := from; n < upto; n++ {
			if err := apptest.Until(ctx, func() bool { return all[n].size() >= want }); err != nil {
				t.Fatalf("reader %d has %d of %d events: %v", n, all[n].size(), want, err)
			}
		}
	}
	tick := time.NewTicker(slowTick)
	defer tick.Stop()
	for range first {
		<-tick.C
		publish(ctx, t, s, "news", stamp())
	}
	complete(0, readers, first)
	before, err := s.Stats(ctx)
	must(t, err)
	t.Logf("all read: %v, memory %d MiB", spans.take(), before.Memory>>20)

	began := time.Now()
	for range news - first {
		<-tick.C
		publish(ctx, t, s, "news", stamp())
		publish(ctx, t, s, "bulk", strings.Repeat("x", bulk))
	}
	complete(stopping+1, readers, news)
	t.Logf("%d of %d do not, for %v: %v", stopping, readers, time.Since(began), spans.take())

	check := func(when string, connections, stalled int) {
		t.Helper()
		stats, err := s.Stats(ctx) // over one more connection
		if err != nil {
			t.Fatalf("%s: %v\n%s", when, err, tail(s.Log()))
		}
		if stats.Connections != connections+1 || stats.Stalled != uint64(stalled) {
			t.Errorf("%s: %+v, want %d connections and %d stalled", when, stats, connections+1, stalled)
		}
		if grown := int64(stats.Memory) - int64(before.Memory); grown > 128<<20 {
			t.Errorf("%s: memory has grown from %d by %d bytes", when, before.Memory, grown)
		}
		t.Logf("%s: memory %d MiB", when, stats.Memory>>20)
	}
	check("while ten do not read", readers, 0)
	close(resume[1])
	complete(forGood, stopping, events)
	t.Logf("those that read on had all after %v", time.Since(began))
	lost := 0
	if full {
		lost = forGood
		stalled := func() bool { return strings.Count(s.Log(), "reason=stalled") == forGood }
		if err := apptest.Until(ctx, stalled); err != nil {
			t.Fatalf("those that do not read are not closed: %v\n%s", err, tail(s.Log()))
		}
		t.Logf("closed %v after they stopped", time.Since(began))
		check("after those that do not read were closed", readers-forGood, forGood)
	}
	close(resume[0])
	complete(0, stopping+1, events)
	check("when all were back", readers, lost)
	if closed.Load() != int64(lost) {
		t.Errorf("%d streams were lost, want %d", closed.Load(), lost)
	}
	for n, stop := range stops {
		stop()
		due := news
		if n <= stopping {
			due = events
		}
		if r := &all[n]; r.fault() != nil || r.size() != due {
			t.Errorf("reader %d has %d events, want %d; %v", n, r.size(), due, r.fault())
		}
	}
	check("when all were gone", 0, lost)
}

// stamp returns the time as data.
func stamp() string { return strconv.FormatInt(time.Now().UnixNano(), 10) }

// latencies are the times from publishing a stamp to reading it.
type latencies struct {
	mu    sync.Mutex
	spans []time.Duration
}

func (l *latencies) add(e client.Event) {
	now := time.Now().UnixNano()
	at, err := strconv.ParseInt(e.Data, 10, 64)
	if err != nil {
		return // no stamp
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, time.Duration(now-at))
}

// take describes them and starts again with none.
func (l *latencies) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	spans := l.spans
	l.spans = nil
	slices.Sort(spans)
	return fmt.Sprintf("latency p50 %v, p99 %v of %d", spans[len(spans)/2], spans[len(spans)*99/100], len(spans))
}
