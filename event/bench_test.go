package event_test

import (
	"strings"
	"testing"

	"freshet/event"
)

func BenchmarkAppendFrame(b *testing.B) {
	topic, err := event.ParseTopic("orders.new")
	if err != nil {
		b.Fatal(err)
	}
	e, err := event.New(topic, event.TypeOf(topic), strings.Repeat("x", 128))
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = event.Frames.AppendEvent(buf[:0], e)
	}
}

func BenchmarkScanner(b *testing.B) {
	const frames = 1000
	stream := strings.Repeat("event: orders.new\ndata: "+strings.Repeat("x", 128)+"\nid: mwrzeraj-1842\n\n", frames)
	b.ReportAllocs()
	for b.Loop() {
		s, n := event.NewScanner(strings.NewReader(stream), 1000), 0
		for s.Scan() {
			n++
		}
		if n != frames {
			b.Fatalf("%d frames", n)
		}
	}
	b.ReportMetric(float64(frames*b.N)/b.Elapsed().Seconds(), "frames/s")
}

func BenchmarkMatch(b *testing.B) {
	topic, err := event.ParseTopic("orders.eu.new")
	if err != nil {
		b.Fatal(err)
	}
	pattern, err := event.ParsePattern("orders.*.new")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !pattern.Match(topic) {
			b.Fatal("no match")
		}
	}
}
