package eventlog_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func jetStream(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}

// A stream that had other subjects before Freshet used it may still hold their messages.
func TestAStreamThatHeldOtherSubjects(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	js := jetStream(t, url)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "freshet", Subjects: []string{"x", "eventually"}, AllowAtomicPublish: true})
	must(t, err)
	for _, subject := range []string{"x", "eventually"} {
		_, err = js.Publish(t.Context(), subject, []byte("old"))
		must(t, err)
	}
	if _, err := eventlog.Open(t.Context(), eventlog.Config{NATS: url}); !errors.Is(err, eventlog.ErrSettings) || !strings.Contains(err.Error(), "the list of subjects is x eventually there and event.> here") {
		t.Errorf("without UpdateStream: %v", err)
	}
	l := open(t, eventlog.Config{NATS: url, UpdateStream: true})
	id := appendOne(t, l, "news", "new", "")
	var got []string
	err = l.Tail(t.Context(), 0, func() {}, func(e event.Event) error {
		got = append(got, fmt.Sprintf("%v %v", e.ID().Seq(), e.Topic()))
		if e.ID() == id {
			return io.EOF
		}
		return nil
	})
	if diff := cmp.Diff([]string{"1 ", "2 ", "3 news"}, got); diff != "" || !errors.Is(err, io.EOF) {
		t.Errorf("the tail ended with %v, it had:\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{id.String() + " news news new"}, read(t, l, 0, ">")); diff != "" {
		t.Error(diff)
	}
}

// If an operator moves Freshet's subjects to another stream, no events go there: nothing would read them.
func TestAnotherStreamHasTakenTheSubjects(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	l := open(t, eventlog.Config{NATS: url})
	js := jetStream(t, url)
	// Create the other stream before deleting ours: JetStream removes the folder of an account's last stream, even if another is being created.
	config := jetstream.StreamConfig{Name: "other", Subjects: []string{"other"}, AllowAtomicPublish: true}
	_, err := js.CreateStream(t.Context(), config)
	must(t, err)
	must(t, js.DeleteStream(t.Context(), "freshet"))
	config.Subjects = []string{"event.>"}
	other, err := js.UpdateStream(t.Context(), config)
	must(t, err)
	entry := eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", "x")}
	for n, entries := range [][]eventlog.Entry{{entry}, {entry, entry}} {
		for _, r := range l.AppendAll(t.Context(), entries) {
			if !errors.Is(r.Err, eventlog.ErrUnavailable) {
				t.Errorf("of %d: %+v", n+1, r)
			}
		}
	}
	info, err := other.Info(t.Context())
	if err != nil || info.State.Msgs != 0 {
		t.Errorf("the other stream holds %d events, %v", info.State.Msgs, err)
	}
}

// A batch with an invalid answer may be stored, so it is not sent again.
func TestABatchIsNotSentTwice(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string][2]string{"another count": {`"count":2`, `"count":0`}, "no JSON": {`{"stream"`, `?"stream"`}} {
		t.Run(name, func(t *testing.T) {
			url := externalNATS(t)
			l := open(t, eventlog.Config{NATS: garbled(t, url, replace[0], replace[1])})
			entries := []eventlog.Entry{{Event: eventlogtest.NewEvent(t, "a", "a", "1")}, {Event: eventlogtest.NewEvent(t, "a", "a", "2")}}
			for _, r := range l.AppendAll(t.Context(), entries) {
				if !errors.Is(r.Err, eventlog.ErrUnavailable) {
					t.Errorf("receipt %+v", r)
				}
			}
			if got := read(t, open(t, eventlog.Config{NATS: url}), 0, ">"); len(got) != 2 {
				t.Errorf("stored %q", got)
			}
		})
	}
}

// garbled returns the URL of a proxy to NATS that changes the answer to a batch.
func garbled(t *testing.T, to, text, by string) string {
	t.Helper()
	return proxyNATS(t, to, func(client io.Writer, nats io.Reader) {
		for lines := bufio.NewReader(nats); ; {
			line, err := lines.ReadString('\n')
			if strings.Contains(line, `"batch":`) {
				line = strings.Replace(line, text, by, 1)
			}
			if _, errWrite := io.WriteString(client, line); err != nil || errWrite != nil {
				return
			}
		}
	})
}

// A NATS client that publishes only invalid events, fast, fills neither the log's lines nor the way of valid events.
func TestManyInvalidEvents(t *testing.T) {
	t.Parallel()
	const many = 10_000
	url := externalNATS(t)
	var logged lockedBuffer
	l := open(t, eventlog.Config{NATS: url, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	invalid := []*nats.Msg{
		{Subject: "event.news", Data: []byte("\xff")},
		{Subject: "event.news", Data: []byte("x"), Header: nats.Header{"Event-Type": {"gap"}}},
		{Subject: "event.news", Data: []byte("x"), Header: nats.Header{"Event-Type": {"two\u2028lines"}}},
		{Subject: "event.counter", Data: []byte("x")},
		{Subject: "event.a/b", Data: []byte("x")},
		{Subject: "event." + strings.Repeat("a.", 120) + "a", Data: []byte("x")},
	}
	for i := range many {
		must(t, nc.PublishMsg(invalid[i%len(invalid)]))
		if i%1000 == 0 {
			must(t, nc.Publish("event.news", []byte("valid")))
		}
	}
	_, err = nc.Request("event.news", []byte("last"), 30*time.Second)
	must(t, err)
	var valid []string
	err = l.Tail(t.Context(), 0, func() {}, func(e event.Event) error {
		if e.Topic().String() != "" {
			valid = append(valid, e.Data())
		}
		if e.Data() == "last" {
			return io.EOF
		}
		return nil
	})
	if !errors.Is(err, io.EOF) || len(valid) != many/1000+1 || l.Stats().Skipped != many {
		t.Errorf("the tail ended with %v after %q; %d were skipped", err, valid, l.Stats().Skipped)
	}
	if log := logged.drain(); strings.Count(log, "\n") > 3 || !strings.Contains(log, `msg="NATS clients published invalid events; readers skip them" count=1`) {
		t.Errorf("the log:\n%.2000s", log)
	}
}

// Whatever a NATS client publishes, the tail continues, returns a valid event or one without a topic, counts it, and logs printable lines.
func FuzzNATS(f *testing.F) {
	f.Add("news", "note", []byte("hello"))
	f.Add("a.b", "message", []byte("\xff"))
	f.Add("größe.\u202e", "a\u009b31m", []byte{})
	f.Add("a/b", "\x1b[31m", []byte("\r\n\r\n"))
	f.Add("counter", "gap", []byte("\x00"))
	f.Add("/b", "x", []byte("x"))
	f.Add("/end.b", "x", []byte("x"))
	f.Add(strings.Repeat("a.", 150)+"a", strings.Repeat("ü", 200), []byte("x"))
	var logged lockedBuffer
	server, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: f.TempDir(), NoSigs: true, NoLog: true})
	fatal(f, err)
	server.Start()
	f.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	if !server.ReadyForConnections(10 * time.Second) {
		f.Fatal("nats-server does not start")
	}
	l, err := eventlog.Open(f.Context(), eventlog.Config{NATS: server.ClientURL(), RetainBytes: 1 << 20, Logger: slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	fatal(f, err)
	f.Cleanup(func() { fatal(f, l.Close()) })
	nc, err := nats.Connect(server.ClientURL())
	fatal(f, err)
	f.Cleanup(nc.Close)
	ctx, events := f.Context(), make(chan event.Event)
	done := make(chan error, 1)
	go func() {
		defer close(done)
		done <- l.Tail(ctx, 0, func() {}, func(e event.Event) error { events <- e; return nil })
	}()
	f.Cleanup(func() {
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			f.Error(err)
		}
	})
	var skipped uint64
	f.Fuzz(func(t *testing.T, subject, typ string, data []byte) {
		m := nats.NewMsg("event." + subject)
		m.Header.Set("Event-Type", typ)
		m.Data = data
		answer, err := nc.RequestMsg(m, 5*time.Second)
		if err != nil || bytes.Contains(answer.Data, []byte(`"error"`)) {
			return // refused by NATS itself
		}
		var e event.Event
		select {
		case e = <-events:
		case err := <-done:
			t.Fatalf("the tail ended: %v", err)
		}
		logged := logged.drain()
		valid := e.Topic().String() == subject || strings.HasPrefix(subject, "/end.") // the end of a topic
		if strings.Contains(logged, "an invalid event is skipped") == valid || (l.Stats().Skipped > skipped) == valid {
			t.Errorf("subject %q is topic %q, logged %q, %d were skipped", subject, e.Topic(), logged, l.Stats().Skipped-skipped)
		}
		skipped = l.Stats().Skipped
		for line := range strings.Lines(logged) {
			line, ended := strings.CutSuffix(line, "\n")
			if !ended || len(line) > 1000 || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("logged %q", line)
			}
		}
		if e.Topic().String() == "" {
			return
		}
		want := event.TypeOf(e.Topic())
		if typ != "" {
			if want, err = event.ParseType(typ); err != nil {
				want = e.Type() // NATS trims spaces, and turns a line end into one
			}
		}
		if _, err := event.New(e.Topic(), e.Type(), e.Data()); err != nil || e.Type() != want || e.Data() != string(data) {
			t.Errorf("%q of type %q is the event %q of type %q: %v", data, typ, e.Data(), e.Type(), err)
		}
	})
}

// lockedBuffer is safe for concurrent use.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// drain empties the buffer and returns its content.
func (b *lockedBuffer) drain() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

func fatal(f *testing.F, err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}
