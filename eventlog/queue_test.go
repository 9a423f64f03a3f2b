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
	var q queue
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	const queued = 20
	batch := fill(t, &q, queued)
	if len(batch) != queued {
		t.Fatalf("a batch of %d", len(batch))
	}
	if r := q.wait(gone, batch[0]); !errors.Is(r.Err, ErrUnavailable) {
		t.Errorf("who leaves is told %+v", r)
	}
	q.refused(batch)
	for _, w := range batch[1:] {
		if r := q.wait(gone, w); !errors.Is(r.Err, errAlone) { // and its ctx tells the log's answer, not the queue's
			t.Errorf("of a batch that was refused: %+v", r)
		}
	}
	for range queued { // the batch and those that are left of it
		if next := q.ended(); next != nil {
			t.Errorf("a batch of %d out of nothing", len(next))
		}
	}
	if n := len(fill(t, &q, 1500)); n != maxBatch {
		t.Errorf("a batch of %d", n)
	}
	if n := len(q.ended()); n != 1500-maxBatch {
		t.Errorf("a batch of %d from the rest", n)
	}
}

// No more than so many wait; when those have left there is room again.
func TestAQueueIsBounded(t *testing.T) {
	var q queue
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range fewAlone {
		q.join(Entry{})
	}
	for n := range maxQueued {
		if r := q.wait(gone, q.join(Entry{})); !errors.Is(r.Err, context.Canceled) {
			t.Fatalf("the append that waits as number %d: %+v", n+1, r)
		}
	}
	if r := q.wait(t.Context(), q.join(Entry{})); !errors.Is(r.Err, ErrUnavailable) || !strings.Contains(r.Err.Error(), strconv.Itoa(maxQueued)) {
		t.Errorf("beyond what may wait: %+v", r)
	}
	for range fewAlone {
		if batch := q.ended(); batch != nil {
			t.Fatalf("a batch of %d whose callers have left", len(batch))
		}
	}
	if q.join(Entry{}) != nil {
		t.Error("an append waits for nobody")
	}
}

// fill has as many go alone as may, and others wait, and returns the batch after the first.
func fill(t *testing.T, q *queue, others int) (batch []*waiting) {
	t.Helper()
	for n := range fewAlone {
		if q.join(Entry{}) != nil {
			t.Fatalf("the append beside %d others waits", n)
		}
	}
	for n := range others {
		if q.join(Entry{}) == nil {
			t.Fatalf("the append behind %d others goes alone", n)
		}
	}
	for range fewAlone {
		if batch != nil {
			t.Fatal("a batch goes before those under way have ended")
		}
		batch = q.ended()
	}
	return batch
}
