package hub_test

import (
	"context"
	"errors"
	"testing"

	"freshet/event"
	"freshet/hub"
)

// reader reads all due events of a subscriber, as a stream does.
type reader struct {
	*hub.Subscriber
	t     *testing.T
	ready chan struct{}
}

func newReader(t *testing.T, h *hub.Hub, r hub.Request) *reader {
	t.Helper()
	ready := make(chan struct{}, 1)
	r.Wake = func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	}
	s, err := h.Subscribe(t.Context(), r)
	must(t, err)
	return &reader{s, t, ready}
}

// read waits for due events and returns them.
func (r *reader) read() []*hub.Entry {
	for {
		entries, err := r.Next(nil)
		behind := errors.Is(err, hub.ErrBehind)
		if behind {
			entries, err = r.Replay(r.t.Context())
		}
		if err != nil {
			r.t.Error(err)
			return nil
		}
		if len(entries) > 0 {
			return entries
		}
		if behind {
			continue // Wake comes only after another Next
		}
		select {
		case <-r.ready:
		case <-r.t.Context().Done():
			return nil
		}
	}
}

func (r *reader) readN(n int) (entries []*hub.Entry) {
	for len(entries) < n {
		entries = append(entries, r.read()...)
	}
	return entries
}

// drain reads all events that are due now.
func drain(t *testing.T, s *hub.Subscriber) (data []string) {
	t.Helper()
	for {
		entries, err := s.Next(nil)
		behind := errors.Is(err, hub.ErrBehind)
		if behind {
			entries, err = s.Replay(t.Context())
		}
		must(t, err)
		for _, e := range entries {
			data = append(data, e.Event.Data())
		}
		if len(entries) == 0 && !behind {
			return data
		}
	}
}

func start(t testing.TB, log hub.Log, cfg hub.Config) *hub.Hub {
	t.Helper()
	h, err := hub.New(t.Context(), log, cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	<-h.CaughtUp()
	return h
}

func topic(t testing.TB, name string) event.Topic {
	t.Helper()
	topic, err := event.ParseTopic(name)
	must(t, err)
	return topic
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
