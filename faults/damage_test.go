package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

// The server starts with damaged files of the log and reports what it found. A reader that
// resumes gets lost events as a gap, never silently.
func TestADamagedLog(t *testing.T) {
	const events = 100
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		lost   bool // the damage loses acknowledged events
	}{
		"nothing": {func(*testing.T, string) {}, false},
		"a torn last record": {func(t *testing.T, dir string) {
			change(t, lastBlock(t, dir), func(b []byte) []byte { return append(b, b[:50]...) })
		}, false},
		"the last block cut": {func(t *testing.T, dir string) {
			change(t, lastBlock(t, dir), func(b []byte) []byte { return b[:len(b)*2/3] })
		}, true},
		"the last block with a wrong byte": {func(t *testing.T, dir string) {
			change(t, lastBlock(t, dir), func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b })
		}, true},
		"the last block full of zeros": {func(t *testing.T, dir string) {
			change(t, lastBlock(t, dir), func(b []byte) []byte { return make([]byte, len(b)) })
		}, true},
		"the last block empty": {func(t *testing.T, dir string) { change(t, lastBlock(t, dir), func([]byte) []byte { return nil }) }, true},
		"the last block gone":  {func(t *testing.T, dir string) { must(t, os.Remove(lastBlock(t, dir))) }, true},
		"the index gone": {func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(filepath.Dir(lastBlock(t, dir)), "index.db")))
		}, false},
		"the index full of zeros": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(lastBlock(t, dir)), "index.db"), make([]byte, 100), 0o600))
		}, false},
		"all of it gone": {func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, true},
	} {
		for _, ending := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(fmt.Sprintf("%s after %v", name, ending), func(t *testing.T) {
				t.Parallel()
				ctx := begin(t)
				dir := filepath.Join(t.TempDir(), "data")
				s := start(ctx, t, dir)
				var ids []event.ID
				for i := range events {
					ids = append(ids, publish(ctx, t, s, "n", fmt.Sprint(i)))
				}
				must(t, s.Signal(ending))
				<-s.Exited()
				c.damage(t, dir)

				s = start(ctx, t, dir)
				publish(ctx, t, s, "n", "new")
				for _, had := range []int{10, events / 2, events} {
					gap, data := resumed(ctx, t, s, ids[had-1])
					var want []string
					for i := had; i < events; i++ {
						want = append(want, fmt.Sprint(i))
					}
					want = append(want, "new")
					if gap == "" && !slices.Equal(data, want) {
						t.Errorf("resumed after %d without a gap: %q\n%s", had, data, s.Log())
					}
					if gap != "" && (!c.lost || gap == event.GapUnknown) {
						t.Errorf("resumed after %d with a gap, %s", had, gap)
					}
				}
				if told := strings.Contains(s.Log(), "has lost events that were acknowledged"); told && !c.lost {
					t.Errorf("a false alarm:\n%s", s.Log())
				}
				if !strings.Contains(s.Log(), "log opened") {
					t.Errorf("the server does not say what it found:\n%s", s.Log())
				}
			})
		}
	}
}

// A server whose data folder is removed stops instead of acknowledging more events.
func TestADataFolderThatIsRemoved(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	dir := filepath.Join(t.TempDir(), "data")
	s := start(ctx, t, dir)
	publish(ctx, t, s, "n", "x")
	must(t, os.RemoveAll(dir))
	if err := s.Wait(ctx); err == nil || !strings.Contains(s.Log(), "was removed or replaced") {
		t.Errorf("ended with %v:\n%s", err, s.Log())
	}
}

// resumed reads after the ID, up to the event "new". It returns the gap, if there is one, and the data.
func resumed(ctx context.Context, t *testing.T, s *apptest.Process, after event.ID) (gap event.GapReason, data []string) {
	t.Helper()
	for e, err := range s.Subscribe(ctx, client.Subscription{Topics: []string{"n"}, LastEventID: after.String()}) {
		if err != nil {
			t.Fatalf("the stream ended with %v after %q\n%s", err, data, s.Log())
		}
		if e.Gap != nil {
			gap = e.Gap.Reason
			continue
		}
		if data = append(data, e.Data); e.Data == "new" {
			break
		}
	}
	return gap, data
}

// lastBlock returns the file with the newest events of the log.
func lastBlock(t *testing.T, dir string) string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "freshet", "msgs", "*.blk"))
	must(t, err)
	if len(blocks) == 0 {
		t.Fatal("the log has no blocks")
	}
	slices.Sort(blocks)
	return blocks[len(blocks)-1]
}

func change(t *testing.T, name string, edit func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, edit(b), 0o600))
}
