package faults_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

// clusterLoad is nodes, with a writer at each, and readers that move between them.
type clusterLoad struct {
	acked   ledger
	readers []*clusterReader

	mu      sync.Mutex
	nodes   []*apptest.Process
	writers []*clusterWriter

	writing, reading         context.Context // until the writers and the readers end
	stopWriting, stopReading context.CancelFunc
	writersRun, readersRun   sync.WaitGroup
}

func startClusterLoad(ctx context.Context, t *testing.T, servers natsCluster) *clusterLoad {
	t.Helper()
	l := &clusterLoad{}
	l.writing, l.stopWriting = context.WithCancel(ctx)
	l.reading, l.stopReading = context.WithCancel(ctx)
	t.Cleanup(func() { l.stopWriting(); l.stopReading(); l.writersRun.Wait(); l.readersRun.Wait() })
	for _, s := range servers {
		l.startNode(ctx, t, s.url) // at first each node is connected to another server, which tells it the others
	}
	for range clusterReaders {
		r := &clusterReader{at: map[uint64]time.Time{}}
		l.readers = append(l.readers, r)
		l.readersRun.Go(func() { l.wander(r) })
	}
	l.progress(ctx, t)
	return l
}

// startNode starts a node and its writer.
func (l *clusterLoad) startNode(ctx context.Context, t *testing.T, urls string) {
	t.Helper()
	node := start(ctx, t, t.TempDir(), "--nats", urls, "--replicas", "3", "--heartbeat", "200ms")
	c := newClient(t, node, client.Config{}) // it retries with the same key
	w := &clusterWriter{at: map[uint64]time.Time{}, last: time.Now()}
	l.mu.Lock()
	l.nodes, l.writers = append(l.nodes, node), append(l.writers, w)
	l.mu.Unlock()
	l.writersRun.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; l.writing.Err() == nil; n++ {
			id, err := c.Publish(ctx, client.Message{Topic: "news", Data: strconv.Itoa(n)})
			if err != nil {
				t.Errorf("the writer at %s: %v\n%s", node.URL, err, tail(node.Log()))
				return
			}
			l.acked.add(id)
			w.add(id.Seq())
			<-tick.C
		}
	})
}

// progress waits until every node has stored more events, and every reader has them.
func (l *clusterLoad) progress(ctx context.Context, t *testing.T) {
	t.Helper()
	for i, w := range l.writers {
		goal := w.size() + 20
		if err := apptest.Until(ctx, func() bool { return w.size() >= goal }); err != nil {
			t.Fatalf("node %d stores no more events: %v\n%s", i, err, tail(l.nodes[i].Log()))
		}
	}
	last := l.acked.last()
	for i, r := range l.readers {
		if err := apptest.Until(ctx, func() bool { _, upto := r.upto(); return upto >= last }); err != nil {
			_, upto := r.upto()
			t.Fatalf("reader %d is at event %d, and %d was acknowledged: %v", i, upto, last, err)
		}
	}
}

// during breaks a server until all nodes and readers have continued; at full size, a while longer.
func (l *clusterLoad) during(ctx context.Context, t *testing.T, what string, fail, mend func(*testing.T)) {
	t.Helper()
	began := time.Now()
	for _, w := range l.writers {
		w.reset()
	}
	fail(t)
	l.progress(ctx, t)
	back := time.Since(began)
	select {
	case <-time.After(clusterFault - back):
	case <-ctx.Done():
	}
	mend(t)
	l.progress(ctx, t)
	var outages []time.Duration
	for _, w := range l.writers {
		outages = append(outages, w.outage().Round(10*time.Millisecond))
	}
	t.Logf("%s: all nodes and readers have continued after %v; publishers were without an answer for %v", what, back.Round(10*time.Millisecond), outages)
}

// finish ends the writers, waits until every reader has everything, and checks what the readers have received.
func (l *clusterLoad) finish(ctx context.Context, t *testing.T) {
	t.Helper()
	l.stopWriting()
	l.writersRun.Wait()
	for i, r := range l.readers {
		if err := apptest.Until(ctx, func() bool { return l.acked.missing(&r.received) == 0 }); err != nil {
			t.Errorf("reader %d misses %d of %d events: %v", i, l.acked.missing(&r.received), l.acked.size(), err)
		}
	}
	l.stopReading()
	l.readersRun.Wait()
	var latest time.Duration
	for i, r := range l.readers {
		if err := r.fault(); err != nil {
			t.Errorf("reader %d: %v", i, err)
		}
		for _, w := range l.writers {
			for seq, acked := range w.at {
				latest = max(latest, r.at[seq].Sub(acked))
			}
		}
	}
	t.Logf("%d events were acknowledged; the latest arrival was %v after the publisher's answer", l.acked.size(), latest.Round(time.Millisecond))
}

// wander reads as browsers behind a load balancer do: from one node after the other, with the last event ID.
func (l *clusterLoad) wander(r *clusterReader) {
	cursor := ""
	for l.reading.Err() == nil {
		l.mu.Lock()
		node := l.nodes[rand.IntN(len(l.nodes))]
		l.mu.Unlock()
		if err := l.visit(node, r, &cursor); err != nil { // the node cannot serve now
			select {
			case <-time.After(50 * time.Millisecond):
			case <-l.reading.Done():
			}
		}
	}
}

// visit reads some frames from the node, and moves the cursor along.
func (l *clusterLoad) visit(node *apptest.Process, r *clusterReader, cursor *string) error {
	stream, err := node.Open(l.reading, client.Subscription{Topics: []string{"news"}, Since: "all", LastEventID: *cursor, Header: asBrowser()})
	if err != nil {
		return err
	}
	defer stream.Close()
	for range 1 + rand.IntN(100) {
		f, err := stream.Next()
		if err != nil {
			return err
		}
		if f.ID != "" {
			*cursor = f.ID
		}
		switch {
		case f.HasData && f.Type == "gap":
			r.add(client.Event{ID: f.ID, Data: f.Data, Gap: &event.Gap{}})
		case f.HasData && f.Type == "news":
			r.add(client.Event{ID: f.ID, Data: f.Data})
			if id, err := event.ParseID(f.ID); err == nil {
				r.at[id.Seq()] = time.Now()
			}
		}
	}
	return nil
}

// clusterReader is what one reader has received, and when.
type clusterReader struct {
	received

	at map[uint64]time.Time // used by the reader alone until it has ended
}

// clusterWriter notes when its events were acknowledged. It is safe for concurrent use.
type clusterWriter struct {
	mu    sync.Mutex
	at    map[uint64]time.Time
	last  time.Time
	pause time.Duration // the longest between two acknowledgements
}

func (w *clusterWriter) add(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.pause = max(w.pause, now.Sub(w.last))
	w.at[seq], w.last = now, now
}

func (w *clusterWriter) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.at)
}

func (w *clusterWriter) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = 0
}

func (w *clusterWriter) outage() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pause
}
