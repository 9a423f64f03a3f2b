package tracing_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"freshet/tracing"
)

// The log has one line when spans cannot be sent, and one when they can be sent again.
func TestACollectorThatFails(t *testing.T) {
	var status atomic.Int32
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte("a long\nstory " + strings.Repeat("é", 10_000)))
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000") // only ForceFlush sends
	var logged bytes.Buffer
	p, on, err := tracing.FromEnvironment(t.Context(), tracing.Config{Node: "n", Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	must(t, err)
	if !on || p.Endpoint != collector.URL {
		t.Fatalf("on %t, to %s", on, p.Endpoint)
	}
	for _, s := range []int32{400, 403, 200, 400, 200, 200} {
		status.Store(s)
		_, span := p.Tracer("").Start(t.Context(), "a span")
		span.End()
		must(t, p.ForceFlush(t.Context()))
	}
	p.Close()
	p.Close()
	log := logged.String()
	if strings.Count(log, "cannot be sent") != 1 || strings.Count(log, "can be sent again") != 1 || strings.Count(log, "\n") != 2 || len(log) > 1000 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestWithoutVariablesNothingIsSent(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"} {
		t.Setenv(name, "")
	}
	if p, on, err := tracing.FromEnvironment(t.Context(), tracing.Config{}); p != nil || on || err != nil {
		t.Errorf("%v, %t, %v", p, on, err)
	}
}
