package eventlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/nats-io/nats.go"
)

func tickets(t *testing.T, l *eventlog.Log) *eventlog.Tickets {
	t.Helper()
	s, err := l.Tickets(t.Context())
	must(t, err)
	return s
}

func TestTheRulesOfTickets(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		l := open(t, eventlog.Config{Dir: t.TempDir()})
		eventlogtest.TestTickets(t, tickets(t, l), tickets(t, l))
	})
	t.Run("two nodes of a cluster", func(t *testing.T) {
		url := clusterNATS(t)
		a, b := open(t, eventlog.Config{NATS: url, Replicas: 3}), open(t, eventlog.Config{NATS: url, Replicas: 3})
		eventlogtest.TestTickets(t, tickets(t, a), tickets(t, b))
	})
	t.Run("in memory", func(t *testing.T) {
		s := eventlogtest.NewTickets()
		eventlogtest.TestTickets(t, s, s)
	})
}

// Beside the tickets the log is as it was.
func TestTicketsOutliveTheirProcess(t *testing.T) {
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	id := appendOne(t, l, "a", "x", "")
	s := tickets(t, l)
	revision, err := s.Put(t.Context(), "ticket.a", []byte("1"), 0, time.Hour)
	must(t, err)
	must(t, l.Close())

	l = open(t, eventlog.Config{Dir: dir})
	if l.Epoch() != id.Epoch() || len(read(t, l, 0, ">")) != 1 {
		t.Error("the log is another one")
	}
	if value, got, err := tickets(t, l).Get(t.Context(), "ticket.a"); string(value) != "1" || got != revision || err != nil {
		t.Errorf("%q at %d, %v", value, got, err)
	}
}

func TestTicketsRunOut(t *testing.T) {
	s := tickets(t, open(t, eventlog.Config{Dir: t.TempDir()}))
	_, err := s.Put(t.Context(), "ticket.a", []byte("1"), 0, time.Second)
	must(t, err)
	_, err = s.Put(t.Context(), "ticket.b", []byte("1"), 0, time.Hour)
	must(t, err)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); ; {
		_, n, err := s.Last(t.Context())
		must(t, err)
		if n == 1 {
			break
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("what has run out is still there")
		}
	}
	if _, revision, err := s.Get(t.Context(), "ticket.b"); revision == 0 || err != nil {
		t.Errorf("what has not run out is gone: %v", err)
	}
}

// A watch rides out a restart of its NATS: what was written meanwhile by others is told.
func TestAWatchOverARestartOfTheNATS(t *testing.T) {
	dir := t.TempDir()
	port := quietPort(t)
	nats1 := startNATS(t, dir, port)
	s := tickets(t, open(t, eventlog.Config{NATS: nats1.ClientURL()}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told, done := make(chan string, 10), make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, 0, func(key string, value []byte, _ uint64) { told <- key + "=" + string(value) })
	}()
	_, err := s.Put(ctx, "ticket.a", []byte("1"), 0, time.Hour)
	must(t, err)
	if got := first(t, told, done); got != "ticket.a=1" {
		t.Errorf("told %q", got)
	}
	nats1.Shutdown()
	nats1.WaitForShutdown()
	if _, _, err := s.Get(ctx, "ticket.a"); !errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("without NATS: %v", err)
	}
	nats2 := startNATS(t, dir, port)
	nc, err := nats.Connect(nats2.ClientURL())
	must(t, err)
	defer nc.Close()
	_, err = nc.Request("$KV.freshet-tickets.ticket.b", []byte("2"), 10*time.Second)
	must(t, err)
	if got := first(t, told, done); got != "ticket.b=2" {
		t.Errorf("told %q", got)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestTicketsAreAKeyValueBucket(t *testing.T) {
	url := externalNATS(t)
	s := tickets(t, open(t, eventlog.Config{NATS: url}))
	_, err := s.Put(t.Context(), "ticket.a", []byte("1"), 0, time.Hour)
	must(t, err)
	// To the tools of NATS it is a key-value bucket as any.
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	js, err := nc.JetStream()
	must(t, err)
	kv, err := js.KeyValue("freshet-tickets")
	must(t, err)
	entry, err := kv.Get("ticket.a")
	if err != nil || string(entry.Value()) != "1" {
		t.Errorf("%v, %v", entry, err)
	}
}
