package tracing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/tracing"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// traced returns an event of a sampled trace.
func traced(t testing.TB, seq uint64) event.Event {
	t.Helper()
	topic, err := event.ParseTopic("orders.paid")
	must(t, err)
	e, err := event.New(topic, event.TypeOf(topic), "data")
	must(t, err)
	return e.Stored(event.NewID(36, seq), time.Now()).Traced(event.ParseTrace(traceParent, "vendor=x"))
}

// provider returns a provider that samples roots never, and what it has exported.
func provider() (*sdk.TracerProvider, *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	return sdk.NewTracerProvider(sdk.WithSyncer(spans), sdk.WithSampler(sdk.ParentBased(sdk.NeverSample()))), spans
}

func TestDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, spans := provider()
		d := tracing.NewDeliveries(p, "node-1")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()

		first, unread := traced(t, 1), traced(t, 2)
		d.Begin(first)
		d.Begin(unread)
		began := time.Now()
		var readers sync.WaitGroup
		for i := range 1000 {
			readers.Go(func() { d.Delivered(first.ID(), began.Add(time.Duration(i)*time.Millisecond)) })
		}
		readers.Wait()
		d.Delivered(event.NewID(36, 3), began) // not traced
		time.Sleep(4 * time.Second)            // of fake time
		if n := len(spans.GetSpans()); n != 0 {
			t.Errorf("%d spans, while deliveries are counted", n)
		}
		time.Sleep(2 * time.Second)
		d.Delivered(first.ID(), time.Now()) // too late
		got := spans.GetSpans()
		if len(got) != 1 {
			t.Fatalf("%d spans, want one: %v", len(got), got)
		}
		s := got[0]
		if s.Name != "deliver" || s.SpanContext.TraceID().String() != traceParent[3:35] || s.Parent.SpanID().String() != traceParent[36:52] || s.Parent.TraceState().String() != "vendor=x" ||
			len(s.Links) != 1 || !s.Links[0].SpanContext.Equal(s.Parent) {
			t.Errorf("span %v", s)
		}
		if !s.StartTime.Equal(began) || s.EndTime.Sub(began) != 999*time.Millisecond {
			t.Errorf("from %v to %v", s.StartTime.Sub(began), s.EndTime.Sub(began))
		}
		for _, want := range []attribute.KeyValue{
			attribute.Int("freshet.deliveries", 1000), attribute.String("freshet.node", "node-1"),
			attribute.String("messaging.destination.name", "orders.paid"), attribute.String("messaging.message.id", first.ID().String()),
		} {
			if !slices.Contains(s.Attributes, want) {
				t.Errorf("no attribute %v in %v", want, s.Attributes)
			}
		}

		// The end ends the spans that are open.
		d.Begin(traced(t, 4))
		d.Delivered(event.NewID(36, 4), time.Now())
		cancel()
		must(t, <-ended)
		if n := len(spans.GetSpans()); n != 2 {
			t.Errorf("%d spans at the end", n)
		}
	})
}

// However many events are traced, only some are counted at the same time. Each has its span.
func TestDeliveriesAreBounded(t *testing.T) {
	p, spans := provider()
	d := tracing.NewDeliveries(p, "")
	const events = 10_000
	for seq := range uint64(events) {
		e := traced(t, seq+1)
		d.Begin(e)
		d.Delivered(e.ID(), time.Now())
	}
	ended := len(spans.GetSpans())
	if open := events - ended; open > 4096 {
		t.Errorf("%d are open", open)
	}
	d.Delivered(event.NewID(36, 1), time.Now()) // its span has ended
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, d.Run(ctx))
	ids := map[string]bool{}
	for _, s := range spans.GetSpans() {
		ids[fmt.Sprint(s.Attributes)] = true
	}
	if n := len(spans.GetSpans()); n != events || len(ids) != events {
		t.Errorf("%d spans of %d events, want %d", n, len(ids), events)
	}
}

func TestTraceOf(t *testing.T) {
	p := sdk.NewTracerProvider()
	ctx, span := p.Tracer("").Start(t.Context(), "publish")
	if got, want := tracing.TraceOf(ctx).Parent(), span.SpanContext().TraceID().String(); !strings.Contains(got, want) {
		t.Errorf("%q, want trace %s", got, want)
	}
	ctx, _ = sdk.NewTracerProvider(sdk.WithSampler(sdk.NeverSample())).Tracer("").Start(t.Context(), "publish")
	for name, ctx := range map[string]context.Context{"no span": t.Context(), "not sampled": ctx} {
		if got := tracing.TraceOf(ctx); !got.IsZero() {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWithoutAGlobalProvider(t *testing.T) {
	if p := tracing.Global(); p != nil {
		t.Errorf("this program has not set %T", p)
	}
}

// Sub-benchmarks: the delivery of an event that is traced, and of one that is not.
func BenchmarkDelivered(b *testing.B) {
	p, _ := provider()
	for name, seq := range map[string]uint64{"traced": 1, "untraced": 2} {
		b.Run(name, func(b *testing.B) {
			d := tracing.NewDeliveries(p, "")
			d.Begin(traced(b, 1))
			id, now := event.NewID(36, seq), time.Now()
			b.ReportAllocs()
			for b.Loop() {
				d.Delivered(id, now)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
