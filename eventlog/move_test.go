package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A log that moves to a cluster keeps its epoch, all IDs, the idempotency keys and the store. Its folder is not a log any more.
func TestALogMovesToACluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir, RetainPerTopic: 50, RetainAge: 5 * time.Hour})
	for i := range 500 {
		appendOne(t, l, fmt.Sprintf("topic%d", i%7), fmt.Sprint(i), "")
	}
	id := appendOne(t, l, "orders", "paid", "order-17")
	store, err := l.Store(t.Context())
	must(t, err)
	var revision uint64
	for _, key := range []string{"a", "b", "a"} {
		revision, err = store.Put(t.Context(), key, []byte("value of "+key), time.Hour)
		must(t, err)
	}
	want, epoch := read(t, l, 0, ">"), l.Epoch()
	to := eventlog.Config{Dir: dir, NATS: clusterNATS(t), Replicas: 3}
	if _, err := eventlog.Move(t.Context(), to); !errors.Is(err, eventlog.ErrInUse) {
		t.Errorf("moved while it is open: %v", err)
	}
	must(t, l.Close())

	state, err := eventlog.Move(t.Context(), to)
	must(t, err)
	if state.Last != id.Seq() {
		t.Errorf("moved %+v", state)
	}
	for range 2 {
		if _, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir}); !errors.Is(err, eventlog.ErrElsewhere) || !strings.Contains(err.Error(), " to nats://127.0.0.1:") {
			t.Errorf("the folder: %v", err)
		}
		if _, err := eventlog.Move(t.Context(), to); !errors.Is(err, eventlog.ErrElsewhere) {
			t.Errorf("moved again: %v", err)
		}
	}
	moved := open(t, eventlog.Config{NATS: to.NATS, Replicas: 3, RetainPerTopic: 50, RetainAge: 5 * time.Hour})
	if have := read(t, moved, 0, ">"); !slices.Equal(have, want) || moved.Epoch() != epoch {
		t.Errorf("the log has %d events in epoch %d, and had %d in %d", len(have), moved.Epoch(), len(want), epoch)
	}
	again := moved.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "orders", "orders", "paid"), Key: "order-17"})
	if again.Err != nil || !again.Repeat || again.ID != id {
		t.Errorf("the retry: %+v, want %v", again, id)
	}
	if next := appendOne(t, moved, "orders", "next", ""); next.Seq() != id.Seq()+1 || next.Epoch() != epoch {
		t.Errorf("the next event is %v, after %v", next, id)
	}
	store, err = moved.Store(t.Context())
	must(t, err)
	if next, err := store.Put(t.Context(), "c", []byte("new"), time.Hour); err != nil || next <= revision {
		t.Errorf("revision %d follows %d: %v", next, revision, err)
	}
	values := map[string]string{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = store.Watch(ctx, func(key string, value []byte, _ uint64) { values[key] = string(value) }, cancel)
	if values["a"] != "value of a" || values["b"] != "value of b" || values["c"] != "new" {
		t.Errorf("the store has %v", values)
	}
}

// A move that fails leaves nothing behind, and the log in its folder goes on.
func TestAMoveThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	large := strings.Repeat("x", 1<<20)
	for range 3 {
		appendOne(t, l, "news", large, "")
	}
	epoch := l.Epoch()
	must(t, l.Close())
	url := externalNATS(t) // its largest payload is 1 MiB, with headers
	js := jetStreamOf(t, url)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, move := range map[string]func() error{
		"canceled": func() error { _, err := eventlog.Move(canceled, eventlog.Config{Dir: dir, NATS: url}); return err },
		"replicas": func() error {
			_, err := eventlog.Move(t.Context(), eventlog.Config{Dir: dir, NATS: url, Replicas: 3})
			return err
		},
		"no log": func() error {
			_, err := eventlog.Move(t.Context(), eventlog.Config{Dir: t.TempDir(), NATS: url})
			return err
		},
		"bucket": func() error {
			_, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "freshet-store"})
			must(t, err)
			_, err = eventlog.Move(t.Context(), eventlog.Config{Dir: dir, NATS: url})
			must(t, js.DeleteKeyValue(t.Context(), "freshet-store"))
			return err
		},
	} {
		if err := move(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		for stream := range js.StreamNames(t.Context()).Name() {
			t.Errorf("%s: NATS has the stream %s", name, stream)
		}
	}
	l = open(t, eventlog.Config{Dir: dir})
	if l.Epoch() != epoch || len(read(t, l, 0, ">")) != 3 {
		t.Error("the log in the folder has changed")
	}
}

func jetStreamOf(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}

// A log whose restoration was interrupted is not opened.
func TestAnUnfinishedLogIsNotOpened(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	_, err := jetStreamOf(t, url).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "freshet", Subjects: []string{"event.>"}, AllowAtomicPublish: true, Metadata: map[string]string{"freshet-restoring": "true"},
	})
	must(t, err)
	if _, err := eventlog.Open(t.Context(), eventlog.Config{NATS: url}); !errors.Is(err, eventlog.ErrUnfinished) || errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("Open: %v", err)
	}
}

// A folder that is restored into may have other files. They stay, also if restoring fails.
func TestOtherFilesOfTheFolderStay(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	appendOne(t, l, "news", "hello", "")
	file, dir := backup(t, l), t.TempDir()
	token := filepath.Join(dir, "publish-token")
	must(t, os.WriteFile(token, []byte("a-token-of-your-own\n"), 0o600))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := restore(canceled, eventlog.Config{Dir: dir}, file); err == nil {
		t.Error("restored after the end of the context")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "publish-token" {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	_, _, err = restore(t.Context(), eventlog.Config{Dir: dir}, file)
	must(t, err)
	if _, err := os.Stat(token); err != nil || len(read(t, open(t, eventlog.Config{Dir: dir}), 0, ">")) != 1 {
		t.Errorf("the token's file: %v", err)
	}
}
