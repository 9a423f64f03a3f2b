package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
)

// While NATS is away, streams stay open with their heartbeats, and new ones open. A reader that reconnects, or asks for
// the newest events, gets what the window has. Publishers and
// /readyz get 503 with the reason. When NATS is back, all streams continue.
func TestReadersWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	server := natsWithPassword(t, "secret")
	p := start(ctx, t, t.TempDir(), "--nats", "nats://freshet:secret@"+server.address, "--heartbeat", "50ms")
	first := publish(ctx, t, p, "news", "1")
	second := publish(ctx, t, p, "news", "2")
	readers := map[string]*client.Reader{}
	open := func(name, lastEventID, since string) {
		r, err := p.Open(ctx, client.Subscription{Topics: []string{"news"}, LastEventID: lastEventID, Since: since, Header: asBrowser()})
		must(t, err)
		t.Cleanup(r.Close)
		readers[name] = r
	}
	want := func(name string, data ...string) {
		t.Helper()
		for _, text := range data {
			if f := dispatched(t, readers[name]); f.Data != text {
				t.Errorf("%s: %+v, want %s", name, f, text)
			}
		}
	}
	open("before", second.String(), "")
	publish(ctx, t, p, "news", "3")
	want("before", "3")

	server.stop()
	refused := func(err error, code string) bool {
		var refusal *client.Error
		return errors.As(err, &refusal) && refusal.Status == 503 && refusal.Code == code
	}
	must(t, apptest.Until(ctx, func() bool {
		_, err := p.Get(ctx, "/readyz")
		return refused(err, "not_ready") && strings.Contains(err.Error(), "NATS is away")
	}))
	_, err := p.Publish(ctx, client.Message{Topic: "news", Data: "away"})
	if refusal, ok := errors.AsType[*client.Error](err); !refused(err, "log_unavailable") || !ok || refusal.RetryAfter == 0 {
		t.Errorf("a publisher got %v", err)
	}
	open("reconnected", first.String(), "")
	open("new", "", "")
	open("newest", "", "-2")
	want("reconnected", "2", "3")
	want("newest", "2", "3")
	for name, r := range readers {
		for beats := 0; beats < 3; beats++ {
			if f, err := r.Next(); err != nil || f.HasData {
				t.Fatalf("%s has no heartbeat: %+v, %v", name, f, err)
			}
		}
	}
	if data, err := p.Get(ctx, "/history"); !refused(err, "log_unavailable") {
		t.Errorf("the history is %s, %v", data, err)
	}

	server.start(t)
	must(t, apptest.Until(ctx, func() bool { _, err := p.Get(ctx, "/readyz"); return err == nil }))
	publish(ctx, t, p, "news", "4")
	for name := range readers {
		want(name, "4")
	}
}

// A node with other settings than the stream does not start, and says in one line what differs. Two nodes on a machine have different names.
func TestNodesOfOneStream(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	server := natsWithPassword(t, "secret")
	url := "nats://freshet:secret@" + server.address
	a, b := start(ctx, t, t.TempDir(), "--nats", url), start(ctx, t, t.TempDir(), "--nats", url)
	named := start(ctx, t, t.TempDir(), "--nats", url, "--node", "eu-1")
	nodes := []string{nodeOf(ctx, t, a), nodeOf(ctx, t, b), nodeOf(ctx, t, named)}
	if nodes[2] != "eu-1" || nodes[0] == nodes[1] {
		t.Errorf("the nodes are %q", nodes)
	}
	other := startWithNATS(ctx, t, "--nats", url, "--retain-age", "7d")
	if err := other.cmd.Wait(); err == nil || strings.Count(other.log.String(), "\n") != 1 ||
		!strings.Contains(other.log.String(), `freshet: the settings differ from the stream "freshet" of NATS: --retain-age is 24h there and 168h here; start`) {
		t.Errorf("ended with %v:\n%s", err, other.log.String())
	}
	changed := start(ctx, t, t.TempDir(), "--nats", url, "--retain-age", "7d", "--update-stream")
	if log := changed.Log(); !strings.Contains(log, `changes="--retain-age from 24h to 168h" deleted_events=0`) {
		t.Errorf("the log:\n%s", tail(log))
	}
	publish(ctx, t, changed, "news", "x")
	r, err := a.Open(ctx, client.Subscription{Since: "all"})
	must(t, err)
	defer r.Close()
	if f := dispatched(t, r); f.Data != "x" {
		t.Errorf("the node that was there before reads %+v", f)
	}
}

// nodeOf returns the name of the node that the server's stats have.
func nodeOf(ctx context.Context, t *testing.T, p *apptest.Process) string {
	t.Helper()
	r, err := p.Open(ctx, client.Subscription{Topics: []string{"stats"}})
	must(t, err)
	defer r.Close()
	var stats struct{ Node string }
	must(t, json.Unmarshal([]byte(dispatched(t, r).Data), &stats))
	return stats.Node
}
