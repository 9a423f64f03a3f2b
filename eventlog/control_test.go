package eventlog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"

	"github.com/nats-io/nats.go"
)

// A NATS client can publish an event with the headers of a JetStream status. Readers are not confused by them.
func TestAnEventThatLooksLikeAnAnswerOfJetStream(t *testing.T) {
	t.Parallel()
	for _, header := range []nats.Header{
		{"Status": {"100"}, "Description": {"Idle Heartbeat"}},
		{"Status": {"400"}, "Description": {"Bad Request"}},
		{"Status": {"404"}, "Description": {"No Messages"}},
		{"Status": {"408"}, "Nats-Pending-Messages": {"nonsense"}},
		{"Status": {"409"}, "Description": {"Consumer Deleted"}},
		{"Status": {"503"}},
	} {
		t.Run(header.Get("Status"), func(t *testing.T) {
			url := externalNATS(t)
			l := open(t, eventlog.Config{NATS: url})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			seen := make(chan string, 10)
			done := make(chan error, 1)
			go func() {
				done <- l.Tail(ctx, 0, func() {}, func(e event.Event) error { seen <- e.Data(); return nil })
			}()
			for _, m := range []*nats.Msg{{Subject: "event.a", Header: header}, {Subject: "event.a", Data: []byte("next")}} {
				publishRaw(t, url, m)
			}
			for got := ""; got != "next"; { // the first may arrive, as an event or as an invalid one
				select {
				case got = <-seen:
				case err := <-done:
					t.Fatalf("the tail ended: %v", err)
				}
			}
			got := read(t, l, 0, ">")
			if n := len(got); n == 0 || !strings.HasSuffix(got[n-1], " a a next") {
				t.Errorf("read %q", got)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("the tail ended with %v", err)
			}
		})
	}
}

func publishRaw(t *testing.T, url string, m *nats.Msg) {
	t.Helper()
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	_, err = nc.RequestMsg(m, 5*time.Second)
	must(t, err)
}

// Topics with more segments than one may publish now are in logs of earlier versions, and other NATS clients can store them.
func TestStoredTopicsOfManySegmentsAreRead(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	l := open(t, eventlog.Config{NATS: url})
	topic := strings.Repeat("a.", 99) + "a"
	publishRaw(t, url, &nats.Msg{Subject: "event." + topic, Data: []byte("deep")})
	for _, pattern := range []string{">", "a.>", "*.a.>"} {
		if got := read(t, l, 0, pattern); len(got) != 1 || !strings.HasSuffix(got[0], " "+topic+" "+topic+" deep") {
			t.Errorf("%s reads %q", pattern, got)
		}
	}
}
