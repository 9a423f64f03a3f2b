//go:build linux

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/bench/rivals"
	"freshet/bench/server"
	"freshet/client"
	"freshet/event"
	"freshet/ssetest"
)

var update = flag.Bool("update", false, "write the table of docs/why.md")

const (
	page      = "../docs/why.md"
	tableHead = "| Check |" // the table begins with it, and ends before the next line that is not of a table
)

// candidate is a server in the table, and what it claims.
type candidate struct {
	name  string
	start func(t *testing.T, c *ssetest.Conformance) (url string, err error)
	claim ssetest.Conformance
}

func candidates() []candidate {
	const origin = "https://app.example"
	return []candidate{
		{"Freshet", startFreshet, ssetest.Conformance{Type: "bench", Retry: true, Resumes: true, Heartbeat: time.Second, Origin: origin, Preflight: true}},
		{"Nchan", startNchan, ssetest.Conformance{Resumes: true, Heartbeat: time.Second, Origin: origin}},
		{"Centrifuge", handler("centrifuge"), ssetest.Conformance{Heartbeat: time.Second, Unwrap: publication}},
		{"go-sse", handler("go-sse"), ssetest.Conformance{Type: "bench", Resumes: true}},
		{"r3labs/sse", handler("r3labs"), ssetest.Conformance{Type: "bench", Resumes: true}},
		{"plain Gin", handler("gin"), ssetest.Conformance{Type: "bench"}},
	}
}

// The table of docs/why.md is what the checks find. Only the column of a server that is not installed is taken as it is.
func TestConformance(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	first := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, tableHead) })
	if first < 0 {
		t.Fatalf("%s has no line that begins with %q", page, tableHead)
	}
	last := first
	for last < len(lines) && strings.HasPrefix(lines[last], "|") {
		last++
	}
	servers := candidates()
	columns := make([][]string, len(servers))
	var running sync.WaitGroup
	for i, c := range servers {
		running.Go(func() { columns[i] = column(t, c, lines[first:last]) })
	}
	running.Wait()
	if t.Failed() {
		return
	}
	table := make([]string, len(columns[0]))
	for _, column := range columns {
		for i, cell := range column {
			table[i] += cell
		}
	}
	got := slices.Concat(lines[:first], table, lines[last:])
	if slices.Equal(got, lines) {
		return
	}
	if !*update {
		t.Fatalf("%s has another table; look at the difference after: go test -C bench -run Conformance -update\n%s", page, strings.Join(table, "\n"))
	}
	if err := os.WriteFile(page, []byte(strings.Join(got, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// column returns a server's cells, the first with those of the checks' names before it.
func column(t *testing.T, c candidate, table []string) []string {
	cfg := c.claim
	url, err := c.start(t, &cfg)
	if errors.Is(err, server.ErrNotInstalled) && os.Getenv("FRESHET_REQUIRE_NCHAN") != "1" {
		t.Run(c.name, func(t *testing.T) { t.Skipf("%v, so its column is not checked", err) })
		return kept(t, c.name, table)
	}
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return nil
	}
	cfg.Patience = 3 * time.Second
	cells := []string{" " + c.name + " |", "---|"}
	checks := []string{tableHead, "|---|"}
	for _, r := range ssetest.Check(t.Context(), url, cfg) {
		checks = append(checks, fmt.Sprintf("| `%s` |", r.Check))
		cells = append(cells, map[ssetest.Outcome]string{ssetest.Pass: " yes |", ssetest.Fail: " no |", ssetest.Skip: " – |"}[r.Outcome])
		if r.Outcome == ssetest.Fail {
			t.Logf("%s: %s: %s", c.name, r.Check, r.Detail)
		}
	}
	if c.name == candidates()[0].name {
		for i := range cells {
			cells[i] = checks[i] + cells[i]
		}
	}
	return cells
}

// kept is the server's column as the table has it.
func kept(t *testing.T, name string, table []string) (cells []string) {
	at := slices.Index(strings.Split(table[0], "|"), " "+name+" ")
	for _, line := range table {
		if all := strings.Split(line, "|"); at > 0 && at < len(all) {
			cells = append(cells, all[at]+"|")
		}
	}
	if len(cells) != len(table) {
		t.Errorf("%s has no column %s", page, name)
	}
	return cells
}

// handler starts a rival on net/http.
func handler(name string) func(t *testing.T, cfg *ssetest.Conformance) (string, error) {
	return func(t *testing.T, cfg *ssetest.Conformance) (string, error) {
		rival, err := rivals.Handler(name)
		if err != nil {
			return "", err
		}
		var open atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				open.Add(1)
				defer open.Add(-1)
			}
			rival.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		cfg.Publish = post(s.URL + "/publish")
		cfg.Readers = func(context.Context) (int, error) { return int(open.Load()), nil }
		return s.URL + "/event", nil
	}
}

func startFreshet(t *testing.T, cfg *ssetest.Conformance) (string, error) {
	build, err := server.Build(t.Context(), "")
	if err != nil {
		return "", err
	}
	t.Cleanup(build.Close)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	start := func(flags ...string) (*server.Process, error) {
		p, err := build.Start(ctx, append(flags, "--heartbeat", "1s", "--log-level", "error")...)
		if err == nil {
			t.Cleanup(p.Stop)
		}
		return p, err
	}
	p, err := start()
	if err != nil {
		return "", err
	}
	full, err := start("--max-connections", "1")
	if err != nil {
		return "", err
	}
	_, err = get(ctx, full.URL()+"/event/any", nil, func(r io.Reader) error { // stays open
		_, err := r.Read(make([]byte, 1))
		return err
	})
	if err != nil {
		return "", err
	}
	publisher, err := client.New(client.Config{URL: p.URL(), Token: p.Token})
	if err != nil {
		return "", err
	}
	cfg.Publish = func(ctx context.Context, data string) error {
		_, err := publisher.Publish(ctx, client.Message{Topic: "bench", Data: data})
		return err
	}
	cfg.Busy = full.URL() + "/event/any"
	cfg.Readers = func(ctx context.Context) (int, error) {
		var answer struct{ Total int }
		closeBody, err := get(ctx, p.URL()+"/connections", http.Header{"Authorization": {"Bearer " + p.Token}}, func(r io.Reader) error {
			return json.NewDecoder(r).Decode(&answer)
		})
		return answer.Total, errors.Join(err, closeBody())
	}
	return p.URL() + "/event/bench", nil
}

var nchanReaders = regexp.MustCompile(`subscribers: (\d+)`)

func startNchan(t *testing.T, cfg *ssetest.Conformance) (string, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	p, err := server.StartNchan(ctx, server.NchanModule)
	if err != nil {
		return "", err
	}
	t.Cleanup(p.Stop)
	cfg.Publish = post(p.URL() + "/publish")
	cfg.Readers = func(ctx context.Context) (n int, err error) {
		closeBody, err := get(ctx, p.URL()+"/status", nil, func(r io.Reader) error {
			text, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			match := nchanReaders.FindSubmatch(text)
			if match == nil {
				return fmt.Errorf("no number of subscribers: %s", text)
			}
			n, err = strconv.Atoi(string(match[1]))
			return err
		})
		return n, errors.Join(err, closeBody())
	}
	return p.URL() + "/stream", nil
}

// publication returns the data of an event of Centrifuge.
func publication(f event.Frame) (data string, ok bool) {
	var reply struct {
		Push *struct {
			Pub *struct{ Data *string }
		}
	}
	if json.Unmarshal([]byte(f.Data), &reply) != nil || reply.Push == nil || reply.Push.Pub == nil || reply.Push.Pub.Data == nil {
		return "", false
	}
	return *reply.Push.Pub.Data, true
}

// post publishes to a rival.
func post(url string) func(ctx context.Context, data string) error {
	return func(ctx context.Context, data string) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(data)))
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		if response.StatusCode/100 != 2 {
			err = errors.New(response.Status)
		}
		return errors.Join(err, response.Body.Close())
	}
}

// get reads the body of a response. The caller closes it.
func get(ctx context.Context, url string, header http.Header, read func(io.Reader) error) (closeBody func() error, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return func() error { return nil }, err
	}
	return response.Body.Close, read(response.Body)
}
