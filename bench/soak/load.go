package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"freshet/bench/drive"
	"freshet/event"

	"golang.org/x/sync/errgroup"
)

// How many of each there are.
const (
	churners = 80
	slowOnes = 10
)

// load is all that goes on at once, and counts it.
type load struct {
	client     *drive.Client
	publishers []*publisher

	last      atomic.Uint64 // the highest sequence that was acknowledged
	published atomic.Int64  // events acknowledged
	repeats   atomic.Int64  // publishes with a key that was used before
	refusals  atomic.Int64
	seen      atomic.Int64 // events of the steady readers
	opened    atomic.Int64 // streams of the others
	cutOff    atomic.Int64 // those that the server ended: it was full, or they took nothing
	gaps      atomic.Int64 // told to the others
	pages     atomic.Int64 // of history
}

// newLoad returns a load whose publishers have names, and so topics, that begin with the name.
func newLoad(server *drive.Server, name string) *load {
	l := &load{client: server.Client}
	for n := range 3 {
		l.publishers = append(l.publishers, &publisher{name: name + strconv.Itoa(n), load: l, counts: map[string]uint64{}})
	}
	return l
}

// run keeps it going until ctx is done. The error is the first thing that was not as it
// should be.
func (l *load) run(ctx context.Context) error {
	g, all := errgroup.WithContext(context.WithoutCancel(ctx))
	staying, leave := context.WithCancel(all)
	patterns := []string{">", ">"}
	for _, p := range l.publishers {
		patterns = append(patterns, p.name+".>", p.name+".3.*")
	}
	places := make([]atomic.Uint64, len(patterns))
	var opening sync.WaitGroup
	opening.Add(len(patterns))
	for n, pattern := range patterns {
		g.Go(func() error {
			opened := sync.OnceFunc(opening.Done)
			defer opened()
			return l.steady(staying, pattern, opened, &places[n])
		})
	}
	opening.Wait()

	going, stop := context.WithCancel(all)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	var others sync.WaitGroup
	start := func(n int, do func(context.Context) error) {
		for range n {
			others.Add(1)
			g.Go(func() error {
				defer others.Done()
				return do(going)
			})
		}
	}
	start(1, l.publishers[0].bulk)
	start(1, l.publishers[1].singles)
	start(1, l.publishers[2].singles)
	start(churners, l.churning)
	start(slowOnes, l.slow)
	start(1, l.expired)
	start(1, l.history)
	start(1, l.refused)
	others.Wait()

	err := l.await(all, patterns, places)
	leave()
	err = cmp.Or(g.Wait(), err)
	l.client.CloseIdle()
	return err
}

// await waits until the steady readers have all that was acknowledged.
func (l *load) await(ctx context.Context, patterns []string, places []atomic.Uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for n, pattern := range patterns {
		if err := drive.Until(ctx, func() bool { return places[n].Load() >= l.last.Load() }); err != nil {
			return fmt.Errorf("the steady reader of %s is at %d, and %d is acknowledged", pattern, places[n].Load(), l.last.Load())
		}
	}
	return nil
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
