package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
)

// clusterTickets holds one ticket that lives, and those that were revoked.
type clusterTickets struct {
	live, dying clusterTicket
	dead        []clusterTicket
}

type clusterTicket struct {
	Ticket string `json:"ticket"`
	ID     string `json:"id"`
}

// create makes a ticket that will live, and one that will be revoked.
func (c *clusterTickets) create(ctx context.Context, t *testing.T, l *clusterLoad) {
	t.Helper()
	for _, ticket := range []*clusterTicket{&c.live, &c.dying} {
		*ticket = clusterTicket{}
		must(t, apptest.Until(ctx, func() bool {
			body := []byte(`{"topics": ["news"], "origin": "https://app.example"}`)
			return ask(ctx, l.anyNode(), http.MethodPost, "/ticket", body, ticket) == nil
		}))
	}
}

// revoke revokes a ticket at whichever node can.
func (c *clusterTickets) revoke(ctx context.Context, t *testing.T, l *clusterLoad) {
	t.Helper()
	must(t, apptest.Until(ctx, func() bool { return ask(ctx, l.anyNode(), http.MethodDelete, "/ticket/"+c.dying.ID, nil, nil) == nil }))
	c.dead = append(c.dead, c.dying)
}

// check waits until every node refuses the tickets that were revoked. The other one must be valid.
func (c *clusterTickets) check(ctx context.Context, t *testing.T, l *clusterLoad) {
	t.Helper()
	for i, node := range l.nodes {
		if err := c.live.use(ctx, node); err != nil {
			t.Errorf("node %d refuses a ticket: %v", i, err)
		}
		for _, dead := range c.dead {
			var refusal *client.Error
			if err := apptest.Until(ctx, func() bool { return errors.As(dead.use(ctx, node), &refusal) }); err != nil || refusal.Status != http.StatusUnauthorized {
				t.Errorf("a revoked ticket at node %d: %v, %v", i, refusal, err)
			}
		}
	}
}

// use opens a stream with the ticket, as a program does.
func (c clusterTicket) use(ctx context.Context, node *apptest.Process) error {
	ticket := func(context.Context) (string, error) { return c.Ticket, nil }
	r, err := node.Open(ctx, client.Subscription{Topics: []string{"news"}, Ticket: ticket, Header: http.Header{"Origin": {"https://app.example"}}})
	if err == nil {
		r.Close()
	}
	return err
}

// ask sends a request with the publish token, and decodes the answer.
func ask(ctx context.Context, node *apptest.Process, method, path string, body []byte, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, node.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+node.Token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode >= 300:
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	case answer == nil:
		return nil
	}
	return json.NewDecoder(response.Body).Decode(answer)
}
