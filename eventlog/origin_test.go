package eventlog_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
)

// A relay finds where it stopped, also in a topic to which others publish, and over a restart.
func TestLastOrigin(t *testing.T) {
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	topic, err := event.ParseTopic("wiki.edits")
	must(t, err)
	check := func(source, want string) {
		t.Helper()
		id, ok, err := l.LastOrigin(t.Context(), topic, source)
		if err != nil || ok != (want != "") || id != want {
			t.Errorf("%s: %q, %t, %v, want %q", source, id, ok, err, want)
		}
	}
	check("a", "")
	if state, err := l.State(t.Context()); err != nil || state.Last != 0 {
		t.Errorf("the search has stored something: %+v, %v", state, err)
	}
	relay := func(source, id string) {
		t.Helper()
		r := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, topic.String(), "edit", "x"), Key: id, Origin: eventlog.Origin{Source: source, ID: id}})
		must(t, r.Err)
	}
	strange := "[{\"topic\":\"ü\",\"offset\":1}] \t %" + strings.Repeat("9", 3000)
	relay("a", strange)
	check("a", strange)
	check("b", "")
	relay("b", "7")
	for i := range 300 {
		appendOne(t, l, topic.String(), strconv.Itoa(i), "")
		appendOne(t, l, "other", strconv.Itoa(i), "")
	}
	check("a", strange)
	check("b", "7")
	must(t, l.Close())
	l = open(t, eventlog.Config{Dir: dir})
	check("a", strange)
	check("c", "")
}

// An append that ends without an answer is stored before the origin is read, or never.
func TestLastOriginSettlesAppends(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	topic, err := event.ParseTopic("wiki")
	must(t, err)
	entries := make([]eventlog.Entry, 1000)
	const rounds = 20
	var whole time.Duration
	for round := range rounds {
		for i := range entries {
			e := eventlogtest.NewEvent(t, "wiki", "edit", "x")
			entries[i] = eventlog.Entry{Event: e, Origin: eventlog.Origin{Source: "a", ID: strconv.Itoa(round*len(entries) + i)}}
		}
		ctx, leave := context.WithCancel(t.Context())
		if round > 0 { // at another moment in each round
			ctx, leave = context.WithTimeout(t.Context(), whole*time.Duration(round)/rounds)
		}
		began := time.Now()
		l.AppendAll(ctx, entries)
		leave()
		if round == 0 {
			whole = time.Since(began)
		}
		id, _, err := l.LastOrigin(t.Context(), topic, "a")
		must(t, err)
		appendOne(t, l, "other", "x", "")
		if later, _, err := l.LastOrigin(t.Context(), topic, "a"); later != id || err != nil {
			t.Fatalf("round %d: after %q was the newest, %q was stored; %v", round, id, later, err)
		}
	}
}

// One holder has a lease at a time. Another gets it when it is released, or when it ends.
func TestALeaseHasOneHolder(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	s := openStore(t, l)
	hold := func(holder string, ttl time.Duration, revision uint64) (uint64, error) {
		return s.Hold(t.Context(), "relay.a", []byte(holder), ttl, revision)
	}
	first, err := hold("first", time.Minute, 0)
	must(t, err)
	if _, err := hold("second", time.Minute, 0); !errors.Is(err, eventlog.ErrHeld) {
		t.Errorf("a second holder: %v", err)
	}
	_, err = hold("first", time.Minute, first) // its answer is lost
	must(t, err)
	renewed, err := hold("first", time.Minute, first)
	must(t, err)
	if _, err := hold("second", time.Minute, first); !errors.Is(err, eventlog.ErrHeld) {
		t.Errorf("a second holder renews: %v", err)
	}
	must(t, s.Release(t.Context(), "relay.a", renewed))
	second, err := hold("second", time.Second, 0)
	must(t, err)
	if second <= renewed {
		t.Errorf("revision %d after %d", second, renewed)
	}
	if apptest.Until(t.Context(), func() bool {
		_, err := hold("third", time.Minute, 0)
		return err == nil
	}) != nil {
		t.Error("the lease does not end")
	}
	if _, err := hold("second", time.Second, second); !errors.Is(err, eventlog.ErrHeld) {
		t.Errorf("the former holder renews: %v", err)
	}
}
