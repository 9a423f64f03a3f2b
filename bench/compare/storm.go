package compare

import (
	"context"
	"fmt"
	"time"

	"freshet/bench/load"
)

// stormEvents is how many events each reader of the storm has missed.
const stormEvents = 100

// measureStorm connects all readers at the same time, each with the ID of an event a hundred back,
// and measures the time until the last reader has all events.
func measureStorm(ctx context.Context, b *bench, name string) (sample, error) {
	s, err := b.start(ctx, name)
	if err != nil {
		return sample{}, err
	}
	defer s.Stop()
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
	for n := range uint64(stormEvents) {
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
	due := stormEvents * uint64(b.Readers)
	if _, err := swarm.Until(ctx, patience, func() bool { return swarm.Events >= due }); err != nil {
		return sample{}, err
	}
	elapsed := swarm.Last.Sub(begin)
	if err := swarm.For(ctx, b.Settle/10); err != nil { // for repeated events
		return sample{}, err
	}
	return newSample(swarm, due, map[string]float64{"storm": elapsed.Seconds()}), nil
}
