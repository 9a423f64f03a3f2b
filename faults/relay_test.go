package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// relayed returns the data of all events of the topic, in the order of the log.
func relayed(ctx context.Context, t *testing.T, s *apptest.Process, topic string, want int) (data []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for e, err := range s.Subscribe(ctx, client.Subscription{Topics: []string{topic}, Since: "all"}) {
		if err != nil {
			t.Fatalf("%d of %d events: %v\n%s", len(data), want, err, tail(s.Log()))
		}
		if data = append(data, e.Data); e.Data == fmt.Sprint(want-1) {
			break
		}
	}
	return data
}

// numbers are 0, 1, … as the source's publisher counts them.
func numbers(n int) (numbers []string) {
	for i := range n {
		numbers = append(numbers, fmt.Sprint(i))
	}
	return numbers
}

// A relay appends each event of its source once, in order, however often its process is killed.
func TestARelayKilledAtAnyMoment(t *testing.T) {
	heavy(t)
	ctx := begin(t)
	source := start(ctx, t, t.TempDir())
	dir, address := t.TempDir(), apptest.FreeAddress(t)
	args := []string{"--listen", address, "--relay", "copy=" + source.URL + "/event/news?since=all"}
	s := start(ctx, t, dir, args...)
	count := 0
	add := func(n int) {
		for range n {
			publish(ctx, t, source, "news", fmt.Sprint(count))
			count++
		}
	}
	for range kills {
		add(50 + rand.IntN(100))
		s.Kill()
		add(10)
		s = start(ctx, t, dir, args...)
	}
	add(10)
	if have := relayed(ctx, t, s, "copy", count); !slices.Equal(have, numbers(count)) {
		t.Errorf("the relay has %q of %d events", have, count)
	}
}
