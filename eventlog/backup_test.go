package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
)

// backup returns a backup of the log.
func backup(t *testing.T, l *eventlog.Log) []byte {
	t.Helper()
	b, err := l.Backup(t.Context())
	must(t, err)
	var file bytes.Buffer
	must(t, b.CopyTo(t.Context(), &file))
	return file.Bytes()
}

func restore(ctx context.Context, cfg eventlog.Config, file []byte) (eventlog.Summary, eventlog.State, error) {
	return eventlog.Restore(ctx, cfg, bytes.NewReader(file), int64(len(file)))
}

// withoutEpoch returns the events with their sequences alone.
func withoutEpoch(events []string) (texts []string) {
	for _, e := range events {
		_, text, _ := strings.Cut(e, "-")
		texts = append(texts, text)
	}
	return texts
}

// A backup that is taken while events are published has all that were acknowledged before. The restored log has them with the same sequences
// and times, under a new epoch, and continues after them.
func TestABackupUnderLoadIsRestored(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir(), SyncInterval: time.Minute, RetainAge: 7 * time.Hour, RetainBytes: 64 << 20})
	var writers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for i := range 20 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, fmt.Sprintf("topic%d", i), "a", strings.Repeat("x", n%3000))}).Err; err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	must(t, apptest.Until(t.Context(), func() bool { s, err := l.State(t.Context()); return err == nil && s.Last > 2000 }))
	before, err := l.State(t.Context())
	must(t, err)
	file := backup(t, l)
	stop()
	writers.Wait()
	after, err := l.State(t.Context())
	must(t, err)
	if after.Last == before.Last {
		t.Error("nothing was published meanwhile")
	}

	dir := filepath.Join(t.TempDir(), "restored")
	summary, state, err := restore(t.Context(), eventlog.Config{Dir: dir}, file)
	must(t, err)
	if summary.Last.Seq() < before.Last || summary.Last.Epoch() != l.Epoch() || state.Last != summary.Last.Seq() || state.Events < before.Last || state.First != 1 {
		t.Errorf("the log ended at %d; the backup is %+v, and the restored log %+v", before.Last, summary, state)
	}
	var logged lockedBuffer
	restored := open(t, eventlog.Config{Dir: dir, RetainAge: 7 * time.Hour, RetainBytes: 64 << 20, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if restored.Epoch() <= l.Epoch() {
		t.Errorf("the epoch %d follows %d", restored.Epoch(), l.Epoch())
	}
	if log := logged.drain(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the restored log has other settings, or misses events:\n%s", log)
	}
	type stored struct {
		text string
		at   time.Time
	}
	list := func(l *eventlog.Log) (all []stored) {
		readAll(t, l, 0, ">", func(e event.Event) {
			all = append(all, stored{fmt.Sprint(e.ID().Seq(), e.Topic(), e.Type(), e.Data()), e.Time()})
		})
		return all
	}
	if have, want := list(restored), list(l)[:state.Events]; !slices.EqualFunc(have, want, func(a, b stored) bool { return a.text == b.text && a.at.Equal(b.at) }) {
		t.Errorf("the restored log has other events: %d, of %d", len(have), len(want))
	}
	if id := appendOne(t, restored, "news", "next", ""); id.Seq() != summary.Last.Seq()+1 || id.Epoch() != restored.Epoch() {
		t.Errorf("the next event is %v", id)
	}
}

// A backup may end between two messages of an atomic batch. The restored log has none of them: no publisher had an answer for them.
func TestARestoredLogHasNoPartOfABatch(t *testing.T) {
	t.Parallel()
	const batch = 400
	l := open(t, eventlog.Config{Dir: t.TempDir(), SyncInterval: time.Minute})
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer stop()
	writer.Go(func() {
		entries := slices.Repeat([]eventlog.Entry{{Event: eventlogtest.NewEvent(t, "news", "a", "data")}}, batch)
		for ctx.Err() == nil {
			if receipts := l.AppendAll(t.Context(), entries); receipts[len(receipts)-1].Err != nil {
				t.Error(receipts[len(receipts)-1].Err)
				return
			}
		}
	})
	var file []byte
	must(t, apptest.Until(t.Context(), func() bool {
		b, err := l.Backup(t.Context())
		must(t, err)
		var buffer bytes.Buffer
		must(t, b.CopyTo(t.Context(), &buffer))
		file = buffer.Bytes()
		return b.Summary.Last.Seq()%batch != 0
	}))

	dir := t.TempDir()
	summary, state, err := restore(t.Context(), eventlog.Config{Dir: dir}, file)
	must(t, err)
	if state.Events != summary.Last.Seq()/batch*batch || state.Last != summary.Last.Seq() || summary.Events != state.Events {
		t.Errorf("the backup has %d events up to %v, and the restored log %d up to %d", summary.Events, summary.Last, state.Events, state.Last)
	}
	var logged lockedBuffer
	restored := open(t, eventlog.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if id := appendOne(t, restored, "news", "next", ""); id.Seq() != summary.Last.Seq()+1 {
		t.Errorf("the next event is %v, after a backup up to %v", id, summary.Last)
	}
	if log := logged.drain(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the restored log says\n%s", log)
	}
}

// Events that retention has deleted stay deleted, and their sequences stay unused.
func TestABackupOfALogWithHoles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg   eventlog.Config
		first uint64
		kept  int
	}{
		"per topic": {eventlog.Config{RetainPerTopic: 2}, 0, 6},
		"expired":   {eventlog.Config{RetainBytes: 2000}, 0, 0},
		"empty":     {eventlog.Config{}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Dir = t.TempDir()
			l := open(t, c.cfg)
			for i := range 40 {
				if name != "empty" {
					appendOne(t, l, fmt.Sprintf("topic%d", i%3), "data", "")
				}
			}
			want, err := l.State(t.Context())
			must(t, err)
			events := read(t, l, 0, ">")
			if c.kept > 0 && len(events) != c.kept {
				t.Errorf("the log has %d events", len(events))
			}
			to := c.cfg
			to.Dir = t.TempDir()
			_, _, err = restore(t.Context(), to, backup(t, l))
			must(t, err)
			var logged lockedBuffer
			to.Logger = slog.New(slog.NewTextHandler(&logged, nil))
			restored := open(t, to)
			if log := logged.drain(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
				t.Errorf("the log says\n%s", log)
			}
			have, err := restored.State(t.Context())
			must(t, err)
			if have.First != want.First || have.Last != want.Last || have.Events != want.Events {
				t.Errorf("the log was %+v, and is %+v", want, have)
			}
			if !slices.Equal(withoutEpoch(read(t, restored, 0, ">")), withoutEpoch(events)) {
				t.Error("the restored log has other events")
			}
		})
	}
}

// Each cut of a backup, and each changed byte, is noticed before anything is restored.
func TestABrokenBackupIsRefused(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	for i := range 100 {
		appendOne(t, l, "news", fmt.Sprintf("%d %x", i, i*i*7919), "")
	}
	whole := backup(t, l)
	if _, err := eventlog.CheckBackup(bytes.NewReader(whole), int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	broken := map[string][]byte{"empty": nil, "text": []byte("not a backup")}
	for i := 0; i < len(whole); i += 37 {
		broken[fmt.Sprintf("cut at %d", i)] = whole[:i]
	}
	for name, file := range broken {
		if _, _, err := restore(t.Context(), eventlog.Config{Dir: dir}, file); !errors.Is(err, eventlog.ErrBackup) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	begin := bytes.Index(whole, []byte("NATSARC1"))
	for i := begin; i < begin+2000 && i < len(whole); i += 11 {
		file := slices.Clone(whole)
		file[i] ^= 0x20
		if _, err := eventlog.CheckBackup(bytes.NewReader(file), int64(len(file))); !errors.Is(err, eventlog.ErrBackup) {
			t.Errorf("byte %d of the events was changed: %v", i-begin, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was restored: %v", err)
	}
}

// A folder with a log stays as it is.
func TestRestoreRefusesAFolderWithALog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	appendOne(t, l, "news", "kept", "")
	file := backup(t, l)
	if _, _, err := restore(t.Context(), eventlog.Config{Dir: dir}, file); !errors.Is(err, eventlog.ErrInUse) {
		t.Errorf("while it is open: %v", err)
	}
	must(t, l.Close())
	if _, _, err := restore(t.Context(), eventlog.Config{Dir: dir}, file); !errors.Is(err, eventlog.ErrLogExists) || !strings.Contains(err.Error(), dir) {
		t.Errorf("restored into a folder with a log: %v", err)
	}
	if events := read(t, open(t, eventlog.Config{Dir: dir}), 0, ">"); len(events) != 1 {
		t.Errorf("the log has %q", events)
	}
}

// A backup becomes a log of a cluster with three copies. There is no second one, and no log opens it before it is complete.
func TestABackupIsRestoredToACluster(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir(), SyncInterval: time.Minute})
	for i := range 1000 {
		appendOne(t, l, fmt.Sprintf("topic%d", i%7), strings.Repeat("x", i), "")
	}
	url := clusterNATS(t)
	cfg := eventlog.Config{NATS: url, Replicas: 3}
	file := backup(t, l)
	_, state, err := restore(t.Context(), cfg, file)
	must(t, err)
	if state.Events != 1000 || state.Last != 1000 {
		t.Errorf("restored %+v", state)
	}
	if _, _, err := restore(t.Context(), cfg, file); !errors.Is(err, eventlog.ErrLogExists) || !strings.Contains(err.Error(), `NATS has the stream "freshet"`) {
		t.Errorf("the second time: %v", err)
	}
	restored := open(t, cfg)
	if have, want := read(t, restored, 0, ">"), read(t, l, 0, ">"); !slices.Equal(withoutEpoch(have), withoutEpoch(want)) || restored.Epoch() == l.Epoch() {
		t.Errorf("the restored log has %d events, of %d", len(have), len(want))
	}
	// A node opens the restored log of a cluster, and takes a backup of it.
	again := backup(t, restored)
	dir := t.TempDir()
	_, _, err = restore(t.Context(), eventlog.Config{Dir: dir}, again)
	must(t, err)
	if have, want := read(t, open(t, eventlog.Config{Dir: dir}), 0, ">"), read(t, l, 0, ">"); !slices.Equal(withoutEpoch(have), withoutEpoch(want)) {
		t.Errorf("the log that was restored twice has %d events, of %d", len(have), len(want))
	}
}

// A copy of a folder, made while no process used it, is restored like a backup.
func TestACopyOfAFolderIsRestored(t *testing.T) {
	t.Parallel()
	dir, copied, restored := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "restored")
	l := open(t, eventlog.Config{Dir: dir})
	for i := range 10 {
		appendOne(t, l, "news", fmt.Sprint(i), "")
	}
	want, epoch := read(t, l, 0, ">"), l.Epoch()
	must(t, l.Close())
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	summary, state, err := eventlog.RestoreFolder(t.Context(), eventlog.Config{Dir: restored}, copied)
	must(t, err)
	if summary.Last.Epoch() != epoch || summary.Last.Seq() != 10 || state.Events != 10 {
		t.Errorf("restored %+v of %+v", state, summary)
	}
	l = open(t, eventlog.Config{Dir: restored})
	if have := read(t, l, 0, ">"); !slices.Equal(withoutEpoch(have), withoutEpoch(want)) || l.Epoch() == epoch {
		t.Errorf("the restored log has %q", have)
	}
	if _, _, err := eventlog.RestoreFolder(t.Context(), eventlog.Config{Dir: t.TempDir()}, t.TempDir()); !errors.Is(err, eventlog.ErrNoLog) {
		t.Errorf("an empty folder: %v", err)
	}
}
