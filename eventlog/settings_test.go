package eventlog_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"freshet/eventlog"

	"github.com/nats-io/nats.go/jetstream"
)

// A node with other settings than the stream's does not start, and changes nothing, unless it is told to change the stream.
func TestAStreamWithOtherSettings(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	first := open(t, eventlog.Config{NATS: url, RetainAge: 90 * time.Minute, RetainBytes: -1})
	open(t, eventlog.Config{NATS: url, RetainAge: 90 * time.Minute, RetainBytes: -1})
	for i := range 10 {
		appendOne(t, first, "news", fmt.Sprint(i), "")
	}
	other := eventlog.Config{NATS: url, RetainBytes: 64 << 20, RetainPerTopic: 2}
	_, err := eventlog.Open(t.Context(), other)
	const want = `the settings differ from the stream "freshet" of NATS: --retain-age is 1h30m there and 24h here, --retain-bytes is 0 there and 64MiB here, ` +
		`--retain-per-topic is 0 there and 2 here; start with the values of the stream, or start one node with --update-stream, which changes the stream for all nodes`
	if !errors.Is(err, eventlog.ErrSettings) || errors.Is(err, eventlog.ErrUnavailable) || err.Error() != want {
		t.Errorf("without UpdateStream: %v", err)
	}
	if got := read(t, first, 0, ">"); len(got) != 10 {
		t.Errorf("the refused node has left %q", got)
	}
	var logged lockedBuffer
	other.UpdateStream, other.Logger = true, slog.New(slog.NewTextHandler(&logged, nil))
	for range 2 { // the second changes nothing
		open(t, other)
	}
	const line = `changes="--retain-age from 1h30m to 24h, --retain-bytes from 0 to 64MiB, --retain-per-topic from 0 to 2" deleted_events=8`
	if log := logged.drain(); strings.Count(log, "WARN") != 1 || !strings.Contains(log, line) {
		t.Errorf("logged %s", log)
	}
	if got := read(t, first, 0, ">"); len(got) != 2 {
		t.Errorf("the node that was there before reads %q", got)
	}
}

// Of nodes that start together with different settings, one creates the stream. The others do not change it.
func TestNodesThatStartTogetherWithOtherSettings(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	errs := make(chan error, 4)
	for i := range cap(errs) {
		go func() {
			l, err := eventlog.Open(t.Context(), eventlog.Config{NATS: url, RetainAge: time.Duration(i+1) * time.Hour})
			if err == nil {
				err = l.Close()
			}
			errs <- err
		}()
	}
	opened := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			opened++
		} else if !errors.Is(err, eventlog.ErrSettings) {
			t.Error(err)
		}
	}
	if opened != 1 {
		t.Errorf("%d nodes have started", opened)
	}
}

// Settings without a flag that a log needs: some can be changed, others not.
func TestAStreamThatIsNoLog(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set   func(*jetstream.StreamConfig)
		says  string
		fixed bool
	}{
		"storage":    {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "the storage is memory, and must be file; delete the stream", true},
		"work queue": {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "the retention policy is workqueue, and must be limits", true},
		"interest":   {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, "the retention policy is interest there and limits here", false},
		"discard":    {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }, "the discard policy is new there and old here", false},
		"duplicates": {func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }, "the duplicate window is 1m0s there and 2m0s here", false},
		"batches":    {func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }, "atomic publishing is off there and on here", false},
		"no answers": {func(c *jetstream.StreamConfig) { c.NoAck = true }, "acknowledging is off there and on here", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := externalNATS(t)
			config := jetstream.StreamConfig{
				Name: "freshet", Subjects: []string{"event.>"}, MaxAge: 24 * time.Hour, MaxBytes: 1 << 30, AllowAtomicPublish: true,
				Description: "kept", Compression: jetstream.S2Compression,
			}
			test.set(&config)
			stream, err := jetStream(t, url).CreateStream(t.Context(), config)
			must(t, err)
			for _, update := range []bool{false, true} {
				l, err := eventlog.Open(t.Context(), eventlog.Config{NATS: url, UpdateStream: update})
				if err == nil {
					t.Cleanup(func() { must(t, l.Close()) })
				}
				if want := !update || test.fixed; want != errors.Is(err, eventlog.ErrSettings) || want && !strings.Contains(err.Error(), test.says) || !want && err != nil {
					t.Errorf("UpdateStream %v: %v", update, err)
				}
				if err == nil {
					appendOne(t, l, "a", "x", "")
				}
			}
			info, err := stream.Info(t.Context())
			if must(t, err); info.Config.Description != "kept" || info.Config.Compression != config.Compression {
				t.Errorf("the operator's settings are now %+v", info.Config)
			}
		})
	}
}

// The embedded log has one server, whose settings apply without being asked twice.
func TestSettingsOfTheEmbeddedLogApply(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir, SyncInterval: time.Minute})
	for i := range 10 {
		appendOne(t, l, "news", fmt.Sprint(i), "")
	}
	must(t, l.Close())
	var logged lockedBuffer
	l = open(t, eventlog.Config{Dir: dir, SyncInterval: time.Minute, RetainAge: -1, RetainPerTopic: 4, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if got := read(t, l, 0, ">"); len(got) != 4 {
		t.Errorf("it has %q", got)
	}
	if log := logged.drain(); !strings.Contains(log, `changes="--retain-age from 24h to 0, --retain-per-topic from 0 to 4" deleted_events=6`) {
		t.Errorf("logged %s", log)
	}
}
