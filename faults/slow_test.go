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

	"freshet/bench/drive"
	"freshet/event"
)

// Of 1,000 readers ten stop reading and one is slow. The others get everything meanwhile. Of
// the ten, those that read on get all that they are due without losing their stream, as the
// slow one does; those that do not are closed and counted, and have missed nothing when they
// come back.
func TestReadersThatStopReading(t *testing.T) {
	t.Parallel()
	const readers, stopping, forGood = 1000, 10, 5
	// The eleven are so after the first news, and due bulk too: more than the window holds, a
	// subscriber is handed at once and the system takes for a connection, so that what they
	// have missed is in the log alone.
	const first, news, bulk, window = 40, 120, 100_000, "6MiB"
	const events = news + news - first
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--window-bytes", window)

	accounts := make([]drive.Account, readers)
	resume := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	var spans latencies
	var opened, closed atomic.Int64
	slow := time.NewTicker(5 * time.Second)
	defer slow.Stop()
	stops := make([]func(), readers)
	for n := range readers {
		a, source := &accounts[n], drive.EventSource{Request: drive.Request{URL: s.URL + "/event/news"}}
		source.Opened = func(time.Time) { opened.Add(1) }
		source.Event = func(f event.Frame) { spans.add(f); a.See(f) }
		if n <= stopping {
			source.Request.URL = s.URL + "/event?topic=news&topic=bulk"
			source.Closed = func(time.Time) {
				if n >= forGood {
					t.Errorf("reader %d lost its stream, although it read", n)
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
			source.Event = func(f event.Frame) {
				if a.See(f); a.Len() >= first {
					select {
					case <-goOn:
					case <-slowly:
					}
				}
			}
		}
		stops[n] = follow(ctx, t, source)
	}
	defer func() { // if the test fails: who is held up here cannot be stopped
		for _, c := range resume {
			select {
			case <-c:
			default:
				close(c)
			}
		}
	}()
	must(t, drive.Until(ctx, func() bool { return opened.Load() == readers }))

	complete := func(from, upto, want int) {
		t.Helper()
		for n := from; n < upto; n++ {
			if err := drive.Until(ctx, func() bool { return accounts[n].Len() >= want }); err != nil {
				t.Fatalf("reader %d has %d of %d events: %v", n, accounts[n].Len(), want, err)
			}
		}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	publish := func(topic, data string) {
		t.Helper()
		_, err := s.Publish(ctx, topic, data, "")
		must(t, err)
	}
	for range first {
		<-tick.C
		publish("news", stamp())
	}
	complete(0, readers, first)
	before, err := s.Stats(ctx)
	must(t, err)
	t.Logf("all read: %v, memory %d MiB", spans.take(), before.Memory>>20)

	began := time.Now()
	for range news - first {
		<-tick.C
		publish("news", stamp())
		publish("bulk", strings.Repeat("x", bulk))
	}
	complete(stopping+1, readers, news)
	t.Logf("%d of %d do not, for %v: %v", stopping, readers, time.Since(began), spans.take())

	check := func(when string, connections, stalled int) {
		t.Helper()
		stats, err := s.Stats(ctx) // by a connection of its own
		if err != nil {
			t.Fatalf("%s: %v\n%s", when, err, lastOf(s.Log()))
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
	stalled := func() bool { return strings.Count(s.Log(), "reason=stalled") == forGood }
	if err := drive.Until(ctx, stalled); err != nil {
		t.Fatalf("those that do not read are not closed: %v\n%s", err, lastOf(s.Log()))
	}
	t.Logf("closed %v after they stopped", time.Since(began))
	check("after those that do not read were closed", readers-forGood, forGood)
	close(resume[0])
	complete(0, stopping+1, events)
	check("when all were back", readers, forGood)
	if closed.Load() != forGood {
		t.Errorf("%d streams were lost, want those of the %d that did not read", closed.Load(), forGood)
	}
	for n, stop := range stops {
		stop()
		due := news
		if n <= stopping {
			due = events
		}
		if a := &accounts[n]; a.Err() != nil || a.Len() != due || len(a.Gaps()) > 0 {
			t.Errorf("reader %d has %d events, %v, gaps %q", n, a.Len(), a.Err(), a.Gaps())
		}
	}
	check("when all were gone", 0, forGood)
}

// stamp is the time, as data.
func stamp() string { return strconv.FormatInt(time.Now().UnixNano(), 10) }

// latencies are times from publishing a stamp to reading it.
type latencies struct {
	mu    sync.Mutex
	spans []time.Duration
}

func (l *latencies) add(f event.Frame) {
	now := time.Now().UnixNano()
	at, err := strconv.ParseInt(f.Data, 10, 64)
	if err != nil {
		return // no stamp
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, time.Duration(now-at))
}

// take says what they are, and begins anew.
func (l *latencies) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	spans := l.spans
	l.spans = nil
	slices.Sort(spans)
	return fmt.Sprintf("latency p50 %v, p99 %v of %d", spans[len(spans)/2], spans[len(spans)*99/100], len(spans))
}
