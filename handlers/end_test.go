package handlers_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/ssetest"
)

// rest returns the remaining events of a stream that the server ends.
func rest(s *ssetest.Stream) (events []string) {
	for _, f := range s.Rest() {
		if f.HasData {
			events = append(events, f.ID+" "+f.Type+" "+f.Data)
		}
	}
	return events
}

func TestATopicThatEnds(t *testing.T) {
	s := newServer(t, nil)
	one := ssetest.Get(t, s, "/event/job")
	two := ssetest.Get(t, s, "/event?topic=job&topic=other")
	all := ssetest.Get(t, s, "/event?topic=>")
	counted := ssetest.Get(t, s, "/event?topic=job&topic=counter")
	one.Next()
	two.Next()
	all.Next()
	counted.Next()
	s.do("POST", "/event/job", "half")
	for i := range 2 { // the second is a retry
		w := s.do("POST", "/event/job?end", "done", "Idempotency-Key", "k")
		if want := []int{201, 200}[i]; w.Code != want || strings.TrimSpace(w.Body.String()) != `{"id":"10-3","topic":"job"}` {
			t.Fatalf("the end was answered %d %s", w.Code, w.Body)
		}
	}
	want := []string{"10-1 job half", "10-2 job done", `10-3 end {"topic":"job"}`}
	if got := rest(one); !slices.Equal(got, want) {
		t.Errorf("the reader of the topic got %q, want %q", got, want)
	}
	for _, c := range []struct{ target, body string }{
		{"/event/job", "late"}, {"/event/job?end", ""}, {"/event", `{"topic":"job","data":"late"}`},
	} {
		if w := s.do("POST", c.target, c.body); w.Code != 409 || !strings.Contains(w.Body.String(), `"code":"ended"`) {
			t.Errorf("POST %s was answered %d %s", c.target, w.Code, w.Body)
		}
	}
	if w := s.do("POST", "/event/other?end=yes", ""); w.Code != 400 || !strings.Contains(w.Body.String(), `has no value`) {
		t.Errorf("?end=yes was answered %d %s", w.Code, w.Body)
	}
	s.do("POST", "/event/other?end", "")
	if got, want := rest(two), append(want, `10-5 end {"topic":"other"}`); !slices.Equal(got, want) {
		t.Errorf("the reader of both topics got %q, want %q", got, want)
	}
	for range 3 {
		all.NextEvent()
	}
	if f := all.NextEvent(); f.Type != "end" || f.Data != `{"topic":"other"}` {
		t.Errorf("the reader of all topics got %+v", f)
	}
	for range 3 {
		counted.NextEvent()
	}
	s.do("POST", "/event/open", "")
	if f := all.NextEvent(); f.ID != "10-7" { // so the hub has all, with the fence of the other topic
		t.Errorf("the reader of all topics got %+v", f)
	}

	// Who has all gets 204. Who does not, gets the rest.
	for _, c := range []struct {
		target, lastID string
		want           []string
	}{
		{"/event/job", "10-3", nil},
		{"/event/job", "10-4", nil},
		{"/event/job", "", nil},
		{"/event?topic=job&topic=other", "10-5", nil},
		{"/event/job", "10-2", want[2:]},
		{"/event/job?since=all", "", want},
		{"/event/job?since=last", "", want[2:]},
		{"/event?topic=job&topic=other", "10-3", []string{`10-5 end {"topic":"other"}`}},
		{"/event/job", "zz-1", append([]string{`10-0 gap {"requested":"zz-1","first":"10-1","resumed":"10-0","reason":"epoch"}`}, want...)},
		{"/event/job", "10-99", []string{`10-7 gap {"requested":"10-99","first":"10-1","resumed":"10-7","reason":"unknown"}`}},
	} {
		stream := ssetest.Get(t, s, c.target, "Last-Event-ID", c.lastID)
		if status := stream.Status(); status == 204 != (c.want == nil) {
			t.Errorf("%s after %q: status %d", c.target, c.lastID, status)
		}
		if got := rest(stream); !slices.Equal(got, c.want) {
			t.Errorf("%s after %q: %q, want %q", c.target, c.lastID, got, c.want)
		}
	}
	for _, target := range []string{"/event/*", "/event?topic=job&topic=open", "/event?topic=job&topic=counter"} {
		stream := ssetest.Get(t, s, target, "Last-Event-ID", "10-5")
		if stream.Status() != 200 {
			t.Errorf("%s: status %d", target, stream.Status())
		}
		stream.Close()
	}
}

func TestATopicThatIsPurged(t *testing.T) {
	s := newServer(t, nil)
	if w := s.do("DELETE", "/event/job", ""); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"topic":"job","deleted":0}` {
		t.Errorf("a topic without events was answered %d %s", w.Code, w.Body)
	}
	s.do("POST", "/event/job", "secret")
	s.do("POST", "/event/news", "stays")
	s.do("POST", "/event/job?end", "")
	live := ssetest.Get(t, s, "/event/>", "Last-Event-ID", "10-4")
	live.Next()
	if w := s.do("DELETE", "/event/job", ""); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"id":"10-5","topic":"job","deleted":2}` {
		t.Fatalf("the purge was answered %d %s", w.Code, w.Body)
	}
	gap := `10-5 gap {"requested":"","first":"10-5","resumed":"10-5","reason":"purged","topic":"job"}`
	if f := live.NextEvent(); f.ID+" "+f.Type+" "+f.Data != gap {
		t.Errorf("the live reader got %+v", f)
	}
	if w := s.do("POST", "/event/job", "again"); w.Code != 201 {
		t.Errorf("after the purge, publishing was answered %d %s", w.Code, w.Body)
	}
	s.do("POST", "/event/job?end", "")
	want := []string{gap, "10-6 job again", `10-7 end {"topic":"job"}`}
	if got := rest(ssetest.Get(t, s, "/event/job?since=all")); !slices.Equal(got, want) {
		t.Errorf("a new reader got %q, want %q", got, want)
	}
	late := ssetest.Get(t, s, "/event/>", "Last-Event-ID", "10-0")
	late.Next()
	if f := late.NextEvent(); f.Data != "stays" {
		t.Errorf("the reader of all topics got %+v", f)
	}
	w := s.do("GET", "/history?topic=job", "")
	if strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "again") {
		t.Errorf("the history is %s", w.Body)
	}
}

// The end of a stream's topics ends the response in order, parked or not: then an EventSource reconnects at once, and gets 204.
func TestTheEndOverTCP(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		r := openTCP(ctx, t, s.URL+"/event/job", 0)
		_, err := r.Next()
		must(t, err)
		s.settled(ctx, t, 1)
		must(t, s.log.End(ctx, eventlogtest.NewEvent(t, "job", "job", "").Topic(), "", event.TTL{}).Err)
		f, err := r.Event("")
		if err != nil || f.Type != "end" {
			t.Fatalf("%+v, %v", f, err)
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
	})
}
