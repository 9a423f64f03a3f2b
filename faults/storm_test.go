package faults_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/bench/drive"
)

// The server is killed under 5,000 readers while publishing goes on: all of them come back,
// spread over the reconnection times that they were given, and nobody misses anything.
func TestReconnectStorm(t *testing.T) {
	const readers = 5000
	const least, most = time.Second, 3 * time.Second
	ctx := begin(t)
	address, err := drive.QuietAddress(ctx)
	must(t, err)
	dir := t.TempDir()
	flags := []string{"--listen", address, "--retry", fmt.Sprintf("%v-%v", least, most)}
	s := start(ctx, t, dir, flags...)

	accounts := make([]drive.Account, readers)
	arrivals := make([][]time.Time, readers) // each attempt to connect
	var dialer net.Dialer
	var opened atomic.Int64
	stops := make([]func(), readers)
	for n := range readers {
		stops[n] = follow(ctx, t, drive.EventSource{
			Request: drive.Request{
				URL: s.URL + "/event/news",
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					arrivals[n] = append(arrivals[n], time.Now())
					return dialer.DialContext(ctx, network, address)
				},
			},
			Event:  accounts[n].See,
			Opened: func(time.Time) { opened.Add(1) },
		})
	}
	must(t, drive.Until(ctx, func() bool { return opened.Load() == readers }))

	var books drive.Books
	var publishing sync.WaitGroup
	halt, client := make(chan struct{}), s.Client
	publishing.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; {
			select {
			case <-tick.C:
				data := fmt.Sprint(i) // the key too: a retry after a lost answer is harmless
				if id, err := client.Publish(ctx, "news", data, data); err == nil {
					books.Acknowledge(id)
					i++
				}
			case <-halt:
				return
			}
		}
	})
	goOn := func(events int) {
		goal := books.Len() + events
		must(t, drive.Until(ctx, func() bool { return books.Len() >= goal }))
	}
	goOn(10)
	killed := time.Now()
	s.Kill()
	s = start(ctx, t, dir, flags...)
	down := time.Since(killed)
	if err := drive.Until(ctx, func() bool { return opened.Load() == 2*readers }); err != nil {
		t.Errorf("%d of %d came back: %v", opened.Load()-readers, readers, err)
	}
	took := time.Since(killed)
	goOn(10)
	close(halt)
	publishing.Wait()
	for n := range accounts {
		a := &accounts[n]
		if err := drive.Until(ctx, func() bool { return books.Missing(a, 0) == 0 }); err != nil {
			t.Fatalf("reader %d misses %d of %d events: %v", n, books.Missing(a, 0), books.Len(), err)
		}
		if a.Err() != nil || len(a.Gaps()) > 0 {
			t.Errorf("reader %d: %v, gaps %q", n, a.Err(), a.Gaps())
		}
	}
	stats, err := s.Stats(ctx)
	must(t, err)
	if stats.Connections != readers+1 || stats.Stalled != 0 { // the one that asks too
		t.Errorf("%+v", stats)
	}
	for _, stop := range stops {
		stop() // had there been another status than 200, this would tell
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
