package stream_test

import (
	"testing"
	"testing/synctest"

	"freshet/stream"
)

func TestStatsCountStreamsAndBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0, stream.Config{})
		one, two := b.open(stream.Request{Transport: stream.HTTP2}, "n"), b.open(stream.Request{Transport: stream.HTTP11}, "n")
		b.step(one, &output{takes: -1}, 0, "retry: 1000 id: 10-0")
		one.Close(stream.Stalled)
		s := b.Stats()
		if s.Open[stream.HTTP2] != 0 || s.Open[stream.HTTP11] != 1 || s.Opened[stream.HTTP2] != 1 || s.Opened[stream.HTTP11] != 1 {
			t.Errorf("open %v, opened %v", s.Open, s.Opened)
		}
		if s.Closed[stream.Stalled] != 1 || s.Closed[stream.Gone] != 0 {
			t.Errorf("closed %v", s.Closed)
		}
		if _, counted := s.Closed[stream.Open]; counted {
			t.Error("an open stream is counted as closed")
		}
		if want := uint64(len("retry: 1000\nid: 10-0\n\n")); s.Bytes != want {
			t.Errorf("%d bytes, want %d", s.Bytes, want)
		}
		two.Close(stream.Gone)
	})
}

func TestTransports(t *testing.T) {
	for version, want := range map[[2]int]string{{1, 0}: "HTTP/1.0", {1, 1}: "HTTP/1.1", {2, 0}: "HTTP/2", {3, 0}: "other", {0, 9}: "other"} {
		if got := stream.TransportOf(version[0], version[1]).String(); got != want {
			t.Errorf("version %v is %s, want %s", version, got, want)
		}
	}
}
