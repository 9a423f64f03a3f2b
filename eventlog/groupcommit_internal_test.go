package eventlog

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
)

// Every append that was let go alone ends once, and nobody waits for one whose caller has left:
// or all later ones would wait for it.
func TestABatchIsRefusedAfterSomeHaveLeft(t *testing.T) {
	var g groupCommit
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	const queued = 20
	batch := fill(t, &g, queued)
	if len(batch) != queued {
		t.Fatalf("a batch of %d", len(batch))
	}
	if r := g.wait(gone, batch[0]); !errors.Is(r.Err, ErrUnavailable) {
		t.Errorf("who leaves is told %+v", r)
	}
	if next := g.finish(batch); next != nil {
		t.Errorf("a batch of %d out of nothing", len(next))
	}
	for _, w := range batch[1:] {
		if r := g.wait(gone, w); !errors.Is(r.Err, errSendDirect) { // and its ctx tells the log's answer, not the queue's
			t.Errorf("of a batch that was refused: %+v", r)
		}
	}
	for range queued - 1 { // those that are left of the batch
		if next := g.finish(nil); next != nil {
			t.Errorf("a batch of %d out of nothing", len(next))
		}
	}
	if n := len(fill(t, &g, 1500)); n != maxBatch {
		t.Errorf("a batch of %d", n)
	}
	if n := len(g.finish(nil)); n != 1500-maxBatch {
		t.Errorf("a batch of %d from the rest", n)
	}
}

// No more than so many wait; when those have left there is room again.
func TestAQueueIsBounded(t *testing.T) {
	var g groupCommit
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxDirect {
		g.enqueue(Entry{})
	}
	for n := range maxPending {
		if r := g.wait(gone, g.enqueue(Entry{})); !errors.Is(r.Err, context.Canceled) {
			t.Fatalf("the append that waits as number %d: %+v", n+1, r)
		}
	}
	if r := g.wait(t.Context(), g.enqueue(Entry{})); !errors.Is(r.Err, ErrUnavailable) || !strings.Contains(r.Err.Error(), strconv.Itoa(maxPending)) {
		t.Errorf("beyond what may wait: %+v", r)
	}
	for range maxDirect {
		if batch := g.finish(nil); batch != nil {
			t.Fatalf("a batch of %d whose callers have left", len(batch))
		}
	}
	if g.enqueue(Entry{}) != nil {
		t.Error("an append waits for nobody")
	}
}

// fill has as many go alone as may, and others wait, and returns the batch after the first.
func fill(t *testing.T, g *groupCommit, others int) (batch []*pendingAppend) {
	t.Helper()
	for n := range maxDirect {
		if g.enqueue(Entry{}) != nil {
			t.Fatalf("the append beside %d others waits", n)
		}
	}
	for n := range others {
		if g.enqueue(Entry{}) == nil {
			t.Fatalf("the append behind %d others goes alone", n)
		}
	}
	for range maxDirect {
		if batch != nil {
			t.Fatal("a batch goes before those under way have ended")
		}
		batch = g.finish(nil)
	}
	return batch
}
