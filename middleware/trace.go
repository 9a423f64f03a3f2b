package middleware

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Keys in the [gin.Context].
const (
	spanKey    = "trace_span" // the span that Trace has made for the request
	traceIDKey = "trace_id"   // the ID of its trace, also if the span is the embedding program's
)

// Trace makes a span of each request with package otelgin. It needs two places in a row, before Log.
//
//   - The span continues the trace of the request's header traceparent. If the request's context has a span already, that of the program
//     which embeds the server, there is no second one.
//   - The span of an event stream ends when the stream opens. Otherwise it would end after hours, or when the stream is parked.
//   - A span has the path and the user agent that the access log has: clients put credentials into the rest.
//   - Only a 5xx is a failure of the server, and its span has the error.
//   - Successful requests that Log finds unimportant have no span.
func Trace(provider trace.TracerProvider, public map[string]func(value string) bool) gin.HandlersChain {
	span := otelgin.Middleware("", // the host name is that of the request
		otelgin.WithTracerProvider(provider),
		otelgin.WithPropagators(propagation.TraceContext{}),
		otelgin.WithMeterProvider(noop.NewMeterProvider())) // GET /metrics has the metrics
	// What an open stream holds on its goroutine's stack is in functions of its own.
	return gin.HandlersChain{
		func(c *gin.Context) {
			if wantsSpan(c) {
				span(c)
			}
		},
		func(c *gin.Context) {
			if noteSpan(c, public) {
				c.Next()
				keepFailure(c)
			}
		},
	}
}

func wantsSpan(c *gin.Context) bool {
	if of := trace.SpanContextFromContext(c.Request.Context()); of.IsValid() {
		c.Set(traceIDKey, of.TraceID().String())
		return false
	}
	if quiet(c.Request.URL.Path) {
		return false
	}
	c.Set(spanKey, nil) // for noteSpan
	return true
}

// noteSpan notes the request's span in c, and corrects its attributes. It reports whether Trace has made one.
func noteSpan(c *gin.Context, public publicParameters) bool {
	if _, traced := c.Get(spanKey); !traced {
		return false
	}
	span := trace.SpanFromContext(c.Request.Context())
	span.SetAttributes(attribute.String("url.path", clean(public.path(c))))
	if agent := c.Request.UserAgent(); agent != "" {
		span.SetAttributes(attribute.String("user_agent.original", clean(agent)))
	}
	c.Set(spanKey, span)
	c.Set(traceIDKey, span.SpanContext().TraceID().String())
	return true
}

// keepFailure leaves otelgin the error of a failed request, as the access log has it, and no error of a refused one.
func keepFailure(c *gin.Context) {
	last := c.Errors.Last()
	c.Errors = nil
	if last != nil && c.Writer.Status() >= http.StatusInternalServerError {
		_ = c.Error(errors.New(clean(last.Error())))
	}
}

// endSpanOfStream ends the request's span, if Trace has made one, because its response is a stream that opens now.
func endSpanOfStream(c *gin.Context) {
	if span, traced := c.Value(spanKey).(trace.Span); traced {
		span.SetAttributes(attribute.Int("http.response.status_code", c.Writer.Status()))
		span.End()
	}
}
