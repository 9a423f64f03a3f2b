package replay

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"freshet/bench/server"
	"freshet/client"
)

// publisher is the only publisher, so it knows the sequence of each event in advance.
type publisher struct {
	topics
	server *server.Process
	epoch  uint64        // of the log, once it has events
	last   atomic.Uint64 // the last acknowledged sequence
}

// filler follows the sequence in an event's data.
var filler = strings.Repeat("x", 100)

// batch is the number of events in a request of fill, which stays below the server's --max-body.
const batch = 5000

// fill publishes the first events of the log.
func (p *publisher) fill(ctx context.Context) error {
	for p.last.Load() < p.filled {
		if err := p.publish(ctx, min(batch, p.filled-p.last.Load())); err != nil {
			return err
		}
	}
	return nil
}

// publishSteadily publishes a number of events a second until ctx is done.
func (p *publisher) publishSteadily(ctx context.Context, perSecond uint64) error {
	const perTick = 50 * time.Millisecond
	tick := time.NewTicker(perTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		// The events of the last request are due too, so it is not canceled.
		if err := p.publish(context.WithoutCancel(ctx), perSecond*uint64(perTick)/uint64(time.Second)); err != nil {
			return err
		}
	}
}

func (p *publisher) publish(ctx context.Context, n uint64) error {
	from := p.last.Load() + 1
	messages := make([]client.Message, 0, n)
	for seq := from; seq < from+n; seq++ {
		messages = append(messages, client.Message{Topic: p.topic(seq), Data: strconv.FormatUint(seq, 10) + " " + filler})
	}
	ids, err := p.server.PublishBulk(ctx, messages)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if want := from + uint64(i); id.Seq() != want {
			return fmt.Errorf("publish: event %d of the log got the ID %v", want, id)
		}
	}
	if from == 1 {
		p.epoch = ids[0].Epoch()
	}
	p.last.Store(from + n - 1)
	return nil
}
