package faults_test

import (
	"fmt"
	"os"
	"path/filepath"
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
	s := start(ctx, t, dir, "--retain", "answers.>=1s")
	first := publish(ctx, t, s, "news", "stays")
	publish(ctx, t, s, "answers.17", "expires")
	_, err := s.Publish(ctx, client.Message{Topic: "news", Data: "expires", TTL: time.Second})
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

// While the disk is full, no deletion can be written. Nobody gets expired events all the same, and once there is room they are deleted.
func TestEventsExpireOnAFullDisk(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	disk := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk)
	s := start(ctx, t, filepath.Join(disk, "data"), "--max-body", "100KB", "--retain", "short=1s")
	var acked ledger
	acked.add(publish(ctx, t, s, "n", "stays"))
	for range 20 {
		publish(ctx, t, s, "short", "expires")
	}
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	refusedAsFull(ctx, t, s, &acked, strings.Repeat("x", 50_000))
	must(t, apptest.Until(ctx, func() bool {
		history, err := s.Get(ctx, "/history?topic=short")
		must(t, err)
		return !strings.Contains(string(history), "expires")
	}))
	replay(ctx, t, s, &acked)
	must(t, os.Remove(ballast))
	must(t, apptest.Until(ctx, func() bool { // the event that was in flight when the disk was full may be stored too
		metrics, err := s.Get(ctx, "/metrics")
		has := func(events int) bool {
			return strings.Contains(string(metrics), fmt.Sprintf("\nfreshet_log_events %d\n", events))
		}
		return err == nil && (has(acked.size()) || has(acked.size()+1))
	}))
	must(t, apptest.Until(ctx, func() bool { _, err := s.Get(ctx, "/readyz"); return err == nil }))
	acked.add(publish(ctx, t, s, "n", "after"))
	s.Kill()
	replay(ctx, t, start(ctx, t, filepath.Join(disk, "data")), &acked)
}
