package faults_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// The server is killed under many readers while publishing continues. All of them come back,
// spread over their reconnection times, and none misses an event.
func TestReconnectStorm(t *testing.T) {
	heavy(t)
	const readers = stormReaders
	const least, most = time.Second, 3 * time.Second
	ctx := begin(t)
	address := apptest.FreeAddress(t)
	dir := t.TempDir()
	flags := []string{"--listen", address, "--retry", fmt.Sprintf("%v-%v", least, most)}
	s := start(ctx, t, dir, flags...)

	all := make([]received, readers)
	var mu sync.Mutex
	arrivals := make([][]time.Time, readers) // each attempt to connect
	var opened atomic.Int64
	stops := make([]func(), readers)
	for n := range readers {
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			arrivals[n] = append(arrivals[n], time.Now())
			mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}
		c := newClient(t, s, client.Config{HTTP: &http.Client{Transport: transport}})
		stops[n] = follow(ctx, t, c, client.Subscription{
			Topics:    []string{"news"},
			Connected: func() { opened.Add(1) },
		}, all[n].add)
	}
	must(t, apptest.Until(ctx, func() bool { return opened.Load() == readers }))

	var acked ledger
	var publishing sync.WaitGroup
	halt, publisher := make(chan struct{}), newClient(t, s, client.Config{})
	publishing.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				id, err := publisher.Publish(ctx, client.Message{Topic: "news", Data: fmt.Sprint(i)})
				if err != nil {
					t.Errorf("publish: %v", err)
					return
				}
				acked.add(id)
			case <-halt:
				return
			}
		}
	})
	goOn := func(events int) {
		goal := acked.size() + events
		must(t, apptest.Until(ctx, func() bool { return acked.size() >= goal }))
	}
	goOn(10)
	killed := time.Now()
	s.Kill()
	s = start(ctx, t, dir, flags...)
	down := time.Since(killed)
	if err := apptest.Until(ctx, func() bool { return opened.Load() == 2*readers }); err != nil {
		t.Errorf("%d of %d came back: %v", opened.Load()-readers, readers, err)
	}
	took := time.Since(killed)
	goOn(10)
	close(halt)
	publishing.Wait()
	for n := range all {
		r := &all[n]
		if err := apptest.Until(ctx, func() bool { return acked.missing(r) == 0 }); err != nil {
			t.Fatalf("reader %d misses %d of %d events: %v", n, acked.missing(r), acked.size(), err)
		}
		if err := r.fault(); err != nil {
			t.Errorf("reader %d: %v", n, err)
		}
	}
	stats, err := s.Stats(ctx)
	must(t, err)
	if stats.Connections != readers+1 || stats.Stalled != 0 { // one is the stream of stats
		t.Errorf("%+v", stats)
	}
	for _, stop := range stops {
		stop()
	}

	const tenth = (most - least) / 10
	tenths, attempts := map[int]int{}, 0
	for n := range arrivals {
		for _, at := range arrivals[n] {
			after := at.Sub(killed)
			if after > 0 && after < least {
				t.Errorf("reader %d came back after %v", n, after)
			}
			if after > 0 {
				tenths[int(after/tenth)]++
				attempts++
			}
		}
	}
	for at, n := range tenths {
		if n > readers/3 {
			t.Errorf("%d of %d readers came within %v after %v", n, readers, tenth, time.Duration(at)*tenth)
		}
	}
	t.Logf("the server was down for %v; all were back after %v and %d attempts; by tenths of the span: %v", down, took, attempts, tenths)
}
