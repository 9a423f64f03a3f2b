package hub_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"freshet/eventlog/eventlogtest"
	"freshet/hub"
)

// One event passes the tail and the window, and every subscriber reads it.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			log := eventlogtest.NewMemory()
			h := start(b, log, hub.Config{})
			woken := make(chan *hub.Subscriber, n)
			for range n {
				var s *hub.Subscriber
				s, err := h.Subscribe(context.Background(), hub.Request{Patterns: eventlogtest.Patterns(b, ">"), Wake: func() {
					if s != nil {
						woken <- s
					}
				}})
				must(b, err)
				defer s.Close()
				_, err = s.Next(nil)
				must(b, err)
			}
			payload := strings.Repeat("x", 128)
			buf := make([]*hub.Entry, 0, 16)
			b.ReportAllocs()
			for b.Loop() {
				log.Publish(b, "orders.new", payload)
				for range n {
					var err error
					if buf, err = (<-woken).Next(buf[:0]); err != nil || len(buf) != 1 {
						b.Fatalf("got %d entries, %v", len(buf), err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/delivery")
		})
	}
}

// An event wakes the subscribers of its topic among many of other topics: the cost depends on the matches alone.
func BenchmarkWake(b *testing.B) {
	for _, others := range []int{0, 1000, 100_000} {
		for _, matches := range []int{1, 100} {
			b.Run(fmt.Sprintf("others=%d/matches=%d", others, matches), func(b *testing.B) {
				log := eventlogtest.NewMemory()
				h := start(b, log, hub.Config{})
				woken := make(chan *hub.Subscriber, matches)
				subscribe := func(pattern string) {
					var s *hub.Subscriber
					s, err := h.Subscribe(context.Background(), hub.Request{Patterns: eventlogtest.Patterns(b, pattern), Wake: func() {
						if s != nil {
							woken <- s
						}
					}})
					must(b, err)
					b.Cleanup(s.Close)
					_, err = s.Next(nil)
					must(b, err)
				}
				for i := range others {
					subscribe(fmt.Sprintf("other.t%d", i))
				}
				for range matches {
					subscribe("hot")
				}
				buf := make([]*hub.Entry, 0, 16)
				b.ReportAllocs()
				for b.Loop() {
					log.Publish(b, "hot", "x")
					for range matches {
						var err error
						if buf, err = (<-woken).Next(buf[:0]); err != nil || len(buf) != 1 {
							b.Fatalf("got %d entries, %v", len(buf), err)
						}
					}
				}
			})
		}
	}
}

// A subscriber reads a thousand events from the window.
func BenchmarkDrain(b *testing.B) {
	const n = 1000
	for pattern, due := range map[string]int{">": n, "orders.*": n / 2} {
		b.Run("pattern="+pattern, func(b *testing.B) {
			log := eventlogtest.NewMemory()
			h := start(b, log, hub.Config{})
			ready := make(chan struct{}, 1)
			s, err := h.Subscribe(context.Background(), hub.Request{Patterns: eventlogtest.Patterns(b, pattern), Wake: func() {
				select {
				case ready <- struct{}{}:
				default:
				}
			}})
			must(b, err)
			defer s.Close()
			for i := range n {
				log.Publish(b, []string{"orders.new", "users.new"}[i%2], strings.Repeat("x", 128))
			}
			var buf []*hub.Entry
			for len(buf) < due {
				<-ready
				buf, err = s.Next(buf)
				must(b, err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Return(buf[0])
				if buf, err = s.Next(buf[:0]); err != nil || len(buf) != due {
					b.Fatalf("got %d entries, %v", len(buf), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*due), "ns/delivery")
		})
	}
}

// Streams on all processors count their writes of one event.
func BenchmarkDelivered(b *testing.B) {
	log := eventlogtest.NewMemory()
	h := start(b, log, hub.Config{})
	ready := make(chan struct{}, 1)
	subscribe := func(wake func()) *hub.Subscriber {
		s, err := h.Subscribe(context.Background(), hub.Request{Patterns: eventlogtest.Patterns(b, ">"), Wake: wake})
		must(b, err)
		b.Cleanup(s.Close)
		return s
	}
	reader := subscribe(func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	streams := make(chan *hub.Subscriber, runtime.GOMAXPROCS(0))
	for range cap(streams) {
		streams <- subscribe(func() {})
	}
	log.Publish(b, "orders.new", "x")
	var entries []*hub.Entry
	for len(entries) == 0 {
		<-ready
		var err error
		entries, err = reader.Next(entries)
		must(b, err)
	}
	now := entries[0].Event.Time().Add(300 * time.Microsecond)
	b.RunParallel(func(pb *testing.PB) {
		s := <-streams
		for pb.Next() {
			s.Delivered(entries, now)
		}
	})
}
