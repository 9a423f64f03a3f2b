package faults_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// A full disk stops publishing and nothing else. Publishing continues when there is room.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	disk := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk)
	s := start(ctx, t, filepath.Join(disk, "data"), "--max-body", "100KB")
	var acked ledger
	var read received
	unfollow := follow(ctx, t, s.Client, client.Subscription{
		Topics: []string{"n"}, Since: "all",
		Disconnected: func(err error, _ time.Duration) { t.Errorf("the reader lost its stream: %v", err) },
	}, read.add)
	payload := strings.Repeat("x", 50_000)
	for round := range diskFills {
		acked.add(publish(ctx, t, s, "n", payload))
		ballast := filepath.Join(disk, "ballast"+strconv.Itoa(round))
		fill(t, ballast)
		refusedAsFull(ctx, t, s, &acked, payload)

		// Readers, old and new, still get every stored event.
		if err := apptest.Until(ctx, func() bool { return acked.missing(&read) == 0 }); err != nil {
			t.Fatalf("the reader misses %d events: %v", acked.missing(&read), err)
		}
		replay(ctx, t, s, &acked)

		must(t, os.Remove(ballast))
		if err := apptest.Until(ctx, func() bool { _, err := s.Get(ctx, "/readyz"); return err == nil }); err != nil {
			t.Fatalf("not ready with room again: %v\n%s", err, s.Log())
		}
		acked.add(publish(ctx, t, s, "n", "after"))
		if err := apptest.Until(ctx, func() bool { return acked.missing(&read) == 0 }); err != nil {
			t.Fatalf("with room again, the reader misses %d events: %v\n%s", acked.missing(&read), err, s.Log())
		}
	}
	unfollow()
	must(t, read.fault())
	for text, want := range map[string]int{"level=ERROR": diskFills, `msg="the log cannot be written`: diskFills, `msg="the log can be written again`: diskFills, "NATS": 0} {
		if n := strings.Count(s.Log(), text); n != want {
			t.Errorf("the log has %q %d times, want %d:\n%s", text, n, want, tail(s.Log()))
		}
	}
	s.Kill() // no event was in memory only
	replay(ctx, t, start(ctx, t, filepath.Join(disk, "data")), &acked)
}

// A log that cannot be written, here because its files may not grow, refuses events at once
// and still serves the stored ones.
func TestAFileThatMayNotGrow(t *testing.T) {
	t.Parallel()
	ctx, dir := begin(t), t.TempDir()
	cmd := command(ctx, t, "--data", dir, "--listen", "127.0.0.1:0")
	limited := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -f 1024; exec "$0" "$@"`}, cmd.Args...)...)
	limited.Env = cmd.Env
	s := startCommand(t, limited)
	var acked ledger
	refusedAsFull(ctx, t, s, &acked, strings.Repeat("x", 100_000))
	replay(ctx, t, s, &acked)
	must(t, s.Signal(syscall.SIGTERM))
	must(t, s.Wait(ctx))

	again := start(ctx, t, dir) // without the limit
	acked.add(publish(ctx, t, again, "n", "y"))
	replay(ctx, t, again, &acked)
}

// A disk that turns read-only, as Linux does it after an error, stops publishing and nothing else.
func TestADiskThatTurnsReadOnly(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	image, disk := filepath.Join(t.TempDir(), "image"), t.TempDir()
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 64<<20))
	if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		missing(t, "mkfs.ext4: %v %s", err, out)
	}
	mount(t, "-o", "loop", image, disk)
	s := start(ctx, t, filepath.Join(disk, "data"))
	var acked ledger
	for range 10 {
		acked.add(publish(ctx, t, s, "n", "before"))
	}
	stream := open(ctx, t, s.Client, client.Subscription{})
	if out, err := exec.CommandContext(ctx, "mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		missing(t, "mount -o remount,abort: %v %s", err, out)
	}
	refusedAsFull(ctx, t, s, &acked, "x")
	replay(ctx, t, s, &acked)
	for range 3 { // counts that the server writes after the failure, too
		_, err := next(stream, "message")
		must(t, err)
	}
}

// refusedAsFull publishes until the disk is full, and checks the server's answers then. The
// event that the server is writing when the disk fails may be stored or not. Later events are not.
func refusedAsFull(ctx context.Context, t *testing.T, s *apptest.Process, acked *ledger, data string) {
	t.Helper()
	var refused []string
	for range 1000 {
		id, err := s.Publish(ctx, client.Message{Topic: "n", Data: data})
		if err == nil && len(refused) > 0 {
			t.Fatalf("published as %v after %q", id, refused)
		}
		if err == nil {
			acked.add(id)
			continue
		}
		var refusal *client.Error
		if !errors.As(err, &refusal) {
			t.Fatalf("publish: %v\n%s", err, s.Log())
		}
		refused = append(refused, refusal.Code)
		if refusal.Code == "log_full" && refusal.Status == http.StatusInsufficientStorage && strings.Contains(refusal.Message, "space on its disk") {
			break
		}
		if refusal.Code != "log_unavailable" || len(refused) > 1 || !strings.Contains(refusal.Message, "may or may not be stored") {
			t.Fatalf("refused with %v", refusal)
		}
	}
	var refusal *client.Error
	if _, err := s.Get(ctx, "/readyz"); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || refusal.Code != "not_ready" {
		t.Errorf("readyz while the disk is full: %v", err)
	}
	if _, err := s.Get(ctx, "/livez"); err != nil {
		t.Errorf("livez: %v", err)
	}
	if _, err := s.Get(ctx, "/history?topic=n"); err != nil {
		t.Errorf("history: %v", err)
	}
}

// replay reads the log until it has every acknowledged event.
func replay(ctx context.Context, t *testing.T, s *apptest.Process, acked *ledger) {
	t.Helper()
	var all received
	for e, err := range s.Subscribe(ctx, client.Subscription{Topics: []string{"n"}, Since: "all"}) {
		if err != nil {
			t.Fatalf("a replay ended with %d events missing: %v\n%s", acked.missing(&all), err, s.Log())
		}
		if all.add(e); acked.missing(&all) == 0 {
			break
		}
	}
	must(t, all.fault())
}

// fill writes a file until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	_ = f.Close() // it reports the full disk again
}

// mount mounts a file system until the test ends.
func mount(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "mount", args...).CombinedOutput(); err != nil {
		missing(t, "mount %s: %v %s", strings.Join(args, " "), err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "--lazy", args[len(args)-1]).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
}
