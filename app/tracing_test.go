package app_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"freshet/app"
	"freshet/auth"
	"freshet/config"
	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/hub"
	"freshet/ssetest"
	"freshet/tracing"

	"go.opentelemetry.io/otel"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// A program's provider is used if its Config or the global variable has it. Open sets no global. (Not parallel: it sets one.)
func TestTracesOfAProgram(t *testing.T) { //nolint:paralleltest // it sets a global
	for _, global := range []bool{false, true} {
		spans := tracetest.NewInMemoryExporter()
		provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
		cfg := config.Default()
		cfg.Data, cfg.Hosts = t.TempDir(), []string{"example.com"} // httptest's requests are for it
		before := otel.GetTracerProvider()
		if global {
			otel.SetTracerProvider(provider)
			t.Cleanup(func() { otel.SetTracerProvider(before) })
		} else {
			cfg.TracerProvider = provider
		}
		live, err := app.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		must(t, err)
		if otel.GetTracerProvider() != before && !global {
			t.Error("Open has set the global provider")
		}
		stream := ssetest.Get(t, live, "/event/orders")
		stream.Next()
		ctx, span := provider.Tracer("program").Start(t.Context(), "pay")
		_, err = live.Publish(ctx, "orders", "paid")
		must(t, err)
		span.End()
		if e := stream.NextEvent(); e.Data != "paid" {
			t.Errorf("event %v", e)
		}
		must(t, live.Close())
		delivered := 0
		for _, s := range spans.GetSpans() {
			if s.Name == "deliver" && s.Parent.SpanID() == span.SpanContext().SpanID() && s.Links[0].SpanContext.TraceID() == span.SpanContext().TraceID() {
				delivered++
			}
		}
		if delivered != 1 {
			t.Errorf("global %t: spans %v", global, spans.GetSpans())
		}
	}
}

// routerOn returns a router on a log in memory, without anything in the background.
func routerOn(t testing.TB, provider trace.TracerProvider) http.Handler {
	t.Helper()
	log := eventlogtest.NewMemory()
	h, err := hub.New(t.Context(), log, hub.Config{WindowBytes: 64 << 10})
	must(t, err)
	hs, err := handlers.New(handlers.Config{Log: log, Hub: h, NoPark: true})
	must(t, err)
	keys, err := auth.New(auth.Config{PublishToken: "a-token-for-the-tests"})
	must(t, err)
	cfg := config.Default()
	cfg.TracerProvider = provider
	router, err := app.NewRouter(hs, keys, cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	return router
}

// publishRequest publishes the same event again and again, so that the log does not grow.
func publishRequest(t testing.TB, router http.Handler, traceparent string) func() {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/event/news", nil)
	r.Header.Set("Authorization", "Bearer a-token-for-the-tests")
	r.Header.Set("Idempotency-Key", "k")
	if traceparent != "" {
		r.Header.Set("Traceparent", traceparent)
	}
	return func() {
		w := httptest.NewRecorder()
		r.Body = http.NoBody
		if router.ServeHTTP(w, r); w.Code/100 != 2 {
			t.Fatal(w.Code, w.Body)
		}
	}
}

const sampled, unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

// Without a provider, a request with a trace costs what one without costs, and a delivery allocates nothing.
func TestWithoutTracesNothingIsAllocated(t *testing.T) { //nolint:paralleltest // it counts allocations of the process
	off := routerOn(t, nil)
	without, with := testing.AllocsPerRun(200, publishRequest(t, off, "")), testing.AllocsPerRun(200, publishRequest(t, off, sampled))
	if without != with {
		t.Errorf("%v allocations, with a trace %v", without, with)
	}
	if on := testing.AllocsPerRun(200, publishRequest(t, routerOn(t, sdk.NewTracerProvider()), sampled)); on <= with {
		t.Errorf("%v allocations with a provider, %v without: this test measures nothing", on, with)
	}
	deliver := deliveryOn(t, nil)
	if n := testing.AllocsPerRun(200, deliver); n != 0 {
		t.Errorf("%v allocations for a delivery", n)
	}
}

// deliveryOn returns a function that counts the delivery of one event of a sampled trace.
func deliveryOn(t testing.TB, provider trace.TracerProvider) func() {
	t.Helper()
	log := eventlogtest.NewMemory()
	cfg := hub.Config{WindowBytes: 64 << 10}
	if provider != nil {
		cfg.Deliveries = tracing.NewDeliveries(provider, "")
	}
	h, err := hub.New(t.Context(), log, cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-ended) })
	<-h.CaughtUp()
	woken := make(chan struct{}, 8)
	s, err := h.Subscribe(ctx, hub.Request{Patterns: event.Patterns{event.All}, Wake: func() { woken <- struct{}{} }})
	must(t, err)
	t.Cleanup(s.Close)
	log.Append(ctx, eventlog.Entry{Event: eventlogtest.NewEvent(t, "news", "news", "x").Traced(event.ParseTrace(sampled, ""))})
	var entries []*hub.Entry
	for len(entries) == 0 {
		<-woken
		entries, err = s.Next(nil)
		must(t, err)
	}
	now := time.Now()
	return func() { s.Delivered(entries, now) }
}

// What a publish and a delivery cost without traces, and with them.
func BenchmarkTracing(b *testing.B) {
	drop := sdk.NewTracerProvider(sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample()))) // without an exporter
	for _, c := range []struct {
		name        string
		provider    trace.TracerProvider
		traceparent string
	}{{"off", nil, ""}, {"off, traced client", nil, sampled}, {"on, unsampled", drop, unsampled}, {"on, sampled", drop, sampled}} {
		b.Run("publish/"+c.name, func(b *testing.B) {
			publish := publishRequest(b, routerOn(b, c.provider), c.traceparent)
			b.ReportAllocs()
			for b.Loop() {
				publish()
			}
		})
	}
	for name, provider := range map[string]trace.TracerProvider{"off": nil, "on": drop} {
		b.Run("deliver/"+name, func(b *testing.B) {
			deliver := deliveryOn(b, provider)
			b.ReportAllocs()
			for b.Loop() {
				deliver()
			}
		})
	}
}
