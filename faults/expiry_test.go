package faults_test

import (
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// Events expire also if the server is killed before and afterwards. The log takes that for no loss: the epoch stays.
func TestEventsExpireOverKills(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	dir := t.TempDir()
	s := start(ctx, t, dir, "--retain", "answers.>=2s")
	first := publish(ctx, t, s, "news", "stays")
	publish(ctx, t, s, "answers.17", "expires")
	_, err := s.Publish(ctx, client.Message{Topic: "news", Data: "expires", TTL: 1500 * time.Millisecond})
	must(t, err)
	publish(ctx, t, s, "news", "stays too")
	_, err = s.End(ctx, client.Message{Topic: "answers.17", Data: "expires"})
	must(t, err)
	s.Kill()
	s = start(ctx, t, dir)
	get := func(path string) string {
		body, err := s.Get(ctx, path)
		must(t, err)
		return string(body)
	}
	must(t, apptest.Until(ctx, func() bool { return strings.Contains(get("/metrics"), "\nfreshet_log_events 2\n") }))
	for range 2 {
		s.Kill()
		s = start(ctx, t, dir)
		if log := s.Log(); strings.Contains(log, "lost") || strings.Contains(log, "msg=nats") {
			t.Errorf("the log of the server says:\n%s", log)
		}
		if have := get("/history"); strings.Contains(have, "expires") || !strings.Contains(have, `"stays"`) || !strings.Contains(have, `"stays too"`) {
			t.Errorf("the history is %s", have)
		}
	}
	if next := publish(ctx, t, s, "answers.17", "open again"); next.Epoch() != first.Epoch() || next.Seq() != 8 {
		t.Errorf("the first event is %v, and the next one %v", first, next)
	}
}
