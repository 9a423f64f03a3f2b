package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/handlers"
	"freshet/ssetest"

	"github.com/google/go-cmp/cmp"
)

func TestAStreamOpensAtOnceAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		stream := ssetest.Get(t, s, "/event")
		synctest.Wait() // no time has passed
		opening := stream.Next()
		if opening.ID != "10-0" || opening.HasData || opening.Retry < time.Second || opening.Retry > 3*time.Second {
			t.Errorf("opening %+v", opening)
		}
		want := http.Header{
			"Content-Type":      {"text/event-stream"},
			"Cache-Control":     {"no-cache, no-store, no-transform"},
			"X-Accel-Buffering": {"no"},
			"Freshet-Stream":    {"1"},
		}
		if diff := cmp.Diff(want, stream.Header()); diff != "" || stream.Status() != http.StatusOK {
			t.Errorf("status %d, headers:\n%s", stream.Status(), diff)
		}
		pass(999 * time.Millisecond)
		if n := stream.Pending(); n != 0 {
			t.Errorf("%d bytes before the first second is over", n)
		}
		pass(5 * time.Second)
		other := ssetest.Get(t, s, "/event/counter")
		for n := 1; n <= 5; n++ {
			want := event.Frame{Type: "message", Data: strconv.Itoa(n), HasData: true, ID: "10-0"}
			if diff := cmp.Diff(want, stream.Next()); diff != "" {
				t.Error(diff)
			}
		}
		if got := other.NextEvent(); got.Data != "1" {
			t.Errorf("another connection's count begins with %s", got.Data)
		}
		if n := stream.Pending(); n != len("data: 6\n\n") {
			t.Errorf("%d bytes are left", n)
		}
	})
}

func TestNamedEventsArriveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		all, orders := ssetest.Get(t, s, "/event"), ssetest.Get(t, s, "/event/orders.*?topic=news")
		synctest.Wait()
		s.log.Publish(t, "orders.new", "a\r\nb")
		s.log.Publish(t, "sport", "c")
		s.log.Publish(t, "news", " d")
		synctest.Wait() // no time has passed
		want := []event.Frame{
			{Type: "orders.new", Data: "a\nb", HasData: true, ID: "10-1", HasID: true},
			{Type: "sport", Data: "c", HasData: true, ID: "10-2", HasID: true},
			{Type: "news", Data: " d", HasData: true, ID: "10-3", HasID: true},
		}
		for _, w := range want {
			if diff := cmp.Diff(w, all.NextEvent()); diff != "" {
				t.Error(diff)
			}
		}
		for _, w := range []event.Frame{want[0], want[2]} {
			if diff := cmp.Diff(w, orders.NextEvent()); diff != "" {
				t.Error(diff)
			}
		}
		pass(14 * time.Second)
		if n := orders.Pending(); n != 0 {
			t.Errorf("%d bytes more: it asked for no counter", n)
		}
	})
}

func TestHeartbeatsCarryTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		stream := ssetest.Get(t, s, "/event/news")
		stream.Next()
		s.log.Publish(t, "other", "")
		pass(14 * time.Second)
		if n := stream.Pending(); n != 0 {
			t.Fatalf("%d bytes before the heartbeat's time", n)
		}
		pass(time.Second)
		if got := stream.Next(); got.HasData || got.ID != "10-1" {
			t.Errorf("heartbeat %+v, want the cursor past the other topic's event", got)
		}
		pass(10 * time.Second)
		s.log.Publish(t, "news", "x") // an ID: the quiet begins anew
		synctest.Wait()
		if got := stream.Next(); got.Data != "x" {
			t.Errorf("event %+v", got)
		}
		pass(14 * time.Second)
		if n := stream.Pending(); n != 0 {
			t.Errorf("%d bytes 14 s after an ID was sent", n)
		}
		pass(time.Second)
		if got := stream.Next(); got.HasData || got.ID != "10-2" {
			t.Errorf("heartbeat %+v", got)
		}
	})
}

func TestNegativeIntervalsTurnThingsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval, cfg.Heartbeat = -1, -1 })
		stream := ssetest.Get(t, s, "/event")
		stream.Next()
		pass(time.Hour)
		if n := stream.Pending(); n != 0 {
			t.Errorf("%d bytes arrived", n)
		}
	})
}

func TestResumeWhilePublishingMissesNothing(t *testing.T) {
	s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
	const total = 5000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; i <= total; i++ {
			s.log.Publish(t, "n", strconv.Itoa(i))
		}
	})
	cursor, seen := "10-0", 0
	for connection := 0; seen < total; connection++ {
		var stream *ssetest.Stream
		switch connection % 3 { // the ways in which clients send it
		case 0:
			stream = ssetest.Get(t, s, "/event/n", "Last-Event-ID", cursor)
		case 1:
			stream = ssetest.Get(t, s, "/event/n?lastEventId="+cursor)
		case 2:
			stream = ssetest.Get(t, s, "/event/n?last_event_id=10-1&since=all", "Last-Event-ID", cursor)
		}
		for i := 0; i < 700 && seen < total; i++ {
			f := stream.NextEvent()
			if seen++; f.Data != strconv.Itoa(seen) || f.ID != "10-"+f.Data {
				t.Fatalf("event %s with ID %s, want %d", f.Data, f.ID, seen)
			}
			cursor = f.ID
		}
		stream.Close()
	}
	wg.Wait()
}

func TestAGapIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
		for i := range 5 {
			s.log.Publish(t, "n", strconv.Itoa(i+1))
		}
		s.log.Expire(4)
		synctest.Wait()
		for id, want := range map[string][]string{
			"zz-1":  {`{"requested":"zz-1","first":"10-4","resumed":"10-3","reason":"epoch"}`, "4", "5"},
			"10-9":  {`{"requested":"10-9","first":"10-4","resumed":"10-5","reason":"unknown"}`},
			"<&'":   {`{"requested":"\u003c\u0026'","first":"10-4","resumed":"10-5","reason":"unknown"}`},
			"10-3":  {"4", "5"},
			"10-5":  {},
			"10-05": {`{"requested":"10-05","first":"10-4","resumed":"10-5","reason":"unknown"}`},
		} {
			stream := ssetest.Get(t, s, "/event/n", "Last-Event-ID", id)
			synctest.Wait()
			if stream.Status() != http.StatusOK {
				t.Errorf("%s: status %d", id, stream.Status())
			}
			stream.Next()
			for _, data := range want {
				f := stream.NextEvent()
				if f.Data != data || (f.Type == "gap") != strings.HasPrefix(data, "{") {
					t.Errorf("%s: %+v, want %s", id, f, data)
				}
			}
			if n := stream.Pending(); n != 0 {
				t.Errorf("%s: %d bytes more", id, n)
			}
			stream.Close()
		}
	})
}

func TestStatsAreForThoseWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		pass(time.Second) // the server makes stats at even seconds, and this stream gets them at odd ones
		stream := ssetest.Get(t, s, "/event?topic=stats&topic=news")
		synctest.Wait()
		s.log.Publish(t, "news", "x")
		pass(2100 * time.Millisecond)
		var f event.Frame
		for f = stream.NextEvent(); f.Type != "stats" || strings.Contains(f.Data, `"uptime_s":0,`); f = stream.NextEvent() {
			if f.Type != "news" && f.Type != "stats" {
				t.Fatalf("event %+v", f)
			}
		}
		var got struct {
			Node        string
			Connections int
			Published   int
			Rate        float64  `json:"published_per_s"`
			P99         *float64 `json:"latency_p99_ms"`
			LogEvents   int      `json:"log_events"`
			Topics      int
			Memory      int `json:"memory_bytes"`
		}
		must(t, json.Unmarshal([]byte(f.Data), &got))
		if got.Node != "n1" || got.Connections != 1 || got.Published != 1 || got.Rate != 0.5 || got.P99 == nil || got.LogEvents != 1 || got.Topics != 1 || got.Memory == 0 {
			t.Errorf("stats %s", f.Data)
		}
		if f.ID != "10-1" {
			t.Errorf("stats moved the last event ID to %s", f.ID)
		}
		pass(2 * time.Second) // an interval without deliveries
		if f := stream.NextEvent(); !strings.Contains(f.Data, `"latency_p50_ms":null,"latency_p99_ms":null`) ||
			!strings.Contains(f.Data, `"delivered":1,"delivered_per_s":0,`) {
			t.Errorf("the latency must be that of the last interval, and the total of all: %s", f.Data)
		}
	})
}

func TestNobodyIsLeftWhenReadersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		var streams []*ssetest.Stream
		for range 50 {
			streams = append(streams, ssetest.Get(t, s, "/event?topic=>&topic=stats"))
		}
		synctest.Wait()
		if n := s.hub.Stats().Subscribers; n != 50 {
			t.Errorf("%d subscribers", n)
		}
		for _, stream := range streams {
			stream.Close()
		}
		if n := s.hub.Stats().Subscribers; n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		var streams []*ssetest.Stream
		for range 400 {
			stream := ssetest.Get(t, s, "/event")
			stream.Next()
			streams = append(streams, stream)
		}
		began, drained := time.Now(), make(chan error)
		go func() { drained <- s.Drain(t.Context(), 10*time.Second) }()
		synctest.Wait()

		if w := s.do("GET", "/readyz", ""); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "draining") {
			t.Errorf("readyz: %d %s", w.Code, w.Body)
		}
		if w := s.do("GET", "/livez", ""); w.Code != http.StatusOK {
			t.Errorf("livez: %d", w.Code)
		}
		// A browser is told to come back, by the only status that it comes back from: after
		// the two seconds of the drain, and its own share of one to three.
		refused := ssetest.Get(t, s, "/event")
		if frames := refused.Rest(); refused.Status() != http.StatusOK || len(frames) != 1 || frames[0].Retry < 3*time.Second || frames[0].Retry > 5*time.Second || !busy(frames[0], "draining") {
			t.Errorf("a new stream: %d %+v", refused.Status(), frames)
		}
		if w := s.do("GET", "/event", "", "Accept", "*/*"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("a new stream of no browser: %d", w.Code)
		}
		s.log.Publish(t, "news", "while draining")

		must(t, <-drained)
		if took := time.Since(began); took < time.Second || took > 2*time.Second {
			t.Errorf("400 streams drained in %v, want up to 2 s: 200 a second", took)
		}
		retries := map[time.Duration]bool{}
		for _, stream := range streams {
			frames := stream.Rest()
			last := frames[len(frames)-1]
			if last.Type != "drain" || !last.HasRetry {
				t.Fatalf("the last frames are %+v", frames)
			}
			retries[last.Retry] = true
		}
		if len(retries) < 100 {
			t.Errorf("only %d different reconnection times", len(retries))
		}
		if n := s.hub.Stats().Subscribers; n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		for range 100 {
			ssetest.Get(t, s, "/event").Next()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Drain(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestConnectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.MaxConnections = 2 })
		first := ssetest.Get(t, s, "/event")
		ssetest.Get(t, s, "/event").Next()
		first.Next()
		if refused := ssetest.Get(t, s, "/event"); len(refused.Rest()) != 1 || refused.Status() != http.StatusOK {
			t.Error("a third stream was opened")
		}
		first.Close()
		ssetest.Get(t, s, "/event").NextEvent()
	})
}

func TestMalformedRequestsNameTheField(t *testing.T) {
	s := newServer(t, nil)
	for target, code := range map[string]string{
		"/event?topic=a..b":                        "invalid_topic",
		"/event/" + strings.Repeat("a.", 32) + ">": "invalid_topic",
		"/event/a%20b":                             "invalid_topic",
		"/event/a%0Ab":                             "invalid_topic",
		"/event/%FF":                               "invalid_topic",
		"/event?since=tomorrow":                    "invalid_since",
		"/event?" + strings.Repeat("topic=a&", 6):  "invalid_topic",
		"/history?limit=0":                         "invalid_limit",
		"/history?limit=1001":                      "invalid_limit",
		"/connections?limit=0":                     "invalid_limit",
		"/history?topic=>.a":                       "invalid_topic",
	} {
		w := s.do("GET", target, "", "Accept", "text/event-stream")
		var body struct {
			Error struct{ Code, Message string }
		}
		must(t, json.Unmarshal(w.Body.Bytes(), &body))
		if w.Code != http.StatusBadRequest || body.Error.Code != code || body.Error.Message == "" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// The counter of many readers who ask for the same event type costs nobody an event.
func TestABurstArrivesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
		stream := ssetest.Get(t, s, "/event")
		stream.Next()
		payload := strings.Repeat("x", 2000)
		for range 3000 { // more than one batch, more than a batch's bytes
			s.log.Publish(t, "n", payload)
		}
		synctest.Wait()
		var ids []string
		for range 3000 {
			ids = append(ids, stream.NextEvent().ID)
		}
		if n := stream.Pending(); n != 0 || ids[2999] != "10-3000" || len(slices.Compact(ids)) != 3000 {
			t.Errorf("%d bytes more, the last ID is %s", n, ids[2999])
		}
	})
}
