package soak

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"freshet/bench/server"
	"freshet/client"
	"freshet/event"

	"golang.org/x/sync/errgroup"
)

const (
	churningReaders = 80
	slowReaders     = 10
)

// load is everything that goes on at the same time, and counts it.
type load struct {
	server     *server.Process
	http       *http.Client
	publishing *client.Client // with the token
	reading    *client.Client // anonymous
	slow       *client.Client // with a small receive buffer
	publishers []*publisher

	last         atomic.Uint64 // the highest acknowledged sequence
	published    atomic.Int64  // acknowledged events
	repeats      atomic.Int64  // publishes with a key that was used before
	refusals     atomic.Int64
	seen         atomic.Int64 // events that steady readers got
	opened       atomic.Int64 // streams of all other readers
	disconnected atomic.Int64 // those that the server ended because it was full or they stalled
	gaps         atomic.Int64 // that other readers got
	pages        atomic.Int64 // of history
}

// newLoad returns a load. The names of its publishers, and so of its topics, begin with the name.
func newLoad(p *server.Process, name string) (*load, error) {
	l := &load{server: p, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	slow := &http.Client{Transport: &http.Transport{DialContext: dialWithSmallBuffer}}
	for c, cfg := range map[**client.Client]client.Config{
		&l.publishing: {URL: p.URL(), HTTP: l.http, Token: p.Token},
		&l.reading:    {URL: p.URL(), HTTP: l.http},
		&l.slow:       {URL: p.URL(), HTTP: slow},
	} {
		var err error
		if *c, err = client.New(cfg); err != nil {
			return nil, err
		}
	}
	for n := range 3 {
		l.publishers = append(l.publishers, &publisher{name: name + strconv.Itoa(n), load: l, numbers: map[string]uint64{}})
	}
	return l, nil
}

// dialWithSmallBuffer connects so that the server soon notices when the reader stops reading.
func dialWithSmallBuffer(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetReadBuffer(4096)
	}
	return conn, err
}

// runFor keeps the load going for a time, and returns the first error of a part of it.
func (l *load) runFor(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	g, all := errgroup.WithContext(context.WithoutCancel(ctx))
	steady, stopSteady := context.WithCancel(all)
	patterns := []string{">", ">"}
	for _, p := range l.publishers {
		patterns = append(patterns, p.name+".>", p.name+".3.*")
	}
	reached := make([]atomic.Uint64, len(patterns)) // the sequences that the steady readers have reached
	var opening sync.WaitGroup
	opening.Add(len(patterns))
	for n, pattern := range patterns {
		g.Go(func() error {
			opened := sync.OnceFunc(opening.Done)
			defer opened()
			return l.readSteadily(steady, pattern, opened, &reached[n])
		})
	}
	opening.Wait()

	others, stopOthers := context.WithCancel(all)
	defer stopOthers()
	defer context.AfterFunc(ctx, stopOthers)()
	var running sync.WaitGroup
	start := func(n int, run func(context.Context) error) {
		for range n {
			running.Add(1)
			g.Go(func() error {
				defer running.Done()
				return run(others)
			})
		}
	}
	start(1, l.publishers[0].publishBulk)
	start(1, l.publishers[1].publishSingly)
	start(1, l.publishers[2].publishSingly)
	start(churningReaders, l.readAndReturn)
	start(slowReaders, l.readSlowly)
	start(1, l.readWithExpiredIDs)
	start(1, l.readHistory)
	start(1, l.publishInvalid)
	running.Wait()

	err := l.waitForSteady(all, patterns, reached)
	stopSteady()
	err = cmp.Or(g.Wait(), err)
	l.http.CloseIdleConnections()
	return err
}

// waitForSteady waits until the steady readers have every acknowledged event.
func (l *load) waitForSteady(ctx context.Context, patterns []string, reached []atomic.Uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for n, pattern := range patterns {
		if !until(ctx, func() bool { return reached[n].Load() >= l.last.Load() }) {
			return fmt.Errorf("the steady reader of %s is at %d, and %d is acknowledged", pattern, reached[n].Load(), l.last.Load())
		}
	}
	return nil
}

// until waits for the condition, or returns false if the context ends first.
func until(ctx context.Context, holds func() bool) bool {
	for !holds() {
		if !pause(ctx, 5*time.Millisecond) {
			return false
		}
	}
	return true
}

// pause waits, or returns false if the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unlessDone returns the error, or nil if the context has ended.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (l *load) acknowledge(last event.ID, n int) {
	for {
		have := l.last.Load()
		if have >= last.Seq() || l.last.CompareAndSwap(have, last.Seq()) {
			break
		}
	}
	l.published.Add(int64(n))
}
