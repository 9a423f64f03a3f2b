package eventlog

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
)

// After a refused batch each append is sent directly and finishes once. Abandoned appends do not
// count: all later ones would wait for them.
func TestARefusedBatchWithAbandonedAppends(t *testing.T) {
	t.Parallel()
	var g groupCommit
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	const queued = 20
	batch := fill(t, &g, queued)
	if len(batch) != queued {
		t.Fatalf("a batch of %d", len(batch))
	}
	if r := g.wait(gone, batch[0]); !errors.Is(r.Err, ErrUnavailable) {
		t.Errorf("a caller that leaves gets %+v", r)
	}
	if next := g.finish(batch); next != nil {
		t.Errorf("a batch of %d out of nothing", len(next))
	}
	for _, w := range batch[1:] {
		if r := g.wait(gone, w); !errors.Is(r.Err, errSendDirect) { // its ctx bounds the direct append then
			t.Errorf("of a batch that was refused: %+v", r)
		}
	}
	for range queued - 1 { // the others of the batch
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

// At most maxPending appends wait; once they leave there is room again.
func TestAQueueIsBounded(t *testing.T) {
	t.Parallel()
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
		t.Errorf("the append over the limit: %+v", r)
	}
	for range maxDirect {
		if batch := g.finish(nil); batch != nil {
			t.Fatalf("a batch of %d of abandoned appends", len(batch))
		}
	}
	if g.enqueue(Entry{}) != nil {
		t.Error("the append waits although none is in flight")
	}
}

// fill enqueues as many direct appends as allowed and others that wait, and returns the first batch.
func fill(t *testing.T, g *groupCommit, others int) (batch []*pendingAppend) {
	t.Helper()
	for n := range maxDirect {
		if g.enqueue(Entry{}) != nil {
			t.Fatalf("the append waits although only %d others are in flight", n)
		}
	}
	for n := range others {
		if g.enqueue(Entry{}) == nil {
			t.Fatalf("the append behind %d others is sent directly", n)
		}
	}
	for range maxDirect {
		if batch != nil {
			t.Fatal("a batch starts before the direct appends have finished")
		}
		batch = g.finish(nil)
	}
	return batch
}
