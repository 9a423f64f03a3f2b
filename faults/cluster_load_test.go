package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"

	"github.com/nats-io/nats.go/jetstream"
)

// clusterLoad is nodes on three NATS servers, with a writer at each, and readers that move between them.
type clusterLoad struct {
	servers natsCluster
	acked   ledger
	stored  contents
	tickets clusterTickets
	readers []*clusterReader
	rounds  int

	mu      sync.Mutex
	nodes   []*apptest.Process
	writers []*clusterWriter
	dirs    []string // of the nodes

	writing, reading         context.Context // until the writers and the readers end
	stopWriting, stopReading context.CancelFunc
	writersRun, readersRun   sync.WaitGroup
}

func startClusterLoad(ctx context.Context, t *testing.T) *clusterLoad {
	t.Helper()
	l := &clusterLoad{servers: startNATSCluster(t)}
	l.writing, l.stopWriting = context.WithCancel(ctx)
	l.reading, l.stopReading = context.WithCancel(ctx)
	t.Cleanup(func() { l.stopWriting(); l.stopReading(); l.writersRun.Wait(); l.readersRun.Wait() })
	for _, s := range l.servers {
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
	dir := t.TempDir()
	node := l.start(ctx, t, dir, apptest.FreeAddress(t), urls)
	c := newClient(t, node, client.Config{HTTP: &http.Client{Timeout: 15 * time.Second}}) // it publishes again with the same key
	w := &clusterWriter{at: map[uint64]time.Time{}, last: time.Now()}
	l.mu.Lock()
	name := len(l.nodes)
	l.nodes, l.writers, l.dirs = append(l.nodes, node), append(l.writers, w), append(l.dirs, dir)
	l.mu.Unlock()
	l.writersRun.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; l.writing.Err() == nil; n++ {
			data := fmt.Sprintf("%d of writer %d", n, name)
			id, err := c.Publish(ctx, client.Message{Topic: "news", Data: data})
			if err == nil {
				err = l.stored.add(id, data)
			}
			if err != nil {
				t.Errorf("the writer at %s: %v\n%s", node.URL, err, tail(l.node(name).Log()))
				return
			}
			l.acked.add(id)
			w.add(id.Seq())
			<-tick.C
		}
	})
}

func (l *clusterLoad) start(ctx context.Context, t *testing.T, dir, address, urls string) *apptest.Process {
	t.Helper()
	return start(ctx, t, dir, "--listen", address, "--nats", urls, "--replicas", "3", "--heartbeat", "200ms", "--drain", "1s")
}

// node returns the node with the number. Any goroutine may call it.
func (l *clusterLoad) node(i int) *apptest.Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[i]
}

// anyNode returns a node. Any goroutine may call it.
func (l *clusterLoad) anyNode() *apptest.Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[rand.IntN(len(l.nodes))]
}

// restartNode starts the node with the number again, at its address. Its process has ended.
func (l *clusterLoad) restartNode(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	again := l.start(ctx, t, l.dirs[i], l.nodes[i].Addr(), l.servers.urls())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[i] = again
}

// progress waits until every node has stored more events, and every reader has them. A reader that has the last one must have all.
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
		if n := l.acked.missingUpto(&r.received, last); n > 0 {
			t.Errorf("reader %d has event %d, and misses %d before", i, last, n)
		}
		if err := r.fault(); err != nil {
			t.Fatalf("reader %d: %v", i, err)
		}
	}
}

// round is a fault of the cluster.
type round struct {
	what       string
	fail, mend func(*testing.T)
	lasts      time.Duration // the fault, at least
	stops      bool          // nothing is stored until it is mended
}

// run breaks something until all nodes and readers have continued, and for as long as the round says. Nothing is lost or repeated,
// and tickets live and die on every node.
func (l *clusterLoad) run(ctx context.Context, t *testing.T, r round) {
	t.Helper()
	began := time.Now()
	for _, w := range l.writers {
		w.reset()
	}
	l.tickets.create(ctx, t, l)
	r.fail(t)
	if !r.stops {
		l.tickets.revoke(ctx, t, l)
		l.progress(ctx, t)
	}
	broken := time.Since(began)
	select {
	case <-time.After(r.lasts - broken):
	case <-ctx.Done():
	}
	r.mend(t)
	mended := time.Now()
	if r.stops {
		l.tickets.revoke(ctx, t, l)
	}
	l.progress(ctx, t)
	if r.stops {
		broken = time.Since(mended)
	}
	l.tickets.check(ctx, t, l)
	var outages []time.Duration
	for _, w := range l.writers {
		outages = append(outages, w.outage().Round(10*time.Millisecond))
	}
	l.rounds++
	t.Logf("%s: all nodes and readers have continued after %v; publishers were without an answer for %v", r.what, broken.Round(10*time.Millisecond), outages)
}

// noConsumerStays waits until the log's stream has one consumer for each node: no round has left one behind. While readers replay, it
// has more, and NATS keeps those of a killed node for 30 seconds.
func (l *clusterLoad) noConsumerStays(ctx context.Context, t *testing.T) {
	t.Helper()
	consumers := 0
	if err := l.servers.awaitStream(ctx, t, func(info *jetstream.StreamInfo) bool {
		consumers = info.State.Consumers
		return consumers == len(l.nodes)
	}); err != nil {
		t.Errorf("%d nodes have %d consumers: %v", len(l.nodes), consumers, err)
	}
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
	l.noConsumerStays(ctx, t)
	t.Logf("%d rounds, %d nodes, %d readers, %d events; the latest arrival was %v after the publisher's answer",
		l.rounds, len(l.nodes), len(l.readers), l.acked.size(), latest.Round(time.Millisecond))
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
