package eventlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
)

// While files of the log cannot be opened, as without free descriptors, JetStream sends nothing
// and reports the end. No read may take that for the end of the log.
func TestAReadOfFilesThatCannotBeOpenedPassesNoEvent(t *testing.T) {
	t.Parallel()
	const events = 60 // 24 MB, in several files
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir, SyncInterval: time.Minute})
	var entries []eventlog.Entry
	for i := range events {
		entries = append(entries, eventlog.Entry{Event: eventlogtest.NewEvent(t, "t."+strconv.Itoa(i), "x", strings.Repeat("x", 400_000))})
	}
	for _, r := range l.AppendAll(t.Context(), entries) {
		must(t, r.Err)
	}
	sixth := eventAt(t, l, 6).Time()
	must(t, l.Close())

	l = open(t, eventlog.Config{Dir: dir, SyncInterval: time.Minute}) // with empty caches
	readable := hideBlocks(t, dir)
	type readFunc = func(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (uint64, error)
	cases := []struct {
		name     string
		read     readFunc
		patterns []string
		want     int
	}{
		{"all", l.Read, []string{">"}, events - 5},
		{"a wildcard", l.Read, []string{"t.*"}, events - 5},
		{"topics of one file", l.Read, []string{"t.6", "t.8"}, 2},
		{"topics of two files", l.Read, []string{"t.6", "t.59"}, 2},
		{"the newest of each topic", l.ReadLast, []string{">"}, events - 5},
		{"the newest of some topics", l.ReadLast, []string{"t.6", "t.8"}, 2},
	}
	for _, c := range cases {
		// Long enough to try, and short enough for a test: Read retries for seconds.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		upto, err := c.read(ctx, 5, eventlogtest.Patterns(t, c.patterns...), 1000, func(e event.Event) error {
			t.Errorf("%s: event %d was read", c.name, e.ID().Seq())
			return nil
		})
		cancel()
		if upto != 5 || err == nil {
			t.Errorf("%s: the read ended at %d with error %v, of files that cannot be opened", c.name, upto, err)
		}
	}
	if after, err := l.Seek(t.Context(), event.Since{Time: sixth}, eventlogtest.Patterns(t, ">")); err == nil || !errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("Seek found %d, %v", after, err)
	}

	readable()
	for _, c := range cases {
		var got []uint64
		upto, err := c.read(t.Context(), 5, eventlogtest.Patterns(t, c.patterns...), 1000, func(e event.Event) error {
			got = append(got, e.ID().Seq())
			return nil
		})
		if err != nil || len(got) != c.want || !slices.IsSorted(got) || upto != events {
			t.Errorf("%s: %v were read up to %d, %v", c.name, got, upto, err)
		}
	}
	if after, err := l.Seek(t.Context(), event.Since{Time: sixth}, eventlogtest.Patterns(t, ">")); after > 5 || err != nil {
		t.Errorf("Seek found %d, %v", after, err)
	}
}

// hideBlocks makes opening every file of messages but the last one fail, until the function that it returns is called.
func hideBlocks(t *testing.T, dir string) (restore func()) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "$G", "streams", "freshet", "msgs", "*.blk"))
	must(t, err)
	number := func(path string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".blk"))
		must(t, err)
		return n
	}
	slices.SortFunc(blocks, func(a, b string) int { return number(a) - number(b) })
	if len(blocks) < 3 {
		t.Fatalf("the log has %d files of messages", len(blocks))
	}
	blocks = blocks[:len(blocks)-1]
	for _, path := range blocks {
		must(t, os.Rename(path, path+".hidden"))
		must(t, os.Symlink(path, path)) // to itself
	}
	return func() {
		for _, path := range blocks {
			must(t, os.Rename(path+".hidden", path))
		}
	}
}

func eventAt(t *testing.T, l *eventlog.Log, seq uint64) (e event.Event) {
	t.Helper()
	_, err := l.Read(t.Context(), seq-1, eventlogtest.Patterns(t, ">"), 1, func(got event.Event) error { e = got; return nil })
	must(t, err)
	return e
}
