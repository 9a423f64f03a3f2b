package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/app"
	"freshet/app/apptest"
	"freshet/config"
	"freshet/ssetest"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// operatorToken is the publish token of the tests of this file.
const operatorToken = "the-publish-token-of-metrics"

// scraped are the metrics of one scrape, by name.
type scraped map[string]*dto.MetricFamily

// scrape reads the metrics as Prometheus does, with native histograms.
func scrape(t *testing.T, a apptest.Wired) scraped {
	t.Helper()
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	w := a.Do("GET", "/metrics", "", "Accept", string(format), "Authorization", "Bearer "+operatorToken)
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics: %d %s", w.Code, w.Body)
	}
	families := scraped{}
	for decoder := expfmt.NewDecoder(w.Body, format); ; {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			return families
		} else if err != nil {
			t.Fatal(err)
		}
		families[family.GetName()] = &family
	}
}

// value is the value of the metric with these labels, written as in {a="b",c="d"}; NaN if there is none.
func (s scraped) value(name string, labels ...string) float64 {
	for _, m := range s[name].GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, l.GetName(), l.GetValue())
		}
		if slices.Equal(have, labels) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return math.NaN()
}

// docs/operations.md has each metric with its type and labels, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	address := apptest.FreeAddress(t)
	flags := append(apptest.Certificate(t), "--metrics-listen", address) // TLS has a metric too
	server := apptest.Start(t, t.TempDir(), "", flags...)
	text := get(t, "http://"+address+"/metrics")
	promtool(t, text, "check", "metrics")

	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	must(t, err)
	checkDeployed(t, families)
	var exported []string
	for name, family := range families {
		if !strings.HasPrefix(name, "freshet_") {
			continue
		}
		labels := map[string]bool{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		exported = append(exported, fmt.Sprint(name, " ", strings.ToLower(family.GetType().String()), " ", slices.Sorted(maps.Keys(labels))))
	}
	slices.Sort(exported)
	if diff := cmp.Diff(exported, documentedMetrics(t)); diff != "" {
		t.Errorf("metrics (-the program's +docs/operations.md):\n%s", diff)
	}

	// They are at this address alone. A second server says which flag to change.
	cfg, err := config.Parse([]string{"--listen", "127.0.0.1:0", "--metrics-listen", address, "--data", t.TempDir()}, nil, io.Discard)
	must(t, err)
	if err := app.Serve(t.Context(), func() {}, cfg, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), address+": the port is in use") ||
		!strings.HasSuffix(err.Error(), "--metrics-listen") {
		t.Errorf("another server at this address: %v", err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/metrics", nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+server.Token)
	response, err := server.HTTP.Do(r)
	must(t, err)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("at the other address: %s", response.Status)
	}
}

// documentedMetrics are the rows of the table in docs/operations.md: name, type and sorted labels.
func documentedMetrics(t *testing.T) (rows []string) {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `(freshet_[a-z_]+)` \\| (gauge|counter|histogram) \\|([^|]*)\\| .+ \\|$")
	label := regexp.MustCompile("`([a-z_]+)`")
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		labels := []string{}
		for _, l := range label.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		rows = append(rows, fmt.Sprint(m[1], " ", m[2], " ", labels))
	}
	slices.Sort(rows)
	return rows
}

// checkDeployed checks that each metric exists which the board and the alerts in deploy/ name.
func checkDeployed(t *testing.T, families scraped) {
	t.Helper()
	metric := regexp.MustCompile(`\b(?:freshet|go|process)_[a-z_]+`)
	for _, file := range []string{"deploy/grafana/freshet.json", "deploy/prometheus/alerts.yaml", "deploy/prometheus/alerts_test.yaml"} {
		names := metric.FindAllString(read(t, file), -1)
		if len(names) < 10 {
			t.Errorf("%s names only %d metrics", file, len(names))
		}
		for _, name := range names {
			histogram := families[strings.TrimSuffix(name, "_bucket")]
			if families[name] == nil && (!strings.HasSuffix(name, "_bucket") || histogram.GetType() != dto.MetricType_HISTOGRAM) {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
}

// Prometheus accepts the files in deploy/, each alert fires in its test, and each panel of the board has a query that Prometheus can parse.
func TestPrometheusAndGrafanaFiles(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(top, "deploy", "prometheus")
	promtool(t, "", "check", "config", "--syntax-only", filepath.Join(folder, "prometheus.yaml"))
	promtool(t, "", "check", "rules", filepath.Join(folder, "alerts.yaml"))
	promtool(t, "", "test", "rules", filepath.Join(folder, "alerts_test.yaml"))
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(read(t, "deploy/prometheus/alerts.yaml"), -1)
	if len(alerts) < 10 {
		t.Errorf("only %d alerts were found", len(alerts))
	}
	for _, alert := range alerts {
		if !strings.Contains(read(t, "deploy/prometheus/alerts_test.yaml"), `{alertname="`+alert[1]+`", instance="a"}', value: 1}`) {
			t.Errorf("alerts_test.yaml does not let %s fire", alert[1])
		}
	}

	var board struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal([]byte(read(t, "deploy/grafana/freshet.json")), &board))
	variables := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "5m")
	rules, queries := "groups:\n- name: board\n  rules:\n", 0
	for _, panel := range board.Panels {
		if panel.Title == "" || len(panel.Targets) == 0 && panel.Type != "row" {
			t.Errorf("a panel has no title or no query: %+v", panel)
		}
		for _, target := range panel.Targets {
			rules += fmt.Sprintf("  - {record: 'board:%d', expr: %q}\n", queries, variables.Replace(target.Expr))
			queries++
		}
	}
	if queries < 20 {
		t.Errorf("the board has only %d queries", queries)
	}
	file := filepath.Join(t.TempDir(), "board.yaml")
	must(t, os.WriteFile(file, []byte(rules), 0o600))
	promtool(t, "", "check", "rules", file)
}

// promtool runs Prometheus's own tool, which must succeed and have nothing to say on standard error.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		apptest.Lacking(t, "FRESHET_REQUIRE_PROMTOOL", "%v: install promtool, on Debian the package prometheus", err)
	}
	command := exec.CommandContext(t.Context(), "promtool", args...)
	command.Stdin = strings.NewReader(stdin)
	var problems strings.Builder
	command.Stderr = &problems
	if output, err := command.Output(); err != nil || problems.Len() > 0 {
		t.Errorf("promtool %s: %v\n%s%s", strings.Join(args, " "), err, output, problems.String())
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }() // read to its end
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s", url, response.Status, body)
	}
	return string(body)
}

// Only operators read the metrics on the server's own addresses.
func TestMetricsAreForOperators(t *testing.T) {
	t.Parallel()
	a := apptest.Wire(t, io.Discard, "--publish-token", operatorToken, "--jwt-secret", jwtSecret)
	operator, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"exp": time.Now().Add(time.Minute).Unix(), "sub": "mira", "freshet": map[string]any{"operator": true},
	}).SignedString([]byte(jwtSecret))
	must(t, err)
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"nobody":            {"", http.StatusUnauthorized},
		"a reader":          {mint(t, time.Minute, ">", ">"), http.StatusForbidden},
		"an operator":       {operator, http.StatusOK},
		"the publish token": {operatorToken, http.StatusOK},
	} {
		var headers []string
		if c.token != "" {
			headers = []string{"Authorization", "Bearer " + c.token}
		}
		w := a.Do("GET", "/metrics", "", headers...)
		if w.Code != c.want || strings.Contains(w.Body.String(), "freshet_ready 1") != (c.want == http.StatusOK) {
			t.Errorf("%s: %d %.200s", name, w.Code, w.Body)
		}
	}
}

// Each count is there once what it counts has happened.
func TestMetricsCount(t *testing.T) {
	t.Parallel()
	a := apptest.Wire(t, io.Discard, "--publish-token", operatorToken, "--window-bytes", "4KiB", "--publish-rate", "5")
	publish := func(want int, body string, headers ...string) {
		t.Helper()
		if w := a.Do("POST", "/event/news", body, append(headers, "Authorization", "Bearer "+operatorToken)...); w.Code != want {
			t.Fatalf("publish: %d %s", w.Code, w.Body)
		}
	}
	live := ssetest.Get(t, a, "/event/news")
	publish(http.StatusCreated, "first", "Idempotency-Key", "k")
	for live.NextEvent().Data != "first" {
	}
	publish(http.StatusOK, "first", "Idempotency-Key", "k")
	publish(http.StatusBadRequest, "\xff")
	for range 3 {
		publish(http.StatusCreated, strings.Repeat("x", 2000)) // so that the first leaves the window
		live.NextEvent()
	}
	bulk := strings.Repeat(`{"topic":"news","data":"x"}`+"\n", 51)
	if w := a.Do("POST", "/event", bulk, "Content-Type", "application/x-ndjson", "Authorization", "Bearer "+operatorToken); w.Code != http.StatusRequestEntityTooLarge {
		t.Fatalf("too many at once: %d %s", w.Code, w.Body)
	}
	if w := a.Do("GET", "/history", "", "Authorization", "Bearer a-bad-token"); w.Code != http.StatusUnauthorized {
		t.Fatalf("a bad token: %d", w.Code)
	}
	replay := ssetest.Get(t, a, "/event/news?since=all")
	for replay.NextEvent().Data != "first" {
	}
	replay.Close()
	if e := ssetest.Get(t, a, "/event/news?last_event_id=nonsense"); e.NextEvent().Type != "gap" {
		t.Error("no gap")
	}
	var s scraped
	must(t, apptest.Until(t.Context(), func() bool { // a stream is counted after its client has left
		s = scrape(t, a)
		return s.value("freshet_streams_closed_total", "reason", "gone") == 1
	}))
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "freshet_build_info", []string{"commit", config.ThisBuild().Commit, "version", config.ThisBuild().Version}},
		{1, "freshet_ready", nil},
		{4, "freshet_publishes_total", []string{"result", "stored"}},
		{1, "freshet_publishes_total", []string{"result", "repeat"}},
		{52, "freshet_publishes_total", []string{"result", "refused"}},
		{0, "freshet_publishes_total", []string{"result", "failed"}},
		{1, "freshet_error_responses_total", []string{"code", "too_many_events"}},
		{1, "freshet_error_responses_total", []string{"code", "invalid_data"}},
		{1, "freshet_error_responses_total", []string{"code", "unauthorized"}},
		{0, "freshet_error_responses_total", []string{"code", "rate_limited"}},
		{4, "freshet_log_appends_total", []string{"result", "stored"}},
		{1, "freshet_log_appends_total", []string{"result", "repeat"}},
		{5, "freshet_log_append_duration_seconds", nil},
		{1, "freshet_log_first_sequence", nil},
		{4, "freshet_log_last_sequence", nil},
		{4, "freshet_log_events", nil},
		{1, "freshet_log_topics", nil},
		{4, "freshet_tail_last_sequence", nil},
		{4, "freshet_tail_events_total", nil},
		{6005, "freshet_tail_bytes_total", nil},
		{1, "freshet_nats_connected", nil},
		{3, "freshet_streams_opened_total", []string{"transport", "HTTP/1.1"}},
		{2, "freshet_streams", []string{"state", "active", "transport", "HTTP/1.1"}},
		{0, "freshet_streams", []string{"state", "parked", "transport", "HTTP/1.1"}},
		{5, "freshet_delivered_events_total", []string{"source", "window"}},
		{4, "freshet_delivery_latency_seconds", nil},
		{1, "freshet_gaps_total", []string{"reason", "unknown"}},
		{0, "freshet_relays", []string{"state", "live"}},
	} {
		if got := s.value(c.name, c.labels...); got != c.want {
			t.Errorf("%s%q is %g, want %g", c.name, c.labels, got, c.want)
		}
	}
	for name, labels := range map[string][]string{
		"freshet_delivered_events_total": {"source", "log"}, "freshet_replay_duration_seconds": nil, "freshet_stream_written_bytes_total": nil,
		"freshet_log_size_bytes": nil, "freshet_disk_free_bytes": nil,
	} {
		if got := s.value(name, labels...); !(got > 0) {
			t.Errorf("%s%q is %g", name, labels, got)
		}
	}
	h := s["freshet_delivery_latency_seconds"].GetMetric()[0].GetHistogram()
	if len(h.GetPositiveSpan()) == 0 || h.GetSchema() == 0 || len(h.GetBucket()) < 10 || h.GetSampleSum() <= 0 {
		t.Errorf("the histogram is not a native and a classic one: %v", h)
	}
}
