package handlers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"freshet/ssetest"
)

func TestMergedReplay(t *testing.T) {
	s := newServer(t, nil)
	var want strings.Builder
	for i := range 600 {
		fmt.Fprintf(&want, "%d ", i)
		s.do("POST", "/event/answer", fmt.Sprintf("%d ", i))
	}
	s.do("POST", "/event/answer?type=note", "one")
	s.do("POST", "/event/other", "two")
	s.do("POST", "/event/answer", "three")
	// What the hub has not read from the log yet would come in a frame of its own.
	for apart := ssetest.Get(t, s, "/event/answer?since=all"); apart.NextEvent().Data != "three"; {
	}
	stream := ssetest.Get(t, s, "/event/answer?merge=text&since=all")
	stream.Next()
	for _, want := range []string{"10-600 answer " + want.String(), "10-601 note one", "10-603 answer three"} {
		if f := stream.NextEvent(); f.ID+" "+f.Type+" "+f.Data != want {
			t.Errorf("got %.60q, want %.60q", f.ID+" "+f.Type+" "+f.Data, want)
		}
	}
	s.do("POST", "/event/answer", "live")
	if f := stream.NextEvent(); f.Data != "live" || f.ID != "10-604" {
		t.Errorf("got %+v", f)
	}
	s.do("POST", "/event/answer?end", "done")
	if got := rest(stream); len(got) != 2 || got[0] != "10-605 answer done" {
		t.Errorf("the stream ends with %q", got)
	}
	lines := ssetest.Get(t, s, "/event/answer?merge=lines&last_event_id=10-600&since=all", "Accept", "application/x-ndjson")
	if got := lines.Body(); !strings.Contains(got, `"data":"three\nlive\ndone"`) {
		t.Errorf("got %s", got)
	}
	for _, target := range []string{"/event/answer?merge=words", "/history?merge=text"} {
		if w := s.do("GET", target, ""); w.Code != 400 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// A reader that is slow gets each event once too, wherever its connection blocks.
func TestMergedReplayOfASlowReader(t *testing.T) {
	onBothPaths(t, 64<<10, func(ctx context.Context, t *testing.T, s *tcpServer) {
		var want strings.Builder
		for i := range 5000 {
			data := fmt.Sprintf("%d:%s ", i, strings.Repeat("x", 700))
			want.WriteString(data)
			s.log.Publish(t, "answer", data)
			if i%500 == 0 {
				s.log.Publish(t, "other", "not asked for")
			}
		}
		r := s.open(ctx, t, "/event/answer?merge=text&since=all", 64<<10)
		var got strings.Builder
		frames := 0
		for got.Len() < want.Len() {
			f, err := r.Event("answer")
			must(t, err)
			got.WriteString(f.Data)
			frames++
		}
		if got.String() != want.String() || frames > 500 {
			t.Errorf("%d frames have %d bytes, want %d", frames, got.Len(), want.Len())
		}
		s.log.Publish(t, "answer", "live")
		if f := next(t, r, ""); f.Data != "live" {
			t.Errorf("got %.60q", f.Data)
		}
	})
}
