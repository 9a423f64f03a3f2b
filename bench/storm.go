//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"freshet/bench/load"
)

// missed is how many events each reader of the storm has missed.
const missed = 100

// measureStorm has all readers come at once, each with the ID of an event a hundred back,
// and takes the time until the last of them has all.
func measureStorm(ctx context.Context, b *bench, name string) (sample, error) {
	s, err := b.start(ctx, name)
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	publisher, err := load.NewPublisher(ctx, s.target)
	if err != nil {
		return sample{}, err
	}
	defer publisher.Close()
	answer, err := publisher.Publish(1)
	if err != nil {
		return sample{}, err
	}
	id, err := s.firstID(answer)
	if err != nil {
		return sample{}, fmt.Errorf("the answer %q: %w", answer, err)
	}
	for n := range uint64(missed) {
		if _, err := publisher.Publish(2 + n); err != nil {
			return sample{}, err
		}
	}
	swarm, err := load.NewSwarm(load.Config{Target: s.target, LastEventID: id, First: 2})
	if err != nil {
		return sample{}, err
	}
	defer swarm.Close()
	begin := time.Now()
	if err := swarm.Open(ctx, b.Readers); err != nil {
		return sample{}, err
	}
	due := missed * uint64(b.Readers)
	if _, err := swarm.Until(ctx, patience, func() bool { return swarm.Events >= due }); err != nil {
		return sample{}, err
	}
	elapsed := swarm.Last.Sub(begin)
	if err := swarm.For(ctx, b.Settle/10); err != nil { // for what comes twice
		return sample{}, err
	}
	return account(swarm, due, map[string]float64{"storm": elapsed.Seconds()}), nil
}
