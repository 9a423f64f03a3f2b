package middleware

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Keys in the [gin.Context].
const (
	tracedKey     = "traced"      // true if otelgin makes the request's span
	streamSpanKey = "stream_span" // the span of a request for an event stream
	traceIDKey    = "trace_id"    // the ID of the request's trace, whoever has made its span
)

// Trace makes a span of each request. It needs two places in a row, before Log.
//
//   - The span continues the trace of the request's header traceparent. If the request's context has a span already, that of the program
//     which embeds the server, there is no second one.
//   - The span of an event stream ends when the stream opens. Otherwise it would end after hours, or when the stream is parked.
//   - A span has the path and the user agent that the access log has: clients put credentials into the rest.
//   - Only a 5xx is a failure of the server, and its span has the error.
//   - Requests for probes, metrics and assets have no span.
//
// Package otelgin makes the spans, except those of event streams: its frames would stay on the stack of the goroutine and double it as long as
// the stream is open.
func Trace(provider trace.TracerProvider, public map[string]func(value string) bool) gin.HandlersChain {
	tracer := provider.Tracer("freshet/middleware")
	span := otelgin.Middleware("", // the host name is that of the request
		otelgin.WithTracerProvider(provider),
		otelgin.WithPropagators(propagation.TraceContext{}),
		otelgin.WithMeterProvider(noop.NewMeterProvider())) // GET /metrics has the metrics
	return gin.HandlersChain{
		func(c *gin.Context) {
			switch {
			case hasSpan(c) || quiet(c.Request.URL.Path):
			case c.Request.Method == http.MethodGet && strings.HasPrefix(c.FullPath(), "/event"):
				startSpanOfStream(c, tracer, public)
			default:
				c.Set(tracedKey, true)
				span(c)
			}
		},
		func(c *gin.Context) {
			if c.GetBool(tracedKey) {
				correctSpan(c, public)
				c.Next()
				keepFailure(c)
			}
		},
	}
}

// hasSpan reports whether the embedding program has made a span of the request.
func hasSpan(c *gin.Context) bool {
	span := trace.SpanContextFromContext(c.Request.Context())
	if span.IsValid() {
		c.Set(traceIDKey, span.TraceID().String())
	}
	return span.IsValid()
}

// correctSpan replaces what a span has of the request's text by what the access log has.
func correctSpan(c *gin.Context, public publicParameters) {
	span := trace.SpanFromContext(c.Request.Context())
	c.Set(traceIDKey, span.SpanContext().TraceID().String())
	span.SetAttributes(attribute.String("url.path", clean(public.path(c))))
	if agent := c.Request.UserAgent(); agent != "" {
		span.SetAttributes(attribute.String("user_agent.original", clean(agent)))
	}
}

// keepFailure leaves otelgin the error of a failed request, as the access log has it, and no error of a refused one.
func keepFailure(c *gin.Context) {
	last := c.Errors.Last()
	c.Errors = nil
	if last != nil && c.Writer.Status() >= http.StatusInternalServerError {
		_ = c.Error(errors.New(clean(last.Error())))
	}
}

func startSpanOfStream(c *gin.Context, tracer trace.Tracer, public publicParameters) {
	ctx := propagation.TraceContext{}.Extract(c.Request.Context(), propagation.HeaderCarrier(c.Request.Header))
	ctx, span := tracer.Start(ctx, "GET "+c.FullPath(), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", http.MethodGet),
		attribute.String("http.route", c.FullPath()),
		attribute.String("client.address", c.ClientIP()),
	))
	c.Request = c.Request.WithContext(ctx)
	c.Set(streamSpanKey, span)
	correctSpan(c, public)
}

// endSpanOfStream ends the span of a request for an event stream, which opens now or is refused. Later calls do nothing.
func endSpanOfStream(c *gin.Context) {
	span, traced := c.Value(streamSpanKey).(trace.Span)
	if !traced || !span.IsRecording() {
		return
	}
	status := c.Writer.Status()
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		text := ""
		if last := c.Errors.Last(); last != nil {
			text = clean(last.Error())
		}
		span.SetStatus(codes.Error, text)
	}
	span.End()
}
