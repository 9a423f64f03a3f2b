package tracing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"freshet/limit"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// closeGrace is how long Close waits for the collector.
	closeGrace = time.Second
	// maxAttribute is the length at which OpenTelemetry cuts texts of requests: up to 2048 spans wait for the collector, and a client's
	// headers may have 64 KiB.
	maxAttribute = 512
	// maxError is the length at which the text of an export's error is cut. It may have what the collector has answered.
	maxError = 300
)

// Config describes the program whose spans are exported.
type Config struct {
	Node    string // service.instance.id
	Version string // service.version
	Logger  *slog.Logger
}

// Provider exports spans over OTLP in the background. Spans that the collector does not take in time are dropped.
type Provider struct {
	*sdk.TracerProvider
	Endpoint string // where the spans go, without the path

	stop  context.CancelFunc // ends exports in progress
	close sync.Once
}

// FromEnvironment returns a provider if the environment variables of OpenTelemetry ask for traces:
//
//   - OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, or OTEL_TRACES_EXPORTER is otlp,
//   - OTEL_TRACES_EXPORTER is not none, and OTEL_SDK_DISABLED is not true.
//
// Else on is false. The error is one line that names the variable to change. The caller closes the provider.
func FromEnvironment(ctx context.Context, cfg Config) (p *Provider, on bool, err error) {
	s, on, err := readEnvironment()
	if err != nil || !on {
		return nil, false, err
	}
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "freshet"),
		attribute.String("service.version", cfg.Version),
		attribute.String("service.instance.id", cfg.Node),
	), resource.WithFromEnv())
	if err != nil {
		return nil, false, errors.New("OTEL_RESOURCE_ATTRIBUTES is invalid; want name=value,name=value")
	}
	otlp, err := s.newExporter(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("traces cannot be exported: %w; check the variables OTEL_EXPORTER_OTLP_…", err)
	}
	limits := sdk.NewSpanLimits() // from the environment
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxAttribute
	}
	exporting, stop := context.WithCancel(context.Background())
	return &Provider{
		TracerProvider: sdk.NewTracerProvider(
			sdk.WithBatcher(&exporter{SpanExporter: otlp, logger: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), endpoint: s.endpoint, stopped: exporting}),
			sdk.WithResource(described),
			sdk.WithRawSpanLimits(limits),
		),
		Endpoint: s.endpoint,
		stop:     stop,
	}, true, nil
}

// newExporter returns OpenTelemetry's exporter. Without the endpoint, its default would be TLS, against the standard.
func (s settings) newExporter(ctx context.Context) (sdk.SpanExporter, error) {
	switch {
	case s.protocol == grpc && s.byDefault:
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(s.endpoint))
	case s.protocol == grpc:
		return otlptracegrpc.New(ctx)
	case s.byDefault:
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(s.endpoint+"/v1/traces"))
	}
	return otlptracehttp.New(ctx)
}

// Close exports the spans that have ended, for at most a second, and drops the rest. Later spans are dropped too.
func (p *Provider) Close() {
	p.close.Do(func() {
		grace := time.AfterFunc(closeGrace, p.stop)
		defer grace.Stop()
		_ = p.Shutdown(context.Background()) // the exporter logs its errors
		p.stop()
	})
}

// exporter logs why spans cannot be exported. The errors end here, because OpenTelemetry would write each to standard error.
type exporter struct {
	sdk.SpanExporter
	logger   *slog.Logger
	endpoint string
	stopped  context.Context //nolint:containedctx // the life of the exporter
	failures limit.Log
	warned   bool // guarded by the processor, which exports one batch after the other
}

// ExportSpans is [sdk.SpanExporter.ExportSpans] that also ends when the provider is closed.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.stopped, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		if e.warned {
			e.logger.Info("traces can be sent again")
		}
		e.warned = false
		return nil
	}
	if n := e.failures.Allow(); n > 0 {
		text := strings.Join(strings.Fields(err.Error()), " ") // one line
		text = strings.ToValidUTF8(text[:min(len(text), maxError)], "")
		e.logger.Warn("traces cannot be sent and are dropped; check OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint", e.endpoint, "failures", n, "error", text)
		e.warned = true
	}
	return nil
}
