package compare

import (
	"context"
	"sync/atomic"
	"time"

	"freshet/bench/load"

	"golang.org/x/sync/errgroup"
)

const (
	publishers = 64   // that publish at the same time
	bulkLines  = 4000 // events in a request, well below the server's --max-body
)

// measurePublish measures how many publishes a second are acknowledged: one after the other,
// by 64 publishers at the same time, and many in a request. One reader checks that all arrive.
func measurePublish(ctx context.Context, b *bench, name string) (sample, error) {
	figures := map[string]float64{}
	var all sample
	d := max(b.Load*2/5, 200*time.Millisecond)
	for key, run := range map[string]func(context.Context, *instance, time.Duration) (uint64, error){
		"acks_1": publishSingly, "acks_64": publishConcurrently, "acks_bulk": publishBulk,
	} {
		if key == "acks_bulk" && !ours(name) {
			continue
		}
		s, swarm, stop, err := b.open(ctx, name, load.Config{Unordered: true}, 1)
		if err == nil {
			err = swarm.For(ctx, b.Settle/5)
		}
		if err != nil {
			stop()
			return sample{}, err
		}
		w := &publishing{over: make(chan struct{})}
		var elapsed time.Duration
		go func() {
			defer close(w.over)
			begin := time.Now()
			published, err := run(ctx, s, d)
			elapsed, w.err = time.Since(begin), err
			w.published.Store(published)
		}()
		err = w.readAll(ctx, swarm, 1)
		lost := newSample(swarm, w.published.Load(), nil)
		stop()
		if err != nil {
			return sample{}, err
		}
		figures[key] = float64(w.published.Load()) / elapsed.Seconds()
		all.lost += lost.lost
		all.repeated += lost.repeated
	}
	all.figures = figures
	return all, nil
}

// publishSingly publishes one event after the other and returns how many were acknowledged.
func publishSingly(ctx context.Context, s *instance, d time.Duration) (uint64, error) {
	w := publish(ctx, s, pace{d: d})
	<-w.over
	return w.published.Load(), w.err
}

// publishConcurrently does the same with many publishers at the same time.
func publishConcurrently(ctx context.Context, s *instance, d time.Duration) (uint64, error) {
	var number, acknowledged atomic.Uint64
	g, ctx := errgroup.WithContext(ctx)
	end := time.Now().Add(d)
	for range publishers {
		g.Go(func() error {
			p, err := load.NewPublisher(ctx, s.target)
			if err != nil {
				return err
			}
			defer p.Close()
			for time.Now().Before(end) && ctx.Err() == nil {
				if _, err := p.Publish(number.Add(1)); err != nil {
					return err
				}
				acknowledged.Add(1)
			}
			return ctx.Err()
		})
	}
	err := g.Wait()
	return acknowledged.Load(), err
}

// publishBulk publishes many events in a request, one request after the other.
func publishBulk(ctx context.Context, s *instance, d time.Duration) (uint64, error) {
	p, err := load.NewPublisher(ctx, s.target)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	acknowledged := uint64(0)
	for begin := time.Now(); time.Since(begin) < d && ctx.Err() == nil; acknowledged += bulkLines {
		if err := p.PublishMany(topic, acknowledged+1, bulkLines); err != nil {
			return acknowledged, err
		}
	}
	return acknowledged, ctx.Err()
}
