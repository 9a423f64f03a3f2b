package faults_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freshet/bench/drive"
)

// A stream on which nothing is published outlives the proxy's timeouts by its heartbeats.
// Without them it does not: so the timeouts are those that count.
func TestProxyKeepsAnIdleStream(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		for _, heartbeat := range []string{"250ms", "0"} {
			s := start(ctx, t, t.TempDir(), "--heartbeat", heartbeat)
			p := k.start(ctx, t, address(s), k.hasty...)
			r, err := drive.Open(ctx, drive.Request{URL: p.URL + "/event/news", Dial: p.from("")})
			must(t, err)
			defer r.Close()
			begun, frames := time.Now(), 0
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

// A proxy that is killed, and is back, costs nobody an event.
func TestProxyKilled(t *testing.T) {
	const rounds = 5
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		s := start(ctx, t, t.TempDir())
		p := k.start(ctx, t, address(s))
		a := gather(ctx, t, p, s.Client)
		for range rounds {
			a.read(ctx, t)
			p.kill()
			goal := a.books.Len() + 20
			must(t, drive.Until(ctx, func() bool { return a.books.Len() >= goal }))
			p.start(ctx, t)
		}
		a.finish(ctx, t)
	})
}

// While the server is restarted, an EventSource gets no status but 200 from the proxy, so
// it lives on, and misses nothing. A publisher is told that nothing was published.
func TestServerRestartBehindAProxy(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		dir := t.TempDir()
		upstream := ownHost() + ":8080"
		s := start(ctx, t, dir, "--listen", upstream)
		p := k.start(ctx, t, upstream)
		a := gather(ctx, t, p, s.Client)
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			a.read(ctx, t)
			must(t, s.Signal(signal))
			if err := s.Wait(ctx); signal == syscall.SIGTERM {
				must(t, err)
			}
			opened := a.opened.Load()
			checkAnswersForTheServer(ctx, t, p, s.Token)
			// Those of the proxy's own, to readers that will be back.
			must(t, drive.Until(ctx, func() bool { return a.opened.Load() >= opened+int64(len(a.accounts)) }))
			s = start(ctx, t, dir, "--listen", upstream)
		}
		a.finish(ctx, t)
	})
}

// checkAnswersForTheServer checks what the proxy says to whom while the server is away.
func checkAnswersForTheServer(ctx context.Context, t *testing.T, p *proxy, token string) {
	t.Helper()
	retries := map[time.Duration]bool{}
	for range 5 {
		r, err := drive.Open(ctx, drive.Request{URL: p.URL + "/event?topic=news", Dial: p.from("")})
		must(t, err)
		f, err := r.Next()
		if err != nil || r.Status != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") ||
			r.Header.Get("Access-Control-Allow-Origin") != "*" || f.HasData || f.ID != "" ||
			f.Retry < 2*time.Second || f.Retry >= 7*time.Second {
			t.Fatalf("a browser got %d %v: %+v, %v", r.Status, r.Header, f, err)
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("the empty stream goes on: %v", err)
		}
		r.Close()
		retries[f.Retry] = true
	}
	if len(retries) == 1 {
		t.Errorf("all come back at once: %v", retries)
	}
	if id, err := publishWith(ctx, p.Client, p.URL, token, "lost"); err == nil || !strings.HasPrefix(err.Error(), "publish: 50") {
		t.Errorf("a publisher got %q, %v", id, err)
	}
	r, err := drive.Open(ctx, drive.Request{
		URL: p.URL + "/event/news", Dial: p.from(""), Header: http.Header{"Accept": {"application/x-ndjson"}},
	})
	must(t, err)
	defer r.Close()
	if r.Status < 500 {
		t.Errorf("a reader that is no browser got %d", r.Status)
	}
}

// The server's log has the reader's address, which the reader cannot make up.
func TestProxyTellsTheReadersAddress(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		s := start(ctx, t, t.TempDir(), "--trusted-proxy", "127.0.0.1")
		p := k.start(ctx, t, address(s))
		r, err := drive.Open(ctx, drive.Request{
			URL:    p.URL + "/event/news",
			Dial:   p.from("127.0.0.9"),
			Header: http.Header{"X-Forwarded-For": {"203.0.113.1", "203.0.113.2"}, "X-Real-Ip": {"203.0.113.3"}},
		})
		must(t, err)
		defer r.Close()
		must(t, drive.Until(ctx, func() bool { return strings.Contains(s.Log(), "stream opened") }))
		if log := s.Log(); !strings.Contains(log, " client=127.0.0.9 ") || strings.Contains(log, "203.0.113") {
			t.Errorf("the log has another address than the reader's:\n%s", log)
		}
	})
}

// audience is some readers behind a proxy.
type audience struct {
	books    drive.Books // of what is published for them
	accounts [5]drive.Account
	opened   atomic.Int64 // streams, of all together

	stop    func() // stops publishing
	stopped chan struct{}
}

// gather has events read through the proxy, and published past it, until finish.
func gather(ctx context.Context, t *testing.T, p *proxy, client *drive.Client) *audience {
	t.Helper()
	a := &audience{stopped: make(chan struct{})}
	for n := range a.accounts {
		follow(ctx, t, drive.EventSource{
			Request: drive.Request{URL: p.URL + "/event/news?since=all", Dial: p.from("")},
			Event:   a.accounts[n].See,
			Opened:  func(time.Time) { a.opened.Add(1) },
		})
	}
	ctx, a.stop = context.WithCancel(ctx)
	t.Cleanup(a.stop)
	go func() {
		defer close(a.stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			// The key makes the retry after a lost answer harmless.
			if id, err := client.Publish(ctx, "news", strconv.Itoa(n), strconv.Itoa(n)); err == nil {
				a.books.Acknowledge(id)
				n++
			}
		}
	}()
	return a
}

// read waits until all have read more events than there are by now.
func (a *audience) read(ctx context.Context, t *testing.T) {
	t.Helper()
	goal := a.books.Len() + 20
	for n := range a.accounts {
		must(t, drive.Until(ctx, func() bool { return a.accounts[n].Len() >= goal }))
	}
}

// finish stops publishing, and checks that each has read every event, once and in order.
func (a *audience) finish(ctx context.Context, t *testing.T) {
	t.Helper()
	a.read(ctx, t)
	a.stop()
	<-a.stopped
	for n := range a.accounts {
		account := &a.accounts[n]
		err := drive.Until(ctx, func() bool { return a.books.Missing(account, 0) == 0 })
		if err != nil || account.Err() != nil || len(account.Gaps()) > 0 {
			t.Errorf("reader %d misses %d of %d events (%v); %v; gaps: %q",
				n, a.books.Missing(account, 0), a.books.Len(), err, account.Err(), account.Gaps())
		}
	}
	t.Logf("%d events were read over %d streams", a.books.Len(), a.opened.Load())
}
