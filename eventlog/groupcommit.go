package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// maxDirect is how many appends are sent directly at a time, and how many make a batch
	// worthwhile: JetStream first writes a batch to separate files, which costs as much as
	// ten or more single events.
	maxDirect = 16
	// maxGroupedBytes is the size of the largest event in a group. A batch writes each event
	// twice: with large ones that costs more than the saved fsyncs.
	maxGroupedBytes = maxBatchBytes / maxBatch
	// maxPending bounds the memory that publishers faster than the disk can fill. About as
	// many appends are committed within answerTimeout.
	maxPending = 1 << 16
	// maxGather bounds how long a batch waits for the publishers that the last one answered.
	maxGather = 10 * time.Millisecond
)

// groupCommit queues the appends that arrive while enough others are in flight, to commit
// them together. Its zero value is ready.
type groupCommit struct {
	mu            sync.Mutex
	inFlight      int  // direct appends, or one batch
	batchInFlight bool // which of both
	pending       []*pendingAppend
	gatherSize    int            // how many pending appends gather waits for; 0: it does not wait
	gathered      chan struct{}  // closed once they are there
	commits       sync.WaitGroup // the goroutines that commit batches
}

// pendingAppend is an append in the queue or in a batch.
type pendingAppend struct {
	entry     Entry
	receipt   chan Receipt // has room for the one receipt
	abandoned bool         // its caller has left; guarded by the queue's mutex
}

// errSendDirect tells an append that left the queue to commit by itself.
var errSendDirect = errors.New("not committed with others")

// enqueue returns nil, and counts the append as in flight, if it is to be sent directly.
func (g *groupCommit) enqueue(entry Entry) *pendingAppend {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.batchInFlight && len(g.pending) == 0 && g.inFlight < maxDirect {
		g.inFlight++
		return nil
	}
	p := &pendingAppend{entry: entry, receipt: make(chan Receipt, 1)}
	if len(g.pending) < maxPending {
		if g.pending = append(g.pending, p); len(g.pending) == g.gatherSize {
			close(g.gathered)
		}
	} else {
		p.receipt <- Receipt{Err: fmt.Errorf("%w: %d appends are waiting", ErrUnavailable, maxPending)}
	}
	return p
}

// wait returns the receipt, or the error of ctx if that ends first.
func (g *groupCommit) wait(ctx context.Context, p *pendingAppend) Receipt {
	select {
	case r := <-p.receipt:
		return r
	case <-ctx.Done():
	}
	g.mu.Lock()
	p.abandoned = len(p.receipt) == 0
	g.mu.Unlock()
	if !p.abandoned {
		return <-p.receipt // an append that is to be sent directly already counts as in flight
	}
	return Receipt{Err: wrapError(ctx.Err())}
}

// finish ends one direct append or one batch; refused are the appends of a refused batch,
// which are then sent directly. After the last one in flight, the pending appends follow:
// finish returns a batch for the caller to commit, or sends a few directly.
func (g *groupCommit) finish(refused []*pendingAppend) (batch []*pendingAppend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sendDirect(refused)
	if g.inFlight--; g.inFlight > 0 {
		return nil
	}
	g.pending = slices.DeleteFunc(g.pending, func(p *pendingAppend) bool { return p.abandoned })
	if g.batchInFlight = len(g.pending) >= maxDirect; !g.batchInFlight {
		g.sendDirect(g.pending)
		g.pending = nil
		return nil
	}
	n := min(len(g.pending), maxBatch)
	batch = slices.Clone(g.pending[:n])
	g.pending = slices.Delete(g.pending, 0, n)
	g.inFlight = 1
	return batch
}

// gather waits until as many new appends are pending as the last batch answered, or for
// timeout. Publishers often append again at once, and a larger batch costs little more.
func (g *groupCommit) gather(answered int, timeout time.Duration) {
	g.mu.Lock()
	if len(g.pending) >= maxBatch {
		g.mu.Unlock()
		return
	}
	gathered := make(chan struct{})
	g.gatherSize, g.gathered = min(len(g.pending)+answered, maxBatch), gathered
	g.mu.Unlock()
	select {
	case <-gathered:
	case <-time.After(timeout):
	}
	g.mu.Lock()
	g.gatherSize = 0
	g.mu.Unlock()
}

// sendDirect tells the appends to commit by themselves. The mutex is held.
func (g *groupCommit) sendDirect(appends []*pendingAppend) {
	for _, p := range appends {
		if !p.abandoned {
			g.inFlight++
			p.receipt <- Receipt{Err: errSendDirect}
		}
	}
}

// finishCommit ends a direct append or a batch, and starts the next batch if it is due.
func (l *Log) finishCommit(refused []*pendingAppend) {
	if batch := l.group.finish(refused); batch != nil {
		l.group.commits.Go(func() { l.commitGroup(batch) })
	}
}

// commitGroup stores the events and answers each append.
func (l *Log) commitGroup(batch []*pendingAppend) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout) // a caller that leaves must not stop the others
	defer cancel()
	entries := make([]Entry, len(batch))
	for i, p := range batch {
		entries[i] = p.entry
	}
	start := time.Now()
	receipts, err := l.commitEntries(ctx, entries)
	took := time.Since(start)
	if errors.Is(err, errRefused) {
		l.finishCommit(batch)
		return
	}
	defer l.finishCommit(nil)
	for i, p := range batch {
		if err != nil {
			p.receipt <- Receipt{Err: err}
		} else {
			p.receipt <- receipts[i]
		}
	}
	if err == nil {
		l.group.gather(len(batch), min(took/2, maxGather))
	}
}
