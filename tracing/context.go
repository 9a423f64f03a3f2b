package tracing

import (
	"context"
	"reflect"
	"strings"

	"freshet/event"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	parentHeader = "traceparent"
	stateHeader  = "tracestate"
)

// Global returns the global provider, or nil if the program has not set one.
func Global() trace.TracerProvider {
	provider := otel.GetTracerProvider()
	// Without a provider of the program, OpenTelemetry returns its own, which does nothing but is not free of cost.
	if of := reflect.TypeOf(provider); of.Kind() == reflect.Pointer && strings.HasSuffix(of.Elem().PkgPath(), "otel/internal/global") {
		return nil
	}
	return provider
}

// TraceOf returns the trace of the span in ctx; the zero Trace if there is no span, or the trace is not sampled.
func TraceOf(ctx context.Context) event.Trace {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() || !span.IsSampled() {
		return event.Trace{}
	}
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	return event.ParseTrace(headers[parentHeader], headers[stateHeader])
}

// withParent returns a context in which new spans are children of the span that has published the event.
func withParent(ctx context.Context, t event.Trace) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{parentHeader: t.Parent(), stateHeader: t.State()})
}
