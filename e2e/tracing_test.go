package e2e_test

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"freshet/app/apptest"
	"freshet/client"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP receiver over HTTP, as a collector of OpenTelemetry has it.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu    sync.Mutex
	spans []received
}

// received is a span that has arrived.
type received struct {
	*otlp.Span
	attributes map[string]string // also those of the resource
}

func (s received) trace() string  { return hex.EncodeToString(s.TraceId) }
func (s received) id() string     { return hex.EncodeToString(s.SpanId) }
func (s received) parent() string { return hex.EncodeToString(s.ParentSpanId) }

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			r.t.Error(err)
			return
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	var export collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(data, &export)
	}
	if err != nil || q.URL.Path != "/v1/traces" || q.Header.Get("Content-Type") != "application/x-protobuf" {
		r.t.Errorf("an export: %s %s: %v", q.URL, q.Header, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				s := received{span, map[string]string{}}
				for _, a := range slices.Concat(resource.Resource.Attributes, span.Attributes) {
					s.attributes[a.Key] = cmp.Or(a.Value.GetStringValue(), strconv.FormatInt(a.Value.GetIntValue(), 10))
				}
				r.spans = append(r.spans, s)
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of returns the received spans of a trace that have the name.
func (r *receiver) of(trace, name string) (spans []received) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.trace() == trace && s.Name == name {
			spans = append(spans, s)
		}
	}
	return spans
}

// startTraced starts a server process with variables of OpenTelemetry.
func startTraced(t *testing.T, variables []string, args ...string) *apptest.Process {
	t.Helper()
	cmd, err := apptest.Command(context.WithoutCancel(t.Context()), append([]string{"--listen", "127.0.0.1:0", "--data", t.TempDir(), "--drain", "0"}, args...)...)
	must(t, err)
	cmd.Env = append(cmd.Env, variables...)
	p, err := apptest.StartProcess(cmd)
	must(t, err)
	t.Cleanup(p.Kill)
	return p
}

// stop ends the server as an operator does.
func stop(t *testing.T, p *apptest.Process) {
	t.Helper()
	must(t, p.Signal(syscall.SIGTERM))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
}

// publish publishes with more headers: names and values in turn.
func publish(t *testing.T, p *apptest.Process, path, body string, headers ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+path, strings.NewReader(body))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+p.Token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	must(t, err)
	must(t, response.Body.Close())
	return response.StatusCode
}

// traceOf returns the ID of the nth trace of this test, and a sampled traceparent in it.
func traceOf(n int) (id, parent string) {
	id = fmt.Sprintf("%032x", 0xace0+n)
	return id, "00-" + id + "-00000000000000aa-01"
}

// The trace of a publish goes through the log to all nodes, and its deliveries link to it.
func TestTraces(t *testing.T) {
	t.Parallel()
	otel := receive(t)
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	variables := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + otel.URL, "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test"}
	a := startTraced(t, variables, "--nats", ns.ClientURL(), "--node", "a")
	b := startTraced(t, append(variables, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip"), "--nats", ns.ClientURL(), "--node", "b")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var readers []*client.Reader
	for _, node := range []*apptest.Process{a, a, a, b} {
		r, err := node.Open(ctx, client.Subscription{Topics: []string{"orders.>"}})
		must(t, err)
		t.Cleanup(r.Close)
		readers = append(readers, r)
	}

	single, parent := traceOf(1)
	if status := publish(t, a, "/event/orders.paid", "single", "traceparent", parent, "tracestate", "vendor=x"); status != http.StatusCreated {
		t.Fatal(status)
	}
	bulk, parent := traceOf(2)
	if status := publish(t, b, "/event", `{"topic":"orders.a","data":"bulk"}`+"\n"+`{"topic":"orders.b","data":"bulk"}`, "Content-Type", "application/x-ndjson",
		"traceparent", parent); status != http.StatusOK {
		t.Fatal(status)
	}
	nc, err := nats.Connect(ns.ClientURL())
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	direct, capital := "", ""
	for i, header := range []string{"traceparent", "Traceparent"} {
		id, parent := traceOf(3 + i)
		m := nats.NewMsg("event.orders.nats")
		m.Data = []byte("nats")
		m.Header.Set(header, parent)
		_, err = js.PublishMsg(ctx, m)
		must(t, err)
		direct, capital = capital, id
	}
	unsampled, _ := traceOf(5)
	publish(t, a, "/event/orders.paid", "unsampled", "traceparent", "00-"+unsampled+"-00000000000000aa-00")
	hostile, parent := traceOf(6)
	if status := publish(t, a, "/event/orders.paid", "hostile", "traceparent", parent, "tracestate", strings.Repeat("a=b,", 10_000)+"z="+strings.Repeat("z", 10_000)); status != http.StatusCreated {
		t.Error("hostile:", status)
	}
	publish(t, a, "/event/orders.paid", "forged", "traceparent", strings.Repeat("0", 60_000))
	publish(t, a, "/event/orders.last", "last")
	for _, r := range readers {
		for last := ""; last != "last"; {
			e, err := r.Next()
			must(t, err)
			last = e.Data
		}
	}

	checkStored(t, js, map[string]string{"single": single, "bulk": bulk, "unsampled": "", "hostile": hostile})
	stop(t, a)
	stop(t, b)

	requests := otel.of(single, "POST /event/:topic")
	if len(requests) != 1 || requests[0].parent() != "00000000000000aa" || requests[0].TraceState != "vendor=x" || requests[0].attributes["url.path"] != "/event/orders.paid" ||
		requests[0].attributes["service.name"] != "freshet" || requests[0].attributes["service.instance.id"] != "a" ||
		requests[0].attributes["deployment.environment.name"] != "test" || requests[0].attributes["http.response.status_code"] != "201" {
		t.Fatalf("requests: %v", requests)
	}
	for _, c := range []struct {
		name, trace, parent string
		events              int
	}{
		{"single", single, requests[0].id(), 1},
		{"bulk", bulk, otel.of(bulk, "POST /event")[0].id(), 2},
		{"of a NATS client", direct, "00000000000000aa", 1},
		{"of a NATS client in Go's spelling", capital, "00000000000000aa", 1},
		{"unsampled", unsampled, "", 0},
		{"hostile", hostile, otel.of(hostile, "POST /event/:topic")[0].id(), 1},
	} {
		deliveries := otel.of(c.trace, "deliver")
		counts := map[string]string{"a": "3", "b": "1"}
		if len(deliveries) != c.events*len(counts) {
			t.Errorf("%s: %d spans of deliveries: %v", c.name, len(deliveries), deliveries)
		}
		for _, d := range deliveries {
			if d.parent() != c.parent || len(d.Links) != 1 || hex.EncodeToString(d.Links[0].SpanId) != c.parent || hex.EncodeToString(d.Links[0].TraceId) != c.trace ||
				d.Kind != otlp.Span_SPAN_KIND_CONSUMER || d.EndTimeUnixNano < d.StartTimeUnixNano ||
				d.attributes["freshet.deliveries"] != counts[d.attributes["freshet.node"]] || !strings.HasPrefix(d.attributes["messaging.destination.name"], "orders.") ||
				!strings.Contains(d.attributes["messaging.message.id"], "-") {
				t.Errorf("%s: %v", c.name, d)
			}
		}
	}
	streams := 0
	for _, s := range otel.spans {
		if s.Name == "GET /event" {
			streams++
			if s.attributes["http.response.status_code"] != "200" {
				t.Errorf("a stream: %v", s)
			}
		}
	}
	if streams != len(readers) {
		t.Errorf("%d spans of streams, want %d", streams, len(readers))
	}
}

// checkStored checks the traces of the events in the log, by their data. They are short, whatever the client has sent.
func checkStored(t *testing.T, js jetstream.JetStream, want map[string]string) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "freshet")
	must(t, err)
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		must(t, err)
		trace, known := want[string(m.Data)]
		parent, state := m.Header.Get("traceparent"), m.Header.Get("tracestate")
		if known && (trace == "" && parent != "" || trace != "" && !strings.HasPrefix(parent, "00-"+trace)) || len(parent) > 55 || len(state) > 512 {
			t.Errorf("%s: stored with %v", m.Data, m.Header)
		}
	}
}

// A collector that cannot be reached costs one line of the log, and one that does not answer does not hold up the end.
func TestTracesWithoutACollector(t *testing.T) {
	t.Parallel()
	hanging, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts the connections, and nobody reads
	must(t, err)
	t.Cleanup(func() { must(t, hanging.Close()) })
	refused, silent := "http://"+apptest.FreeAddress(t), "http://"+hanging.Addr().String()
	for _, c := range [][2]string{{refused, "http/protobuf"}, {silent, "http/protobuf"}, {refused, "grpc"}, {silent, "grpc"}} {
		endpoint, protocol := c[0], c[1]
		p := startTraced(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_BSP_SCHEDULE_DELAY=1",
			"OTEL_EXPORTER_OTLP_TIMEOUT=600000", "OTEL_BSP_EXPORT_TIMEOUT=600000"})
		for range 100 {
			if status := publish(t, p, "/event/news", "x"); status != http.StatusCreated {
				t.Fatal(endpoint, status)
			}
		}
		stop(t, p)
		if n := strings.Count(p.Log(), "traces cannot be sent"); n != 1 || strings.Count(p.Log(), "\n") > 110 {
			t.Errorf("%s by %s: %d lines about it:\n%s", endpoint, protocol, n, p.Log())
		}
	}
}

// By default the collector is on this machine, without TLS.
func TestTracesToTheDefaultCollector(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		p := startTraced(t, []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_BSP_SCHEDULE_DELAY=1"})
		publish(t, p, "/event/news", "x")
		stop(t, p)
		if log := p.Log(); !strings.Contains(log, "traces are sent") || strings.Contains(log, "https:") || strings.Contains(strings.ToLower(log), "tls") {
			t.Errorf("%s: %s", protocol, log)
		}
	}
}

// A mistake in the environment is one line that names the variable.
func TestTracesMistakes(t *testing.T) {
	t.Parallel()
	certificate := apptest.Certificate(t)[1]
	for variable, want := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318":                 `OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL; want one such as http://localhost:4318`,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://user:s3cret@host":        `OTEL_EXPORTER_OTLP_ENDPOINT has a user, which OpenTelemetry would ignore; send credentials with OTEL_EXPORTER_OTLP_HEADERS`,
		"OTEL_TRACES_EXPORTER=zipkin":                                `OTEL_TRACES_EXPORTER is "zipkin"; want otlp or none`,
		"OTEL_EXPORTER_OTLP_PROTOCOL=http":                           `OTEL_EXPORTER_OTLP_PROTOCOL is "http"; want grpc, http/protobuf or http/json`,
		"OTEL_TRACES_SAMPLER=ratio":                                  `OTEL_TRACES_SAMPLER is "ratio"; want one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio`,
		"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=2": `OTEL_TRACES_SAMPLER_ARG is "2"; want a number from 0 to 1`,
		"OTEL_EXPORTER_OTLP_TIMEOUT=10s":                             `OTEL_EXPORTER_OTLP_TIMEOUT is "10s"; want a whole number of milliseconds above 0`,
		"OTEL_BSP_MAX_QUEUE_SIZE=-1":                                 `OTEL_BSP_MAX_QUEUE_SIZE is "-1"; want a whole number above 0`,
		"OTEL_EXPORTER_OTLP_HEADERS=s3cret":                          `OTEL_EXPORTER_OTLP_HEADERS is invalid; want name=value,name=value, with other characters than ASCII, commas and % as %XX`,
		"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=zstd":                 `OTEL_EXPORTER_OTLP_TRACES_COMPRESSION is "zstd"; want gzip or none`,
		"OTEL_EXPORTER_OTLP_CERTIFICATE=/none":                       `OTEL_EXPORTER_OTLP_CERTIFICATE: open /none: no such file or directory`,
		"OTEL_EXPORTER_OTLP_CERTIFICATE=/dev/null":                   `OTEL_EXPORTER_OTLP_CERTIFICATE: /dev/null holds no certificate in PEM format`,
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=" + certificate:       `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY are only allowed together`,
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=" + certificate + " OTEL_EXPORTER_OTLP_CLIENT_KEY=" + certificate: `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY: tls: found a certificate`,
		"OTEL_RESOURCE_ATTRIBUTES=broken": `OTEL_RESOURCE_ATTRIBUTES is invalid; want name=value,name=value`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd, err := apptest.Command(ctx, "--listen", "127.0.0.1:0", "--data", t.TempDir())
		must(t, err)
		cmd.Env = append(append(cmd.Env, "OTEL_TRACES_EXPORTER=otlp"), strings.Fields(variable)...)
		out, err := cmd.CombinedOutput()
		if text := string(out); err == nil || !strings.HasPrefix(text, "freshet: "+want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: %v\n%s", variable, err, text)
		}
	}
	for _, off := range []string{"OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"} {
		p := startTraced(t, []string{off, "OTEL_EXPORTER_OTLP_ENDPOINT=not a URL"})
		stop(t, p)
		if strings.Contains(p.Log(), "traces") {
			t.Errorf("%s: %s", off, p.Log())
		}
	}
}
