package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"freshet/bench/drive"
)

// publisher is the only one that publishes, so that it knows each event's sequence before.
type publisher struct {
	books
	client *drive.Client
	epoch  uint64        // of the log, once it has events
	last   atomic.Uint64 // the last sequence that was acknowledged
}

// payload is what follows the sequence in an event's data.
var payload = strings.Repeat("x", 100)

// batch is how many events one request of the fill has: below the server's --max-body.
const batch = 5000

// fill publishes the events that the log begins with.
func (p *publisher) fill(ctx context.Context) error {
	for p.last.Load() < p.filled {
		if err := p.publish(ctx, min(batch, p.filled-p.last.Load())); err != nil {
			return err
		}
	}
	return nil
}

// goOn publishes about so many events a second until ctx is done.
func (p *publisher) goOn(ctx context.Context, perSecond uint64) error {
	const perTick = 50 * time.Millisecond
	tick := time.NewTicker(perTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		// A request that is under way at the end is answered: its events count.
		if err := p.publish(context.WithoutCancel(ctx), perSecond*uint64(perTick)/uint64(time.Second)); err != nil {
			return err
		}
	}
}

func (p *publisher) publish(ctx context.Context, n uint64) error {
	var body strings.Builder
	from := p.last.Load() + 1
	for seq := from; seq < from+n; seq++ {
		fmt.Fprintf(&body, `{"topic":"%s","data":"%s"}`+"\n", p.topic(seq), data(seq))
	}
	ids, err := p.client.PublishMany(ctx, body.String())
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	for i, id := range ids {
		if id.Seq() != from+uint64(i) {
			return fmt.Errorf("event %d of the log was answered with %v", from+uint64(i), id)
		}
	}
	if from == 1 {
		p.epoch = ids[0].Epoch()
	}
	p.last.Store(from + n - 1)
	return nil
}

// data is the payload of the event of the sequence.
func data(seq uint64) string { return strconv.FormatUint(seq, 10) + " " + payload }
