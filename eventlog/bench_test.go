package eventlog_test

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
)

func BenchmarkAppend(b *testing.B) {
	for name, sync := range map[string]time.Duration{"fsync": 0, "interval": time.Minute} {
		b.Run(name, func(b *testing.B) {
			l := openBench(b, sync)
			entry := eventlog.Entry{Event: eventlogtest.NewEvent(b, "news", "news", strings.Repeat("x", 128))}
			for b.Loop() {
				if r := l.Append(b.Context(), entry); r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		})
	}
}

// Concurrent publishers, each of which waits for its answer.
func BenchmarkAppendGroup(b *testing.B) {
	for _, publishers := range []int{1, 4, 16, 32, 64, 256} {
		b.Run(strconv.Itoa(publishers), func(b *testing.B) {
			l := openBench(b, 0)
			entry := eventlog.Entry{Event: eventlogtest.NewEvent(b, "news", "news", strings.Repeat("x", 128))}
			var appended atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range publishers {
				wg.Go(func() {
					for appended.Add(1) <= int64(b.N) {
						if r := l.Append(b.Context(), entry); r.Err != nil {
							b.Error(r.Err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// A thousand events as one batch, on disk before the answer.
func BenchmarkAppendAll(b *testing.B) {
	l := openBench(b, 0)
	entries := make([]eventlog.Entry, 1000)
	for i := range entries {
		entries[i].Event = eventlogtest.NewEvent(b, "news", "news", strings.Repeat("x", 128))
	}
	for b.Loop() {
		for _, r := range l.AppendAll(b.Context(), entries) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "events/s")
}

// A log of 100,000 events read in pieces, as the hub reads it for a subscriber far behind.
func BenchmarkRead(b *testing.B) {
	l := openBench(b, time.Minute)
	entries := make([]eventlog.Entry, 1000)
	for i := range entries {
		entries[i].Event = eventlogtest.NewEvent(b, "news", "news", strings.Repeat("x", 128))
	}
	const total = 100_000
	for range total / len(entries) {
		l.AppendAll(b.Context(), entries)
	}
	for name, piece := range map[string]int{"whole": total, "by 4096": 4096, "by 1024": 1024, "by 512": 512} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				read := 0
				for after := uint64(0); after < total; {
					var err error
					after, err = l.Read(b.Context(), after, eventlogtest.Patterns(b, ">"), piece, func(event.Event) error { read++; return nil })
					if err != nil {
						b.Fatal(err)
					}
				}
				if read != total {
					b.Fatalf("read %d", read)
				}
			}
			b.ReportMetric(total*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func openBench(b *testing.B, sync time.Duration) *eventlog.Log {
	b.Helper()
	l, err := eventlog.Open(b.Context(), eventlog.Config{Dir: b.TempDir(), SyncInterval: sync})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}
