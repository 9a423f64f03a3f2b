package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/google/go-cmp/cmp"
)

// Each of many concurrent publishers gets its own answer: some events are too large, and each
// key is sent by two publishers.
func TestEachAppendOfAGroupIsAnswered(t *testing.T) {
	t.Parallel()
	const publishers, rounds = 64, 20
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir, MaxEvent: 1000})
	receipts := map[string][]eventlog.Receipt{} // by data
	var mu sync.Mutex
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for round := range rounds {
				data, key := fmt.Sprintf("%d of %d", round, p), ""
				switch {
				case p%8 == 0:
					data += strings.Repeat("x", 200_000)
				case p%8 < 3 && round%4 == 0:
					key = fmt.Sprintf("%d of pair %d", round, p/8)
					data = key
				}
				r := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "n."+strconv.Itoa(p/8), "n", data), Key: key})
				mu.Lock()
				receipts[data] = append(receipts[data], r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()

	var want, stored []string
	ids := map[event.ID]string{}
	for data, rs := range receipts {
		if len(data) > 1000 {
			if len(rs) != 1 || !errors.Is(rs[0].Err, eventlog.ErrTooLarge) {
				t.Errorf("an event of %d bytes: %+v", len(data), rs)
			}
			continue
		}
		first := 0
		for _, r := range rs {
			if r.Err != nil || r.ID != rs[0].ID {
				t.Errorf("%q is answered %+v", data, rs)
			}
			if !r.Repeat {
				first++
			}
		}
		if first != 1 {
			t.Errorf("%q is stored %d times: %+v", data, first, rs)
		}
		ids[rs[0].ID] = data
	}
	for seq := range uint64(len(ids)) { // no two events have one ID, and no ID is left out
		id := event.NewID(l.Epoch(), seq+1)
		want = append(want, fmt.Sprintf("%v %s", id, ids[id]))
	}
	_, err := l.Read(t.Context(), 0, eventlogtest.Patterns(t, ">"), 1<<30, func(e event.Event) error {
		stored = append(stored, fmt.Sprintf("%v %s", e.ID(), e.Data()))
		return nil
	})
	must(t, err)
	if diff := cmp.Diff(want, stored); diff != "" || len(stored) != 56*rounds-8*rounds/4 {
		t.Errorf("%d events are stored: %s", len(stored), diff)
	}
	must(t, l.Close())
	if !batched(t, dir) {
		t.Error("no batch was committed")
	}
}

// All appends are stored although they exceed one batch, and the last ID is recorded.
func TestAGroupLargerThanOneBatch(t *testing.T) {
	t.Parallel()
	const publishers = 2500
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	start := make(chan struct{})
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			<-start
			if r := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", strconv.Itoa(p))}); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	close(start)
	wg.Wait()
	if n := len(read(t, l, 0, "a")); n != publishers {
		t.Errorf("%d events are stored", n)
	}
	must(t, l.Close())
	last, err := os.ReadFile(filepath.Join(dir, "last-id"))
	if want := event.NewID(l.Epoch(), publishers).String(); err != nil || strings.TrimSpace(string(last)) != want {
		t.Errorf("the recorded last ID is %q, %v; want %s", last, err, want)
	}
}

// A single publisher does not wait for others: its events are not in batches.
func TestASingleAppendIsNoBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	for range 20 {
		appendOne(t, l, "a", "x", "")
	}
	must(t, l.Close())
	if batched(t, dir) {
		t.Error("a single append was committed as a batch")
	}
}

// batched reports whether any stored event has the header of a batch.
func batched(t *testing.T, dir string) bool {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "$G", "streams", "freshet", "msgs", "*.blk"))
	must(t, err)
	if len(blocks) == 0 {
		t.Fatal("no events are stored")
	}
	for _, name := range blocks {
		text, err := os.ReadFile(name)
		must(t, err)
		if bytes.Contains(text, []byte("Nats-Batch-Id")) {
			return true
		}
	}
	return false
}

// The appends of a batch with an invalid answer fail, and are not sent again.
func TestAGroupIsNotSentTwice(t *testing.T) {
	t.Parallel()
	url := clusterNATS(t)
	l := open(t, eventlog.Config{NATS: garbled(t, url, `"count":`, `"tnuoc":`), Replicas: 3})
	const publishers, rounds = 64, 10
	var lost, answered sync.Map // data → ID
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for round := range rounds {
				data := fmt.Sprintf("%d of %d", round, p)
				r := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", data)})
				switch {
				case r.Err == nil:
					answered.Store(data, r.ID)
				case errors.Is(r.Err, eventlog.ErrUnavailable):
					lost.Store(data, r.ID)
				default:
					t.Errorf("%q is answered %+v", data, r)
				}
			}
		})
	}
	wg.Wait()
	stored := map[string]event.ID{}
	readAll(t, open(t, eventlog.Config{NATS: url, Replicas: 3}), 0, ">", func(e event.Event) {
		if id, twice := stored[e.Data()]; twice {
			t.Errorf("%q is stored as %v and %v", e.Data(), id, e.ID())
		}
		stored[e.Data()] = e.ID()
	})
	batched := 0
	lost.Range(func(any, any) bool { batched++; return true })
	answered.Range(func(data, id any) bool {
		if stored[data.(string)] != id {
			t.Errorf("%q was answered %v and is %v", data, id, stored[data.(string)])
		}
		return true
	})
	if len(stored) != publishers*rounds || batched == 0 {
		t.Errorf("%d events are stored, %d were in batches", len(stored), batched)
	}
}

// While the log does not answer, a caller that waits may leave; then its event is not stored.
func TestAppendsThatWaitForALogThatHangs(t *testing.T) {
	t.Parallel()
	url := clusterNATS(t)
	proxy, gate := gated(t, url)
	l, other := open(t, eventlog.Config{NATS: proxy, Replicas: 3}), open(t, eventlog.Config{NATS: url, Replicas: 3})
	appendOne(t, l, "a", "before", "") // the cluster has a leader
	gate.Lock()
	var wg sync.WaitGroup
	const direct = 16
	for range direct {
		wg.Go(func() {
			if r := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", "sent")}); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, last, err := other.Bounds(t.Context())
		if err == nil && last == 1+direct {
			break
		}
		if time.Now().After(deadline) {
			gate.Unlock()
			wg.Wait()
			t.Fatalf("the log ends at %d, %v", last, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	abandoned := eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", "abandoned")}
	for n := range 100 { // few, because the log may hang only for a bounded time
		if r := l.Append(gone, abandoned); !errors.Is(r.Err, eventlog.ErrUnavailable) || !errors.Is(r.Err, context.Canceled) {
			t.Fatalf("the append that waits as number %d: %+v", n+1, r)
		}
	}
	gate.Unlock()
	wg.Wait()
	if id := appendOne(t, l, "a", "after", ""); id.Seq() != 1+direct+1 {
		t.Errorf("the next event is %v", id)
	}
}

// gated returns the URL of a proxy to NATS that forwards no answers while the gate is locked.
func gated(t *testing.T, to string) (string, *sync.Mutex) {
	t.Helper()
	gate := &sync.Mutex{}
	return proxyNATS(t, to, func(client io.Writer, nats io.Reader) {
		_, _ = io.Copy(writer(func(p []byte) (int, error) {
			gate.Lock()
			defer gate.Unlock()
			return client.Write(p)
		}), nats)
	}), gate
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
