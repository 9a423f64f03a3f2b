package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"freshet/event"
)

const (
	// fewAlone is how many appends go at a time, each for itself, and how many make a batch
	// worth while: JetStream writes a batch to files of its own first, which costs as much
	// as ten or more single events.
	fewAlone = 16
	// maxShared is the size of the largest event that waits for others. A batch writes each
	// event twice: with large ones that costs more than the fsyncs that are saved.
	maxShared = maxBatchBytes / maxBatch
	// maxQueued bounds the appends that wait, and with them the memory that publishers who
	// are faster than the disk can fill: about as many are committed within answerTimeout.
	maxQueued = 1 << 16
	// maxGather bounds how long a batch waits for those whom the last one answered.
	maxGather = 10 * time.Millisecond
)

// queue gathers the appends that come while enough others are under way, to commit them
// together. Its zero value is ready.
type queue struct {
	mu       sync.Mutex
	underway int  // appends that go alone, or one batch
	batch    bool // what is under way is a batch
	waiting  []*waiting
	awaited  int           // with so many waiting,
	arrived  chan struct{} // this is closed
	batches  sync.WaitGroup
}

// waiting is an append in the queue or in a batch.
type waiting struct {
	entry  Entry
	answer chan Receipt // gets one receipt, for which it has room
	gone   bool         // the caller waits no longer; of the queue's mutex
}

// errAlone is the answer to an append that is to go alone.
var errAlone = errors.New("not committed with others")

// join is nil for an append that goes at once, by itself.
func (q *queue) join(entry Entry) *waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.batch && len(q.waiting) == 0 && q.underway < fewAlone {
		q.underway++
		return nil
	}
	w := &waiting{entry: entry, answer: make(chan Receipt, 1)}
	if len(q.waiting) < maxQueued {
		if q.waiting = append(q.waiting, w); len(q.waiting) == q.awaited {
			close(q.arrived)
		}
	} else {
		w.answer <- Receipt{Err: fmt.Errorf("%w: %d appends are waiting", ErrUnavailable, maxQueued)}
	}
	return w
}

// wait returns the receipt, or what became of ctx.
func (q *queue) wait(ctx context.Context, w *waiting) Receipt {
	select {
	case r := <-w.answer:
		return r
	case <-ctx.Done():
	}
	q.mu.Lock()
	w.gone = len(w.answer) == 0
	q.mu.Unlock()
	if !w.gone {
		return <-w.answer // who is to go alone must, as it is counted
	}
	return Receipt{Err: answer(ctx.Err())}
}

// ended is called once for each append that went alone and for each batch. After the last
// of those under way it returns the next batch, which the caller has committed; few are
// let go alone instead.
func (q *queue) ended() (batch []*waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.underway--; q.underway > 0 {
		return nil
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(w *waiting) bool { return w.gone })
	if q.batch = len(q.waiting) >= fewAlone; !q.batch {
		q.release(q.waiting)
		q.waiting = nil
		return nil
	}
	n := min(len(q.waiting), maxBatch)
	batch = slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	q.underway = 1
	return batch
}

// gather waits, a little, until as many as the batch had are in the queue beside those that
// are there: who was answered often comes again at once, and another batch costs about the
// same with them as without.
func (q *queue) gather(answered int, most time.Duration) {
	q.mu.Lock()
	if len(q.waiting) >= maxBatch {
		q.mu.Unlock()
		return
	}
	arrived := make(chan struct{})
	q.awaited, q.arrived = min(len(q.waiting)+answered, maxBatch), arrived
	q.mu.Unlock()
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	select {
	case <-arrived:
	case <-timeout.C:
	}
	q.mu.Lock()
	q.awaited = 0
	q.mu.Unlock()
}

// release lets the appends go alone. The mutex is held.
func (q *queue) release(appends []*waiting) {
	for _, w := range appends {
		if !w.gone {
			q.underway++
			w.answer <- Receipt{Err: errAlone}
		}
	}
}

// refused lets those of a batch go alone.
func (q *queue) refused(batch []*waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(batch)
}

// next has the next batch committed, if it is time.
func (l *Log) next() {
	if batch := l.queue.ended(); batch != nil {
		l.queue.batches.Go(func() { l.commitTogether(batch) })
	}
}

// commitTogether stores the events and answers each append.
func (l *Log) commitTogether(batch []*waiting) {
	defer l.next()
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout) // no caller's: none ends it for the others
	defer cancel()
	entries := make([]Entry, len(batch))
	for i, w := range batch {
		entries[i] = w.entry
	}
	begun := time.Now()
	first, err := l.commit(ctx, entries)
	took := time.Since(begun)
	if errors.Is(err, errRefused) {
		l.queue.refused(batch)
		return
	}
	if err == nil {
		l.answered(first + uint64(len(batch)) - 1)
	}
	for i, w := range batch {
		if err != nil {
			w.answer <- Receipt{Err: err}
		} else {
			w.answer <- Receipt{ID: event.NewID(l.epoch, first+uint64(i))}
		}
	}
	if err == nil {
		l.queue.gather(len(batch), min(took/2, maxGather))
	}
}
