package eventlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"freshet/event"
	"freshet/eventlog"
)

// Events that retention deletes are not lost: the epoch stays.
func TestRetentionIsNoLoss(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var epochs []uint64
	for _, cfg := range []eventlog.Config{
		{RetainPerTopic: 2}, {RetainPerTopic: 2}, {}, {}, {RetainBytes: 2000}, {RetainPerTopic: 1}, {}, {},
	} {
		cfg.Dir = dir
		l, err := eventlog.Open(t.Context(), cfg)
		must(t, err)
		for i := range 20 {
			appendOne(t, l, fmt.Sprintf("topic%d", i%3), "data", "")
		}
		epochs = append(epochs, l.Epoch())
		must(t, l.Close())
	}
	if len(slices.Compact(epochs)) != 1 {
		t.Errorf("the epochs are %d", epochs)
	}
}

// A log that lost acknowledged events gets a new epoch, once.
func TestALossRenewsTheEpochOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	var ids []event.ID
	for range 20 {
		ids = append(ids, appendOne(t, l, "a", "data", ""))
	}
	must(t, l.Close())
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "$G", "streams", "freshet", "msgs", "*.blk"))
	must(t, err)
	info, err := os.Stat(blocks[0])
	must(t, err)
	must(t, os.Truncate(blocks[0], info.Size()/2))

	l = open(t, eventlog.Config{Dir: dir})
	renewed := l.Epoch()
	if renewed == ids[0].Epoch() {
		t.Error("the epoch is that of before the loss")
	}
	if id := appendOne(t, l, "a", "data", ""); id.Epoch() != renewed || slices.Contains(ids, id) {
		t.Errorf("the next event is %v", id)
	}
	if n := len(read(t, l, 0, "a")); n < 2 || n > 20 {
		t.Errorf("%d events are kept", n)
	}
	must(t, l.Close())
	l = open(t, eventlog.Config{Dir: dir})
	if l.Epoch() != renewed {
		t.Error("one loss renewed the epoch twice")
	}
}
