package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"freshet/client"
)

const (
	groups         = 20 // of topics
	topicsPerGroup = 100
)

// topicOf returns the name of a publisher's topic. No two publishers publish to the same topic.
func topicOf(publisher string, n int) string {
	return fmt.Sprintf("%s.%d.%d", publisher, n%groups, n/groups%topicsPerGroup)
}

// publisher numbers the events of each of its topics.
type publisher struct {
	name    string
	load    *load
	numbers map[string]uint64
}

var filler = strings.Repeat("x", 1500)

// publishSingly publishes one event after the other, each with a key. It repeats some, like a
// publisher that got no answer.
func (p *publisher) publishSingly(ctx context.Context) error {
	for n := 0; ; n++ {
		if !pause(ctx, 5*time.Millisecond) {
			return nil
		}
		m := p.next()
		m.Key = fmt.Sprintf("%s/%d", p.name, n)
		id, err := p.load.publishing.Publish(context.WithoutCancel(ctx), m)
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		p.load.acknowledge(id, 1)
		if n%10 != 0 {
			continue
		}
		again, err := p.load.publishing.Publish(context.WithoutCancel(ctx), m)
		if err != nil {
			return fmt.Errorf("repeat %v: %w", id, err)
		}
		if again != id {
			return fmt.Errorf("the repeated publish of %v was answered with %v", id, again)
		}
		p.load.repeats.Add(1)
	}
}

// publishBulk publishes many events in a request.
func (p *publisher) publishBulk(ctx context.Context) error {
	for pause(ctx, 250*time.Millisecond) {
		messages := make([]client.Message, 400)
		for i := range messages {
			messages[i] = p.next()
		}
		ids, err := p.load.server.PublishBulk(context.WithoutCancel(ctx), messages)
		if err != nil {
			return err
		}
		p.load.acknowledge(ids[len(ids)-1], len(ids))
	}
	return nil
}

// next returns the next message for a random topic.
func (p *publisher) next() client.Message {
	topic := topicOf(p.name, rand.IntN(groups*topicsPerGroup)) //nolint:gosec // not a secret
	p.numbers[topic]++
	size := 100 + rand.IntN(len(filler)-100) //nolint:gosec // not a secret
	return client.Message{Topic: topic, Data: fmt.Sprintf("%d %s", p.numbers[topic], filler[:size])}
}

// publishInvalid sends requests that the server must refuse.
func (l *load) publishInvalid(ctx context.Context) error {
	for pause(ctx, 100*time.Millisecond) {
		for _, c := range []struct {
			token, topic, data string
			status             int
		}{
			{"not-the-token-at-all", "s.1.1", "x", http.StatusUnauthorized},
			{l.server.Token, "counter", "x", http.StatusBadRequest},
			{l.server.Token, "s.1.1", "\xff", http.StatusBadRequest},
			{l.server.Token, "s.1.1", strings.Repeat("x", 2<<20), http.StatusRequestEntityTooLarge},
		} {
			status, err := l.send(ctx, http.MethodPost, "/event/"+c.topic, c.token, c.data, io.Discard)
			switch {
			case ctx.Err() != nil:
				return nil
			case c.status == http.StatusRequestEntityTooLarge && err != nil:
				// The server need not read the whole body, so writing it may fail.
			case err != nil:
				return err
			case status != c.status:
				return fmt.Errorf("a request was answered with %d, want %d", status, c.status)
			}
			l.refusals.Add(1)
		}
	}
	return nil
}

// send sends a request, copies the answer's body, and returns its status.
func (l *load) send(ctx context.Context, method, path, token, body string, to io.Writer) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, l.server.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := l.http.Do(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(to, response.Body)
	return response.StatusCode, errors.Join(err, response.Body.Close())
}
