package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/nats-io/nats.go"
)

// traceKey is where the tests have the trace of an append.
type traceKey struct{}

func traceOf(ctx context.Context) event.Trace {
	trace, _ := ctx.Value(traceKey{}).(event.Trace)
	return trace
}

// parent is the traceparent of the nth sampled trace.
func parent(n int) string { return fmt.Sprintf("00-%032x-00000000000000aa-01", n) }

// The tail has the trace of each append, however it was committed, and of messages that NATS clients have published. A log that was opened
// without traces has none.
func TestTracesPassTheLog(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	for _, embedded := range []bool{true, false} {
		cfg := eventlog.Config{Dir: t.TempDir(), TraceOf: traceOf}
		if !embedded {
			cfg.NATS = url
		}
		l := open(t, cfg)
		traced := func(n int) context.Context {
			return context.WithValue(t.Context(), traceKey{}, event.ParseTrace(parent(n), "vendor=x"))
		}
		entry := func(data string) eventlog.Entry {
			return eventlog.Entry{Event: eventlogtest.NewEvent(t, "news", "news", data)}
		}
		want := map[string]string{"none": ""}
		must(t, l.Append(t.Context(), entry("none")).Err)
		var appends sync.WaitGroup
		for n := range 200 { // many at once become groups
			data := fmt.Sprint("single ", n)
			want[data] = parent(n+1) + " vendor=x"
			appends.Go(func() {
				if r := l.Append(traced(n+1), entry(data)); r.Err != nil {
					t.Error(r.Err)
				}
			})
		}
		appends.Wait()
		batch := []eventlog.Entry{entry("bulk 1"), entry("bulk 2")}
		for _, r := range l.AppendAll(traced(1000), batch) {
			must(t, r.Err)
		}
		want["bulk 1"], want["bulk 2"] = parent(1000)+" vendor=x", parent(1000)+" vendor=x"
		if !batch[0].Event.Trace().IsZero() {
			t.Error("AppendAll has changed its argument")
		}
		if !embedded {
			publishTraced(t, url, want)
		}

		if diff := tailTraces(t, l, want); diff != "" {
			t.Errorf("embedded %t: %s", embedded, diff)
		}
		must(t, l.Close())
		cfg.TraceOf = nil
		for data := range want {
			want[data] = ""
		}
		if diff := tailTraces(t, open(t, cfg), want); diff != "" {
			t.Errorf("embedded %t, without traces: %s", embedded, diff)
		}
	}
}

// publishTraced publishes as a NATS client does, and adds what the tail should have.
func publishTraced(t *testing.T, url string, want map[string]string) {
	t.Helper()
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	for data, c := range map[string]struct {
		header nats.Header
		want   string
	}{
		"as in the standard":  {nats.Header{"traceparent": {parent(1)}, "tracestate": {"a=1"}}, parent(1) + " a=1"},
		"as in Go":            {nats.Header{"Traceparent": {parent(2)}, "Tracestate": {"a=1"}}, parent(2) + " a=1"},
		"twice":               {nats.Header{"traceparent": {parent(3), parent(4)}}, ""},
		"in two spellings":    {nats.Header{"traceparent": {parent(3)}, "Traceparent": {parent(4)}}, ""},
		"not sampled":         {nats.Header{"traceparent": {strings.TrimSuffix(parent(5), "1") + "0"}}, ""},
		"invalid":             {nats.Header{"traceparent": {"nonsense"}}, ""},
		"long":                {nats.Header{"traceparent": {parent(6)}, "tracestate": {strings.Repeat("a", 50_000)}}, parent(6) + " "},
		"only the tracestate": {nats.Header{"tracestate": {"a=1"}}, ""},
	} {
		must(t, nc.PublishMsg(&nats.Msg{Subject: "event.news", Header: c.header, Data: []byte(data)}))
		want[data] = c.want
	}
	must(t, nc.Flush())
}

// tailTraces compares what the tail has with "traceparent tracestate" of each event, by its data.
func tailTraces(t *testing.T, l *eventlog.Log, want map[string]string) (diff string) {
	t.Helper()
	enough, got := errors.New("enough"), map[string]string{}
	err := l.Tail(t.Context(), 0, func() {}, func(e event.Event) error {
		got[e.Data()] = ""
		if trace := e.Trace(); !trace.IsZero() {
			got[e.Data()] = trace.Parent() + " " + trace.State()
		}
		if len(got) == len(want) {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	for data, trace := range want {
		if got[data] != trace {
			diff += fmt.Sprintf("\n%s: %.80q, want %q", data, got[data], trace)
		}
	}
	return diff
}
