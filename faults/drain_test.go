package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// grace is the promised time from the end of the drain to the end of the server. The race detector makes it slower.
func grace() time.Duration {
	if raceEnabled {
		return 5 * time.Second
	}
	return 2 * time.Second
}

// drained is what one reader received at the drain.
type drained struct {
	at    time.Time
	retry time.Duration // 0: the server sent none
	err   error         // why the end of the stream is wrong
}

// SIGTERM with many readers and publishers: the server first turns not ready, then
// disconnects one reader after the other, answers every publish truly and ends in time.
func TestDrain(t *testing.T) {
	heavy(t)
	const readers, drain = drainReaders, 3 * time.Second
	ctx := begin(t)
	dir := t.TempDir()
	s := start(ctx, t, dir, "--drain", drain.String(), "--retry", "1s-3s")
	streams := make([]*client.Reader, readers)
	for n := range streams {
		streams[n] = open(ctx, t, s.Client, client.Subscription{Topics: []string{"news"}})
	}
	publishing := keepPublishing(ctx, s)
	must(t, apptest.Until(ctx, func() bool { return publishing.answered() >= 100 }))

	// A disconnected reader finds the server not ready.
	ready := sync.OnceValue(func() error { _, err := s.Get(ctx, "/readyz"); return err })
	all := make([]drained, readers)
	var reading sync.WaitGroup
	for n, r := range streams {
		reading.Go(func() {
			all[n] = readToDrain(r)
			_ = ready()
		})
	}
	began := time.Now()
	must(t, s.Signal(syscall.SIGTERM))
	if err := s.Wait(ctx); err != nil {
		t.Errorf("ended with %v\n%s", err, tail(s.Log()))
	}
	if took := time.Since(began); took > drain+grace() {
		t.Errorf("ended after %v\n%s", took, tail(s.Log()))
	}
	reading.Wait()

	var refusal *client.Error
	if err := ready(); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || refusal.Code != "draining" {
		t.Errorf("readyz after the first was disconnected: %v", err)
	}
	retries, tenths := map[time.Duration]bool{}, map[time.Duration]int{}
	for n, d := range all {
		if d.err != nil || d.retry < time.Second || d.retry > 3*time.Second {
			t.Errorf("reader %d was disconnected with %+v", n, d)
		}
		retries[d.retry] = true
		tenths[d.at.Sub(began)/(drain/10)]++
	}
	// Drawn evenly from 2,001 milliseconds, 2,000 readers have about 1,265 different ones, 500
	// have 443.
	if len(retries) < readers/2 {
		t.Errorf("%d readers have only %d different reconnection times", readers, len(retries))
	}
	for tenth, n := range tenths {
		if n > readers/3 {
			t.Errorf("%d of %d readers were disconnected in tenth %d of the drain", n, readers, tenth)
		}
	}
	publishing.check(ctx, t, start(ctx, t, dir))
}

// A reader that does not read does not delay the end, and a second signal ends the server at once.
func TestDrainWithAReaderThatStopped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drain  time.Duration
		twice  bool
		within time.Duration
	}{
		"one signal":      {drain: time.Second, within: time.Second + grace()},
		"a second signal": {drain: time.Minute, twice: true, within: grace()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := begin(t)
			s := start(ctx, t, t.TempDir(), "--drain", c.drain.String())
			open(ctx, t, s.Client, client.Subscription{Topics: []string{"news"}})
			for range 20 { // more than the buffers between server and reader hold
				publish(ctx, t, s, "news", strings.Repeat("x", 1_000_000))
			}
			// A slow machine may not have filled the buffers yet. The server waits for the reader once
			// it delivers nothing more.
			delivered := uint64(math.MaxUint64) // none is counted while a goroutine is in its first write
			must(t, apptest.Until(ctx, func() bool {
				before := delivered
				stats, err := s.Stats(ctx)
				must(t, err)
				delivered = stats.Delivered
				return delivered == before
			}))
			began := time.Now()
			must(t, s.Signal(syscall.SIGTERM))
			must(t, apptest.Until(ctx, func() bool { _, err := s.Get(ctx, "/readyz"); return err != nil }))
			if c.twice {
				began = time.Now()
				must(t, s.Signal(syscall.SIGTERM))
			}
			err := s.Wait(ctx)
			if took := time.Since(began); took > c.within {
				t.Errorf("ended after %v\n%s", took, tail(s.Log()))
			}
			var exit *exec.ExitError
			killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM
			if killed != c.twice || !killed && err != nil {
				t.Errorf("ended with %v\n%s", err, tail(s.Log()))
			}
		})
	}
}

// readToDrain reads a stream to its end, which is the event drain and nothing after it.
func readToDrain(r *client.Reader) (d drained) {
	for {
		f, err := r.Next()
		if err != nil {
			if d.at.IsZero() {
				d.err = fmt.Errorf("no drain: %w", err)
			}
			return d
		}
		switch {
		case !d.at.IsZero():
			d.err = fmt.Errorf("after the drain came %+v", f)
		case f.Type == "drain":
			d.at, d.retry = time.Now(), f.Retry
		}
	}
}

// publishers are four that publish as fast as they can to a topic without readers, and one
// that publishes slowly to the readers' topic.
type publishers struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]string // IDs by data
	refused []string          // data
}

func keepPublishing(ctx context.Context, s *apptest.Process) *publishers {
	ctx, cancel := context.WithCancel(ctx)
	u := &publishers{cancel: cancel, acked: map[string]string{}}
	for n, topic := range []string{"news", "other", "other", "other", "other"} {
		u.running.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				if topic == "news" {
					<-tick.C
				}
				if !u.publish(ctx, s, topic, fmt.Sprintf("%d/%d", n, i)) {
					return
				}
			}
		})
	}
	return u
}

// publish publishes and records the answer. It returns false when the server has ended.
func (u *publishers) publish(ctx context.Context, s *apptest.Process, topic, data string) bool {
	id, err := s.Publish(ctx, client.Message{Topic: topic, Data: data, Key: data})
	u.mu.Lock()
	defer u.mu.Unlock()
	var refusal *client.Error
	switch {
	case err == nil:
		u.acked[data] = id.String()
	case errors.As(err, &refusal):
		u.refused = append(u.refused, data)
	default: // without an answer the event may be stored or not
		return !errors.Is(err, syscall.ECONNREFUSED)
	}
	return true
}

func (u *publishers) answered() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.acked) + len(u.refused)
}

// check stops the publishers and compares their answers with the stored events.
func (u *publishers) check(ctx context.Context, t *testing.T, s *apptest.Process) {
	t.Helper()
	u.cancel()
	u.running.Wait()
	last := publish(ctx, t, s, "news", "the last")
	stored := map[string]string{}
	for e, err := range s.Subscribe(ctx, client.Subscription{Topics: []string{">"}, Since: "all"}) {
		must(t, err)
		if e.ID == last.String() {
			break
		}
		if had, twice := stored[e.Data]; twice {
			t.Errorf("%s is stored as %s and %s", e.Data, had, e.ID)
		}
		stored[e.Data] = e.ID
	}
	for data, id := range u.acked {
		if stored[data] != id {
			t.Errorf("%s was answered with %s and is stored as %q", data, id, stored[data])
		}
	}
	for _, data := range u.refused {
		if stored[data] != "" {
			t.Errorf("%s was refused and is stored as %s", data, stored[data])
		}
	}
	t.Logf("%d events were acknowledged, %d refused, %d are stored", len(u.acked), len(u.refused), len(stored))
}
