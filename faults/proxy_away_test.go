package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// Heartbeats keep an idle stream open beyond the proxy's timeouts. Without heartbeats the
// proxy closes it, which shows that the test sets the right timeouts.
func TestProxyKeepsAnIdleStream(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		for _, heartbeat := range []string{"250ms", "0"} {
			s := start(ctx, t, t.TempDir(), "--heartbeat", heartbeat)
			p := k.start(ctx, t, s.Addr(), k.hasty...)
			r := open(ctx, t, p.reader(t, ""), client.Subscription{Topics: []string{"news"}})
			begun, frames, err := time.Now(), 0, error(nil)
			for err == nil && time.Since(begun) < 4*time.Second {
				if _, err = r.Next(); err == nil {
					frames++
				}
			}
			switch lasted := time.Since(begun); {
			case heartbeat != "0" && err != nil:
				t.Errorf("the stream ended after %v and %d frames: %v", lasted, frames, err)
			case heartbeat == "0" && (err == nil || frames != 1 || ctx.Err() != nil):
				t.Errorf("the stream lasted %v without heartbeats, %d frames: %v", lasted, frames, err)
			}
		}
	})
}

// No reader loses an event when a proxy is killed and started again.
func TestProxyKilled(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		s := start(ctx, t, t.TempDir())
		p := k.start(ctx, t, s.Addr())
		a := gather(ctx, t, p, s)
		for range proxyKills {
			a.read(ctx, t)
			p.kill()
			goal := a.acked.size() + 20
			must(t, apptest.Until(ctx, func() bool { return a.acked.size() >= goal }))
			p.start(ctx, t)
		}
		a.finish(ctx, t)
	})
}

// During a restart of the server, the proxy answers an EventSource with status 200 only, so it
// reconnects and misses nothing. A publisher gets an error.
func TestServerRestartBehindAProxy(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(signal.String(), func(t *testing.T) {
				t.Parallel()
				ctx := begin(t)
				dir := t.TempDir()
				upstream := ownAddress(t)
				s := start(ctx, t, dir, "--listen", upstream)
				p := k.start(ctx, t, upstream)
				a := gather(ctx, t, p, s)
				a.read(ctx, t)
				must(t, s.Signal(signal))
				if err := s.Wait(ctx); signal == syscall.SIGTERM {
					must(t, err)
				}
				checkAnswersForTheServer(ctx, t, p, s.Token)
				// Each reader gets an answer of the proxy itself.
				must(t, apptest.Until(ctx, func() bool { return a.refused.Load() >= int64(len(a.readers)) }))
				start(ctx, t, dir, "--listen", upstream)
				a.finish(ctx, t)
			})
		}
	})
}

// checkAnswersForTheServer checks the proxy's answers while the server is down.
func checkAnswersForTheServer(ctx context.Context, t *testing.T, p *proxy, token string) {
	t.Helper()
	retries := map[time.Duration]bool{}
	for range 5 {
		r := open(ctx, t, p.reader(t, ""), client.Subscription{Topics: []string{"news"}})
		f, err := r.Next()
		if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") ||
			r.Header.Get("Access-Control-Allow-Origin") != "*" || f.ID != "" ||
			f.Type != "busy" || f.Data != fmt.Sprintf(`{"reason":"unavailable","retry_ms":%d}`, f.Retry.Milliseconds()) ||
			f.Retry < 2*time.Second || f.Retry >= 7*time.Second {
			t.Fatalf("a browser got %v: %+v, %v", r.Header, f, err)
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("the refused stream goes on: %v", err)
		}
		r.Close()
		retries[f.Retry] = true
	}
	if len(retries) == 1 {
		t.Errorf("all come back at once: %v", retries)
	}
	var refused *client.Error
	if id, err := p.client(t, p.Client, token).Publish(ctx, client.Message{Topic: "news", Data: "lost"}); !errors.As(err, &refused) || refused.Status/10 != 50 {
		t.Errorf("a publisher got %v, %v", id, err)
	}
	_, err := p.reader(t, "").Open(ctx, client.Subscription{Topics: []string{"news"}, Header: http.Header{"Accept": {"application/x-ndjson"}}})
	if !errors.As(err, &refused) || refused.Status < 500 {
		t.Errorf("a reader that is no browser got %v", err)
	}
}

// The server logs the reader's address, which the reader cannot forge.
func TestProxyTellsTheReadersAddress(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		s := start(ctx, t, t.TempDir(), "--trusted-proxy", "127.0.0.1")
		p := k.start(ctx, t, s.Addr())
		open(ctx, t, p.reader(t, "127.0.0.9"), client.Subscription{
			Topics: []string{"news"},
			Header: http.Header{"X-Forwarded-For": {"203.0.113.1", "203.0.113.2"}, "X-Real-Ip": {"203.0.113.3"}},
		})
		must(t, apptest.Until(ctx, func() bool { return strings.Contains(s.Log(), "stream opened") }))
		if log := s.Log(); !strings.Contains(log, " client=127.0.0.9 ") || strings.Contains(log, "203.0.113") {
			t.Errorf("the log has another address than the reader's:\n%s", log)
		}
	})
}

// audience is five readers behind a proxy.
type audience struct {
	acked   ledger // events for the readers
	readers [5]received
	opened  atomic.Int64 // streams of all readers
	refused atomic.Int64 // answers of the proxy itself, to all readers

	stop    func() // stops publishing
	stopped chan struct{}
}

// gather starts readers behind the proxy and a publisher that bypasses it, until finish.
func gather(ctx context.Context, t *testing.T, p *proxy, s *apptest.Process) *audience {
	t.Helper()
	a := &audience{stopped: make(chan struct{})}
	for n := range a.readers {
		follow(ctx, t, p.reader(t, ""), client.Subscription{
			Topics: []string{"news"}, Since: "all", Connected: func() { a.opened.Add(1) },
			Disconnected: func(err error, _ time.Duration) {
				if strings.HasSuffix(err.Error(), ": unavailable") {
					a.refused.Add(1)
				}
			},
		}, a.readers[n].add)
	}
	c := newClient(t, s, client.Config{})
	ctx, a.stop = context.WithCancel(ctx)
	t.Cleanup(a.stop)
	go func() {
		defer close(a.stopped)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if id, err := c.Publish(ctx, client.Message{Topic: "news", Data: strconv.Itoa(n)}); err == nil {
				a.acked.add(id)
			}
		}
	}()
	return a
}

// read waits until every reader has 20 more events than are published now.
func (a *audience) read(ctx context.Context, t *testing.T) {
	t.Helper()
	goal := a.acked.size() + 20
	for n := range a.readers {
		must(t, apptest.Until(ctx, func() bool { return a.readers[n].size() >= goal }))
	}
}

// finish stops publishing and checks that each reader got every event once and in order.
func (a *audience) finish(ctx context.Context, t *testing.T) {
	t.Helper()
	a.read(ctx, t)
	a.stop()
	<-a.stopped
	for n := range a.readers {
		r := &a.readers[n]
		err := apptest.Until(ctx, func() bool { return a.acked.missing(r) == 0 })
		if err != nil || r.fault() != nil {
			t.Errorf("reader %d misses %d of %d events (%v); %v", n, a.acked.missing(r), a.acked.size(), err, r.fault())
		}
	}
	t.Logf("%d events were read over %d streams", a.acked.size(), a.opened.Load())
}
