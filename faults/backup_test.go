package faults_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

// runCommand runs a command of the program on the server, and returns what it prints to standard error, and its exit code.
func runCommand(ctx context.Context, t *testing.T, s *apptest.Process, args ...string) (stderr string, code int) {
	t.Helper()
	cmd := command(ctx, t, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if s != nil {
		cmd.Env = append(cmd.Env, "FRESHET_URL="+s.URL, "FRESHET_TOKEN="+s.Token)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// succeed is runCommand for a command that must succeed with one line.
func succeed(ctx context.Context, t *testing.T, s *apptest.Process, args ...string) string {
	t.Helper()
	out, code := runCommand(ctx, t, s, args...)
	if code != 0 || strings.Count(out, "\n") != 1 {
		t.Fatalf("freshet %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// backupLoad is writers with idempotency keys, whose events are all different, and what the server has acknowledged to them.
type backupLoad struct {
	acked ledger

	mu   sync.Mutex
	data map[event.ID]string

	stopWriting context.CancelFunc
	writing     sync.WaitGroup
}

func startBackupLoad(ctx context.Context, t *testing.T, c *client.Client) *backupLoad {
	t.Helper()
	l := &backupLoad{data: map[event.ID]string{}}
	var going context.Context
	going, l.stopWriting = context.WithCancel(ctx)
	t.Cleanup(l.stop)
	for n := range 24 {
		l.writing.Go(func() {
			for i := 0; going.Err() == nil; i++ {
				data := fmt.Sprintf("%d/%d", n, i)
				id, err := c.Publish(ctx, client.Message{Topic: "news", Data: data})
				if err != nil {
					t.Errorf("writer %d: %v", n, err)
					return
				}
				l.acked.add(id)
				l.mu.Lock()
				l.data[id] = data
				l.mu.Unlock()
			}
		})
	}
	l.await(ctx, t, 300)
	return l
}

// stop waits until the last events are acknowledged.
func (l *backupLoad) stop() { l.stopWriting(); l.writing.Wait() }

// await waits until more events are acknowledged.
func (l *backupLoad) await(ctx context.Context, t *testing.T, more int) {
	t.Helper()
	goal := l.acked.size() + more
	must(t, apptest.Until(ctx, func() bool { return t.Failed() || l.acked.size() >= goal }))
}

// acknowledged returns a copy of all events that were acknowledged.
func (l *backupLoad) acknowledged() map[event.ID]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.data)
}

// A backup is taken while publishers and readers are at work. The server then loses its disk, and goes on with the backup. All events that
// were acknowledged before the backup are back, with their sequences. Readers get one gap, and then every event.
func TestABackupIsTakenUnderLoadAndRestored(t *testing.T) {
	t.Parallel()
	ctx, dir, file := begin(t), filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "backup.zip")
	address := apptest.FreeAddress(t)
	s := start(ctx, t, dir, "--listen", address)
	c := newClient(t, s, client.Config{})
	l := startBackupLoad(ctx, t, c)
	var old, restored received
	var gaps []event.Gap
	now := &old
	stopReading := follow(ctx, t, c, client.Subscription{Topics: []string{"news"}, Since: "all"}, func(e client.Event) {
		if e.Gap != nil {
			gaps = append(gaps, *e.Gap)
			now = &restored
			return
		}
		now.add(e)
	})
	before := l.acknowledged()
	succeed(ctx, t, s, "backup", file)
	l.await(ctx, t, 300) // the backup does not have these
	l.stop()
	must(t, apptest.Until(ctx, func() bool { return l.acked.missing(&old) == 0 }))

	s.Kill()
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "publish-token"), []byte(s.Token), 0o600)) // the operator's copy
	succeed(ctx, t, nil, "restore", file, "--data", dir)
	s = start(ctx, t, dir, "--listen", address)
	next := publish(ctx, t, s, "news", "next")
	must(t, apptest.Until(ctx, func() bool { _, last := restored.upto(); return last == next.Seq() }))
	stopReading()
	if len(gaps) != 1 || gaps[0].Reason != "epoch" || old.fault() != nil || restored.fault() != nil {
		t.Errorf("gaps %+v, errors %v and %v", gaps, old.fault(), restored.fault())
	}
	have := map[uint64]string{}
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{"news"}, Since: "all"}) {
		must(t, err)
		id, err := event.ParseID(e.ID)
		must(t, err)
		have[id.Seq()] = e.Data
		if id == next {
			break
		}
	}
	for id, data := range before {
		if have[id.Seq()] != data || !restored.seen[id.Seq()] {
			t.Fatalf("event %v was %q, and is %q; the reader has it: %v", id, data, have[id.Seq()], restored.seen[id.Seq()])
		}
		if id.Epoch() == next.Epoch() {
			t.Fatalf("the epoch of %v is that of %v", next, id)
		}
	}
	if len(have) != restored.size() {
		t.Errorf("the log has %d events, and the reader %d", len(have), restored.size())
	}
	for _, text := range []string{"level=ERROR", "the settings of the log have changed"} {
		if strings.Contains(s.Log(), text) {
			t.Errorf("the log says\n%s", s.Log())
		}
	}
}

// A log moves from its folder to a cluster, at the same address, while publishers send again what was not answered, and readers come back.
// Nobody misses an event, or gets one twice.
func TestALogMovesToAClusterUnnoticed(t *testing.T) {
	t.Parallel()
	ctx, dir := begin(t), t.TempDir()
	servers := startNATSCluster(t)
	address := apptest.FreeAddress(t)
	s := start(ctx, t, dir, "--listen", address, "--drain", "100ms")
	c := newClient(t, s, client.Config{})
	l := startBackupLoad(ctx, t, c)
	ticket := postTicket(ctx, t, s)
	var readers [4]received
	var stops [len(readers)]func()
	for i := range readers {
		seen := map[string]bool{}
		stops[i] = follow(ctx, t, c, client.Subscription{
			Topics: []string{"news"}, Since: "all", Ticket: func(context.Context) (string, error) { return ticket, nil },
		}, func(e client.Event) {
			readers[i].add(e)
			if seen[e.Data] {
				t.Errorf("reader %d: %q came twice", i, e.Data)
			}
			seen[e.Data] = true
		})
	}
	l.await(ctx, t, 300)
	s.Kill() // worse than the orderly end: publishes are in flight
	succeed(ctx, t, nil, "move", dir, "--nats", servers.urls(), "--replicas", "3")
	if out, code := runCommand(ctx, t, nil, "--data", dir, "--listen", address); code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "the log has moved from "+dir) {
		t.Errorf("the old server: %d\n%s", code, out)
	}
	node := start(ctx, t, dir, "--listen", address, "--nats", servers.urls(), "--replicas", "3")
	l.await(ctx, t, 300)
	l.stop()
	for i := range readers {
		if err := apptest.Until(ctx, func() bool { return l.acked.missing(&readers[i]) == 0 }); err != nil {
			t.Errorf("reader %d misses %d events: %v\n%s", i, l.acked.missing(&readers[i]), err, node.Log())
		}
		stops[i]()
		if err := readers[i].fault(); err != nil {
			t.Errorf("reader %d: %v", i, err)
		}
	}
	epochs := map[uint64]bool{}
	for id := range l.acknowledged() {
		epochs[id.Epoch()] = true
	}
	if len(epochs) != 1 {
		t.Errorf("the log had the epochs %v", epochs)
	}
}

func postTicket(ctx context.Context, t *testing.T, s *apptest.Process) string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/ticket", nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+s.Token)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }() // only read from
	var answer struct{ Ticket string }
	must(t, json.NewDecoder(response.Body).Decode(&answer))
	return answer.Ticket
}

// publishLarge publishes more than the buffers of a connection hold, which nothing compresses.
func publishLarge(ctx context.Context, t *testing.T, s *apptest.Process) {
	t.Helper()
	for range 30 {
		data := make([]byte, 500<<10)
		_, _ = rand.Read(data) // never fails
		publish(ctx, t, s, "large", base64.StdEncoding.EncodeToString(data))
	}
}

// A client that asks for a backup and reads nothing keeps other backups off, and nothing else. The server stops in time.
func TestAClientThatDoesNotReadItsBackup(t *testing.T) {
	t.Parallel()
	ctx, dir := begin(t), t.TempDir()
	s := start(ctx, t, dir, "--drain", "100ms")
	publishLarge(ctx, t, s)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/backup", nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+s.Token)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }() // nothing is read
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	file := filepath.Join(t.TempDir(), "second.zip")
	if out, code := runCommand(ctx, t, s, "backup", file); code != 1 || !strings.Contains(out, "another backup of this node is in progress") {
		t.Errorf("a second backup: %d %s", code, out)
	}
	publish(ctx, t, s, "news", "hello")
	must(t, s.Signal(syscall.SIGTERM))
	if err := s.Wait(ctx); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if log := s.Log(); !strings.Contains(log, `msg="backup failed"`) || strings.Contains(log, `msg="backup complete"`) || strings.Contains(log, "after the drain") {
		t.Errorf("the log:\n%s", log)
	}
}

// A disk that becomes full under a backup, or under a log that is restored, leaves nothing behind but one line.
func TestBackupsAndAFullDisk(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir())
	publishLarge(ctx, t, s)
	whole := filepath.Join(t.TempDir(), "whole.zip")
	succeed(ctx, t, s, "backup", whole)
	disk := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk)
	for name, args := range map[string][]string{
		"backup":  {"backup", filepath.Join(disk, "backup.zip")},
		"restore": {"restore", whole, "--data", filepath.Join(disk, "data")},
	} {
		out, code := runCommand(ctx, t, s, args...)
		if code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "no space left on device") {
			t.Errorf("%s: %d\n%s", name, code, out)
		}
		if entries, err := os.ReadDir(disk); err != nil || len(entries) > 0 {
			t.Errorf("%s has left %v, %v", name, entries, err)
		}
	}
}
