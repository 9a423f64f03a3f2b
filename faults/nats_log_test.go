package faults_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"freshet/app/apptest"
	"freshet/client"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS is away twice while clients publish and open streams. The log says each time once that it is away, and once that it is back.
func TestTheLogSaysOnceThatNATSIsAway(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	server := natsWithPassword(t, "secret")
	p := start(ctx, t, t.TempDir(), "--nats", "nats://freshet:secret@"+server.address)
	for range 2 {
		publish(ctx, t, p, "news", "before")
		server.stop()
		for range 10 {
			must(t, apptest.Until(ctx, func() bool { // the first ones may come before the end is noticed
				_, err := p.Publish(ctx, client.Message{Topic: "news", Data: "away"})
				var refusal *client.Error
				return errors.As(err, &refusal) && refusal.Status == 503
			}))
			if r, err := p.Open(ctx, client.Subscription{Topics: []string{"news"}, Since: "all"}); err == nil {
				r.Close()
			}
		}
		server.start(t)
		must(t, apptest.Until(ctx, func() bool { _, err := p.Get(ctx, "/readyz"); return err == nil }))
	}
	publish(ctx, t, p, "news", "after")
	must(t, p.Signal(syscall.SIGTERM))
	must(t, p.Wait(ctx))
	for text, want := range map[string]int{
		`level=WARN msg="NATS connection lost"`: 2, `level=INFO msg="NATS connection restored"`: 2, "the event may or may not be stored: the log does not answer: NATS is not connected": 1,
	} {
		if n := strings.Count(p.Log(), text); n < want || want == 2 && n > 2 {
			t.Errorf("the log has %q %d times:\n%s", text, n, tail(p.Log()))
		}
	}
	others := strings.NewReplacer("NATS connection lost", "", "waiting for NATS", "", "limit of open files", "")
	for line := range strings.Lines(p.Log()) {
		if !strings.Contains(line, "level=INFO") && line == others.Replace(line) || strings.Contains(line, "nats: ") {
			t.Errorf("the log has %s", line)
		}
	}
}

// NATS is connected, but nothing stores events. The log says that once, and the end of it once.
func TestTheLogSaysOnceThatEventsCannotBeStored(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	server := natsWithPassword(t, "secret")
	p := start(ctx, t, t.TempDir(), "--nats", "nats://freshet:secret@"+server.address)
	nc, err := nats.Connect("nats://freshet:secret@" + server.address)
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	stream, err := js.Stream(ctx, "freshet")
	must(t, err)
	config := stream.CachedInfo().Config
	subjects := config.Subjects
	config.Subjects = []string{"elsewhere"}
	_, err = js.UpdateStream(ctx, config)
	must(t, err)
	for range 2 {
		var refusal *client.Error
		if _, err := p.Publish(ctx, client.Message{Topic: "news", Data: "x"}); !errors.As(err, &refusal) || refusal.Code != "log_unavailable" {
			t.Errorf("publish: %v", err)
		}
	}
	config.Subjects = subjects
	_, err = js.UpdateStream(ctx, config)
	must(t, err)
	publish(ctx, t, p, "news", "again")
	publish(ctx, t, p, "news", "again")
	for _, text := range []string{`level=WARN msg="events cannot be stored now" reason="the log does not answer: its stream is gone or has no leader"`, `level=INFO msg="events can be stored again"`} {
		if n := strings.Count(p.Log(), text); n != 1 {
			t.Errorf("the log has %q %d times:\n%s", text, n, tail(p.Log()))
		}
	}
}
