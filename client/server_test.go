package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// The same against a server, which is restarted in between.
func TestTheClientWithAServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	c := newClient(t, client.Config{URL: s.URL, Token: s.Token, HTTP: s.HTTP})

	const many = 2500
	messages := make([]client.Message, many)
	for i := range messages {
		messages[i] = client.Message{Topic: fmt.Sprintf("t.%d", i%3), Data: fmt.Sprintf("%d %0512d", i, 0)} // more than a MiB
	}
	results, err := c.PublishAll(ctx, messages)
	if err != nil || len(results) != many {
		t.Fatalf("%d results: %v", len(results), err)
	}
	read := 0
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{"t.*"}, Since: "all"}) {
		if err != nil {
			t.Fatalf("after %d events: %v", read, err)
		}
		if read < many && (results[read].Err != nil || e.ID != results[read].ID.String() || e.Data != messages[read].Data || e.Topic != messages[read].Topic || e.Time.IsZero()) {
			t.Fatalf("event %d is %.60v, published as %+v", read, e, results[read])
		}
		if read++; read == many {
			s.Stop()
			s = apptest.Start(t, dir, s.Addr)
			again, err := c.Publish(ctx, client.Message{Topic: "t.0", Data: "after", Key: "k"})
			if err != nil {
				t.Fatal(err)
			}
			if id, err := c.Publish(ctx, client.Message{Topic: "t.0", Data: "after", Key: "k"}); err != nil || id != again {
				t.Errorf("the repeat is %v, %v, not %v", id, err, again)
			}
		}
		if e.Data == "after" {
			break
		}
	}
	if read != many+1 {
		t.Errorf("%d events, want %d", read, many+1)
	}

	var refused *client.Error
	stranger := newClient(t, client.Config{URL: s.URL, Token: "wrong", HTTP: s.HTTP})
	if _, err := stranger.Publish(ctx, client.Message{Topic: "t.0"}); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || refused.Message == "" {
		t.Errorf("a wrong token: %v", err)
	}
	for _, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{"a..b"}}) {
		if !errors.As(err, &refused) || refused.Code != "invalid_topic" {
			t.Errorf("a bad topic: %v", err)
		}
	}
	r, err := c.Open(ctx, client.Subscription{Header: http.Header{"Accept": {"text/event-stream"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if f, err := r.Next(); err != nil || !f.HasRetry || f.ID == "" || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("the first frame: %+v, %v", f, err)
	}
}
