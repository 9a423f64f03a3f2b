package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

func TestATopicEndsAndIsPurged(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := apptest.Start(t, t.TempDir(), "")
	c := newClient(t, client.Config{URL: s.URL, Token: s.Token, HTTP: s.HTTP})
	read := func() (got []string) {
		for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{"job"}, Since: "all"}) {
			if err != nil {
				t.Fatal(err)
			}
			text := e.Topic + " " + e.Type + " " + e.Data
			if e.Gap != nil {
				text = "gap of " + e.Gap.Topic
			}
			got = append(got, text)
		}
		return got // the topic has ended
	}
	for _, m := range []client.Message{{Topic: "job", Data: "half"}, {Topic: "job", Type: "note", Data: "nearly"}} {
		if _, err := c.Publish(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	last := client.Message{Topic: "job", Type: "result", Data: "done", Key: "k"}
	id, err := c.End(ctx, last)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.End(ctx, last); err != nil || again != id {
		t.Errorf("the repeat got %v, %v; want %v", again, err, id)
	}
	if got, want := read(), []string{"job job half", "job note nearly", "job result done", `job end {"topic":"job"}`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := c.Publish(ctx, client.Message{Topic: "job", Data: "late"}); !isCode(err, "ended") {
		t.Errorf("publishing after the end: %v", err)
	}
	if n, err := c.Purge(ctx, "job"); err != nil || n != 4 {
		t.Errorf("%d purged, %v", n, err)
	}
	if _, err := c.End(ctx, client.Message{Topic: "job"}); err != nil {
		t.Fatal(err)
	}
	if got, want := read(), []string{"gap of job", `job end {"topic":"job"}`}; !slices.Equal(got, want) {
		t.Errorf("after the purge got %q, want %q", got, want)
	}
	if _, err := c.Purge(ctx, "a..b"); !isCode(err, "invalid_topic") {
		t.Errorf("a purge of no topic: %v", err)
	}
}

func isCode(err error, code string) bool {
	refused, ok := errors.AsType[*client.Error](err)
	return ok && refused.Code == code
}
