package compare

import (
	"context"
	"time"

	"freshet/bench/load"
)

// latencyReaders is how many readers there are when latency is measured.
const latencyReaders = 1000

// measureLatency publishes a hundred events a second and measures the time from the call of each
// publish to each read. Freshet has each event on disk before it answers.
func measureLatency(ctx context.Context, b *bench, name string) (sample, error) {
	readers := min(b.Readers, latencyReaders)
	s, swarm, stop, err := b.open(ctx, name, load.Config{Latencies: true}, readers)
	defer stop()
	if err != nil {
		return sample{}, err
	}
	if _, err := b.idle(ctx, s, swarm); err != nil {
		return sample{}, err
	}
	w := publish(ctx, s, pace{every: 10 * time.Millisecond, d: b.Load})
	if err := w.readAll(ctx, swarm, readers); err != nil {
		return sample{}, err
	}
	return newSample(swarm, w.published.Load()*uint64(readers), map[string]float64{
		"p50":  micros(swarm.Quantile(0.5)) / 1000,
		"p99":  micros(swarm.Quantile(0.99)) / 1000,
		"p999": micros(swarm.Quantile(0.999)) / 1000,
	}), nil
}
