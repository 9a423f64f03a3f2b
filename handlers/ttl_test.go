package handlers_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/ssetest"

	"github.com/google/go-cmp/cmp"
)

// ttls returns the TTLs of the stored events.
func ttls(t *testing.T, log *eventlogtest.Memory) (ttls []string) {
	t.Helper()
	_, err := log.Read(t.Context(), 0, eventlogtest.Patterns(t, ">"), 1<<30, func(e event.Event) error {
		ttls = append(ttls, e.Topic().String()+" "+e.TTL().String())
		return nil
	})
	must(t, err)
	return ttls
}

func TestPublishWithATTL(t *testing.T) {
	s := newServer(t, func(cfg *handlers.Config) { cfg.CloudEvents = true })
	const lines, cloudEvent = "application/x-ndjson", `{"specversion":"1.0","id":"1","source":"/s","type":"x","data":1}`
	for _, c := range []struct {
		target, body string
		headers      []string
		status       int
		says         string
		want         []string
	}{
		{"/event/a?ttl=90m", "x", nil, 201, `"id"`, []string{"a 1h30m0s"}},
		{"/event/a", "x", []string{"Event-TTL", "1d"}, 201, `"id"`, []string{"a 24h0m0s"}},
		{"/event/a?ttl=1s", "x", []string{"Event-TTL", "1d"}, 201, `"id"`, []string{"a 1s"}},
		{"/event/a", "x", nil, 201, `"id"`, []string{"a 0s"}},
		{"/event", `{"topic":"a","data":"x","ttl":"1500ms"}`, nil, 201, `"id"`, []string{"a 2s"}},
		{"/event", `{"topic":"a","data":"x","ttl":"1m"}` + "\n" + `{"topic":"b","data":"x"}` + "\n" + `{"topic":"a","data":"x","ttl":"0s"}`, []string{"Content-Type", lines}, 200, `"invalid_ttl"`,
			[]string{"a 1m0s", "b 0s"}},
		{"/event/a?ttl=1m", cloudEvent, []string{"Content-Type", "application/cloudevents+json"}, 201, `"id"`, []string{"a 1m0s"}},
		{"/event/a?ttl=2m", "[" + strings.Replace(cloudEvent, `"/s"`, `"/t"`, 1) + "]", []string{"Content-Type", "application/cloudevents-batch+json"}, 200, `"id"`, []string{"a 2m0s"}},
		{"/event/job?ttl=1m&end", "done", nil, 201, `"id"`, []string{"job 1m0s", "job 1m0s"}},

		{"/event/a?ttl=999ms", "x", nil, 400, `"invalid_ttl","message":"ttl: must be a duration from 1s to 3650d, such as 30s, 90m or 7d"`, nil},
		{"/event/a?ttl=60", "x", nil, 400, `"invalid_ttl"`, nil},
		{"/event/a", "x", []string{"Event-TTL", "never"}, 400, `"invalid_ttl"`, nil},
		{"/event/a?ttl=", "x", nil, 400, `"malformed"`, nil},
		{"/event?ttl=1m", `{"topic":"a","data":"x"}`, nil, 400, `"invalid_ttl","message":"ttl: must be a field of the JSON here`, nil},
		{"/event", `{"topic":"a","data":"x"}`, []string{"Event-TTL", "1m"}, 400, `"invalid_ttl"`, nil},
		{"/event", `{"topic":"a","data":"x","ttl":60}`, nil, 400, `\"ttl\" must be a string`, nil},
	} {
		before := len(ttls(t, s.log))
		w := s.do(http.MethodPost, c.target, c.body, c.headers...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s: %d %s", c.target, c.body, w.Code, w.Body)
		}
		if diff := cmp.Diff(c.want, ttls(t, s.log)[before:], cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("%s %s: %s", c.target, c.body, diff)
		}
	}
}

func TestLinesWithATTL(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		w := s.writeLines(ctx, t, "/event/steps?ttl=1m&end", "Idempotency-Key", "k")
		w.expect(`{"line":0}`)
		w.write("one")
		w.expect(`{"id":"10-1","line":1}`)
		must(t, w.body.Close())
		w.expectLine(1)
		for w.lines.Scan() { // up to the end
		}
		if diff := cmp.Diff([]string{"steps 1m0s", "steps 1m0s"}, ttls(t, s.log)); diff != "" {
			t.Error(diff)
		}
	})
}

// A publisher of lines that pauses for longer than the TTL continues.
func TestLinesThatExpire(t *testing.T) {
	t.Parallel()
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		t.Parallel()
		w := s.writeLines(ctx, t, "/event/steps?ttl=1s", "Idempotency-Key", "k")
		w.expect(`{"line":0}`)
		w.write("one", "two")
		w.expectLine(2)
		must(t, apptest.Until(ctx, func() bool { return len(ttls(t, s.log)) == 0 }))
		w.write("three")
		w.expect(`{"id":"10-3","line":3}`)
	})
}

func TestATTLThatTheLogDoesNotAllow(t *testing.T) {
	s := newServer(t, nil)
	s.log.Fail(eventlog.ErrNoTTL)
	w := s.do(http.MethodPost, "/event/a?ttl=1m", "x")
	if w.Code != http.StatusNotImplemented || !strings.Contains(w.Body.String(), `"no_ttl"`) {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

// When an end has expired, the topic is open: a reader waits for its next event.
func TestAnEndThatExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		s.do(http.MethodPost, "/event/job?ttl=1m&end", "done")
		if w := s.do(http.MethodGet, "/event/job", "", "Last-Event-ID", "10-2"); w.Code != http.StatusNoContent {
			t.Errorf("a reader of all events was answered %d", w.Code)
		}
		pass(time.Minute)
		stream := ssetest.Get(t, s, "/event/job?since=all")
		stream.Next()
		if w := s.do(http.MethodPost, "/event/job", "again"); w.Code != http.StatusCreated {
			t.Errorf("a publisher was answered %d %s", w.Code, w.Body)
		}
		if f := stream.NextEvent(); f.Data != "again" {
			t.Errorf("the reader got %+v", f)
		}
	})
}
