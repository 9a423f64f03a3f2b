package middleware_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"freshet/middleware"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const (
	traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	jsonToken   = "eyJhbGciOiJIUzI1NiJ9.e30.c2VjcmV0"
)

// tracedApplication has spans of requests in front of the access log.
func tracedApplication() (*gin.Engine, *sink, *tracetest.InMemoryExporter) {
	spans, logged := tracetest.NewInMemoryExporter(), &sink{}
	logger := slog.New(slog.NewJSONHandler(logged, nil))
	engine := gin.New()
	engine.Use(middleware.RequestID())
	engine.Use(middleware.Trace(sdk.NewTracerProvider(sdk.WithSyncer(spans)), public)...)
	engine.Use(middleware.Log(logger, public), middleware.Recover(logger))
	return engine, logged, spans
}

// attributes are the span's, as texts.
func attributes(s tracetest.SpanStub) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

func TestSpansOfRequests(t *testing.T) {
	engine, logged, spans := tracedApplication()
	respond := func(status int, err error) gin.HandlerFunc {
		return func(c *gin.Context) {
			if err != nil {
				_ = c.Error(err)
			}
			c.String(status, "x")
		}
	}
	engine.GET("/event/:topic", respond(http.StatusOK, nil))
	engine.GET("/event/:topic/refused/:id", respond(http.StatusServiceUnavailable, errors.New("token "+jsonToken)))
	engine.GET("/refused/:id", respond(http.StatusUnauthorized, errors.New("the token is wrong")))
	engine.GET("/failed", respond(http.StatusInternalServerError, errors.New("token "+jsonToken)))
	engine.GET("/panics", func(*gin.Context) { panic("token " + jsonToken) })
	engine.GET("/livez", respond(http.StatusOK, nil))
	for _, c := range []struct {
		target, name, path string
		status             codes.Code
		description        string
	}{
		{"/event?topic=a", "GET", "/…", codes.Unset, ""}, // no route
		{"/event/news?token=" + jsonToken, "GET /event/:topic", "/event/news", codes.Unset, ""},
		{"/event/news/refused/" + jsonToken, "GET /event/:topic/refused/:id", "/event/news/refused/:id", codes.Error, "token [redacted]"},
		{"/refused/" + jsonToken, "GET /refused/:id", "/refused/:id", codes.Unset, ""},
		{"/failed", "GET /failed", "/failed", codes.Error, "token [redacted]"},
		{"/panics", "GET /panics", "/panics", codes.Error, "panic: token [redacted]"},
	} {
		spans.Reset()
		serve(engine, request(t, "GET "+c.target, "Traceparent: "+traceParent, "User-Agent: "+jsonToken))
		got := spans.GetSpans()
		if len(got) != 1 {
			t.Fatalf("%s: %d spans", c.target, len(got))
		}
		s, a := got[0], attributes(got[0])
		if s.Name != c.name || a["url.path"] != c.path || s.Status.Code != c.status || !strings.Contains(s.Status.Description, c.description) ||
			s.SpanContext.TraceID().String() != traceParent[3:35] || s.Parent.SpanID().String() != traceParent[36:52] || a["client.address"] != "192.0.2.7" {
			t.Errorf("%s: %+v", c.target, s)
		}
		for _, event := range s.Events {
			for _, attribute := range event.Attributes {
				a[event.Name+" "+string(attribute.Key)] = attribute.Value.String()
			}
		}
		for key, value := range a {
			if strings.Contains(value, "eyJ") || strings.Contains(value, "token=") {
				t.Errorf("%s: %s has a credential: %s", c.target, key, value)
			}
		}
	}
	for _, record := range logged.records(t) {
		if record["msg"] == "request" && record["trace_id"] != traceParent[3:35] {
			t.Errorf("record %v", record)
		}
	}

	spans.Reset()
	serve(engine, request(t, "GET /livez"))
	if got := spans.GetSpans(); len(got) != 0 {
		t.Errorf("spans of a probe: %v", got)
	}
}

// The span of a stream has ended when its first bytes are sent, and the stream goes on.
func TestSpanOfAStream(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		engine, logged, spans := tracedApplication()
		seen, proceed := make(chan tracetest.SpanStubs, 1), make(chan struct{})
		engine.GET("/event", func(c *gin.Context) {
			_, _ = io.WriteString(c.Writer, "data: 1\n\n")
			c.Writer.Flush()
			seen <- spans.GetSpans()
			<-proceed
		})
		get, stop := start(t, engine, http2)
		response := get("/event")
		got := <-seen
		close(proceed)
		if text := body(t, response); text != "data: 1\n\n" {
			t.Errorf("HTTP/2 %t: %q", http2, text)
		}
		stop()
		if len(got) != 1 || attributes(got[0])["http.response.status_code"] != "200" || len(spans.GetSpans()) != 1 {
			t.Errorf("HTTP/2 %t: %v, then %v", http2, got, spans.GetSpans())
		}
		for _, record := range logged.records(t) {
			if record["trace_id"] != got[0].SpanContext.TraceID().String() {
				t.Errorf("HTTP/2 %t: record %v", http2, record)
			}
		}
	}
}

// A program that embeds the server may have a span of the request already.
func TestNoSecondSpanOfARequest(t *testing.T) {
	engine, logged, spans := tracedApplication()
	engine.GET("/history", func(*gin.Context) {})
	ctx, span := sdk.NewTracerProvider().Tracer("").Start(t.Context(), "the program's")
	serve(engine, request(t, "GET /history").WithContext(ctx))
	if got := spans.GetSpans(); len(got) != 0 {
		t.Errorf("spans %v", got)
	}
	if records := logged.records(t); records[0]["trace_id"] != span.SpanContext().TraceID().String() {
		t.Errorf("records %v", records)
	}
}
