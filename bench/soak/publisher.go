package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"freshet/bench/drive"
)

const (
	groups = 20  // of topics
	each   = 100 // topics of a group
)

// topicOf names a topic of a publisher's: no two publish to the same one.
func topicOf(publisher string, n int) string {
	return fmt.Sprintf("%s.%d.%d", publisher, n%groups, n/groups%each)
}

// publisher numbers the events of each of its topics.
type publisher struct {
	name   string
	load   *load
	counts map[string]uint64
}

var filler = strings.Repeat("x", 1500)

// singles publishes one event after the other, each with a key. Now and then it repeats
// one, as a publisher does that got no answer.
func (p *publisher) singles(ctx context.Context) error {
	for n := 0; ; n++ {
		if !pause(ctx, 5*time.Millisecond) {
			return nil
		}
		topic := topicOf(p.name, rand.IntN(groups*each)) //nolint:gosec // no secret
		number := p.number(topic)
		data, key := data(number), fmt.Sprintf("%s/%d", p.name, n)
		id, err := p.load.client.Publish(context.WithoutCancel(ctx), topic, data, key)
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		p.load.acknowledge(id, 1)
		if n%10 != 0 {
			continue
		}
		again, err := p.load.client.Publish(context.WithoutCancel(ctx), topic, data, key)
		if err != nil || again != id {
			return fmt.Errorf("%v was repeated and answered with %v, %w", id, again, err)
		}
		p.load.repeats.Add(1)
	}
}

// bulk publishes many events a request.
func (p *publisher) bulk(ctx context.Context) error {
	for pause(ctx, 250*time.Millisecond) {
		var body strings.Builder
		const batch = 400
		for range batch {
			topic := topicOf(p.name, rand.IntN(groups*each)) //nolint:gosec // no secret
			fmt.Fprintf(&body, `{"topic":%q,"data":%q}`+"\n", topic, data(p.number(topic)))
		}
		ids, err := p.load.client.PublishMany(context.WithoutCancel(ctx), body.String())
		if err != nil {
			return fmt.Errorf("publish many: %w", err)
		}
		p.load.acknowledge(ids[len(ids)-1], len(ids))
	}
	return nil
}

// number is that of the topic's next event.
func (p *publisher) number(topic string) uint64 {
	p.counts[topic]++
	return p.counts[topic]
}

func data(number uint64) string {
	return fmt.Sprintf("%d %s", number, filler[:100+rand.IntN(len(filler)-100)]) //nolint:gosec // no secret
}

// refused sends what the server must refuse.
func (l *load) refused(ctx context.Context) error {
	stranger := drive.NewClient(l.client.URL, "not-the-token-at-all")
	defer stranger.CloseIdle()
	for pause(ctx, 100*time.Millisecond) {
		for _, c := range []struct {
			client *drive.Client
			topic  string
			data   string
			status int
		}{
			{stranger, "s.1.1", "x", http.StatusUnauthorized},
			{l.client, "counter", "x", http.StatusBadRequest},
			{l.client, "s.1.1", "\xff", http.StatusBadRequest},
			{l.client, "s.1.1", strings.Repeat("x", 2<<20), http.StatusRequestEntityTooLarge},
		} {
			_, err := c.client.Publish(ctx, c.topic, c.data, "")
			var refusal *drive.Refusal
			switch {
			case ctx.Err() != nil:
				return nil
			case c.status == http.StatusRequestEntityTooLarge && err != nil && !errors.As(err, &refusal):
				// The server need not read it all: the connection may break under the writer.
			case !errors.As(err, &refusal) || refusal.Status != c.status:
				return fmt.Errorf("%d was due, and the answer is %w", c.status, err)
			}
			l.refusals.Add(1)
		}
	}
	return nil
}

// pause waits, and is false once ctx is done.
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
