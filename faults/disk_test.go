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

	"freshet/bench/drive"
)

// A full disk stops publishing and nothing else, and for no longer than it is full.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	disk := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk)
	s := start(ctx, t, filepath.Join(disk, "data"), "--max-body", "100KB")
	var books drive.Books
	var account drive.Account
	unfollow := follow(ctx, t, drive.EventSource{
		Request: drive.Request{URL: s.URL + "/event/n?since=all"}, Event: account.See,
		Closed: func(time.Time) { t.Error("the reader lost its stream") },
	})
	payload := strings.Repeat("x", 50_000)
	for round := range 3 {
		acknowledge(ctx, t, s, &books, payload)
		ballast := filepath.Join(disk, "ballast"+strconv.Itoa(round))
		fill(t, ballast)
		refusedAsFull(ctx, t, s, &books, payload)

		// What is stored is served, to those who were there and to those who come.
		if err := drive.Until(ctx, func() bool { return books.Missing(&account, 0) == 0 }); err != nil {
			t.Fatalf("the reader misses %d events: %v", books.Missing(&account, 0), err)
		}
		var replayed drive.Account
		replay(ctx, t, s, &books, &replayed)

		must(t, os.Remove(ballast))
		if err := drive.Until(ctx, func() bool { _, err := s.Get(ctx, "/readyz"); return err == nil }); err != nil {
			t.Fatalf("not ready with room again: %v\n%s", err, s.Log())
		}
		acknowledge(ctx, t, s, &books, "after")
		if err := drive.Until(ctx, func() bool { return books.Missing(&account, 0) == 0 }); err != nil {
			t.Fatalf("with room again, the reader misses %d events: %v\n%s", books.Missing(&account, 0), err, s.Log())
		}
	}
	if err := account.Err(); err != nil || len(account.Gaps()) > 0 {
		t.Errorf("%v, gaps %q", err, account.Gaps())
	}
	unfollow()
	s.Kill() // and nothing of it was only in memory
	var kept drive.Account
	replay(ctx, t, start(ctx, t, filepath.Join(disk, "data")), &books, &kept)
}

// A log that cannot be written, here because its files may not grow, says so at once; what it
// holds is served all the same.
func TestAFileThatMayNotGrow(t *testing.T) {
	t.Parallel()
	ctx, dir := begin(t), t.TempDir()
	cmd := exec.CommandContext(ctx, "sh", "-c", `ulimit -f 1024; exec "$0" "$@"`, binary, "--data", dir, "--listen", "127.0.0.1:0")
	cmd.Env = drive.Env()
	s, err := drive.Start(cmd)
	must(t, err)
	t.Cleanup(s.Kill)
	var books drive.Books
	refusedAsFull(ctx, t, s, &books, strings.Repeat("x", 100_000))
	var replayed, kept drive.Account
	replay(ctx, t, s, &books, &replayed)
	must(t, s.Signal(syscall.SIGTERM))
	must(t, s.Wait(ctx))

	again := start(ctx, t, dir) // where they may
	acknowledge(ctx, t, again, &books, "y")
	replay(ctx, t, again, &books, &kept)
}

// A disk that turns read-only, as Linux makes one after an error, stops publishing alone.
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
	var books drive.Books
	for range 10 {
		acknowledge(ctx, t, s, &books, "before")
	}
	stream, err := drive.Open(ctx, drive.Request{URL: s.URL + "/event"})
	must(t, err)
	defer stream.Close()
	if out, err := exec.CommandContext(ctx, "mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		missing(t, "mount -o remount,abort: %v %s", err, out)
	}
	refusedAsFull(ctx, t, s, &books, "x")
	var replayed drive.Account
	replay(ctx, t, s, &books, &replayed)
	for range 3 { // what it had ready, and more
		_, err := stream.Event("message")
		must(t, err)
	}
}

// acknowledge publishes until the event is taken: a disk that is made free is found so within a second.
func acknowledge(ctx context.Context, t *testing.T, s *drive.Server, books *drive.Books, data string) {
	t.Helper()
	id, err := s.Publish(ctx, "n", data, "")
	if err != nil {
		t.Fatalf("publish: %v\n%s", err, s.Log())
	}
	books.Acknowledge(id)
}

// refusedAsFull publishes until the disk takes no more, and checks what the server says then.
// The event that is under way when the disk fails may be stored or not; from then on it is clear.
func refusedAsFull(ctx context.Context, t *testing.T, s *drive.Server, books *drive.Books, data string) {
	t.Helper()
	var refused []string
	for range 1000 {
		id, err := s.Publish(ctx, "n", data, "")
		if err == nil && len(refused) > 0 {
			t.Fatalf("published as %v after %q", id, refused)
		}
		if err == nil {
			books.Acknowledge(id)
			continue
		}
		var refusal *drive.Refusal
		if !errors.As(err, &refusal) {
			t.Fatalf("publish: %v\n%s", err, s.Log())
		}
		refused = append(refused, refusal.Code)
		if refusal.Code == "log_full" && refusal.Status == http.StatusInsufficientStorage && strings.Contains(refusal.Body, "room on its disk") {
			break
		}
		if refusal.Code != "log_unavailable" || len(refused) > 1 || !strings.Contains(refusal.Body, "may or may not be stored") {
			t.Fatalf("refused with %v", refusal)
		}
	}
	var refusal *drive.Refusal
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

// replay reads all that is kept until it has what was acknowledged.
func replay(ctx context.Context, t *testing.T, s *drive.Server, books *drive.Books, account *drive.Account) {
	t.Helper()
	r, err := drive.Open(ctx, drive.Request{URL: s.URL + "/event/n?since=all"})
	must(t, err)
	defer r.Close()
	for books.Missing(account, 0) > 0 {
		f, err := r.Event("")
		if err != nil {
			t.Fatalf("a replay ended with %d events missing: %v\n%s", books.Missing(account, 0), err, s.Log())
		}
		account.See(f)
	}
	if err := account.Err(); err != nil || len(account.Gaps()) > 0 {
		t.Errorf("replay: %v, gaps %q", err, account.Gaps())
	}
}

// fill writes a file as large as the disk takes.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	_ = f.Close() // full as it is
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
