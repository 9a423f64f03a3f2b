package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"freshet/app/apptest"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/launchdarkly/eventsource"
	"github.com/tmaxmax/go-sse"
)

// Readers that others wrote read our streams.

func TestInteropLaunchDarkly(t *testing.T) {
	t.Parallel()
	interoperate(t, readLaunchDarkly, true)
}

func TestInteropGoSSE(t *testing.T) {
	t.Parallel()
	interoperate(t, readGoSSE, true)
}

func TestInteropNode(t *testing.T) {
	t.Parallel()
	modules := installNodeModules(t)
	for _, kind := range []string{"eventsource", "eventsource-parser"} {
		// The parser of both ignores the ID of a frame without data.
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			interoperate(t, readNode(modules, kind), false)
		})
	}
}

// arrival is an event as a reader dispatched it.
type arrival struct {
	Type string `json:"type"`
	Data string `json:"data"`
	ID   string `json:"id"`
}

// reader reads the stream at the URL until the test ends. It listens for the event types, if it
// needs to know them.
type reader func(t *testing.T, url string, types []string) <-chan arrival

// unread is how many events fit between a reader and the test, so that a reader never blocks.
const unread = 1 << 16

// specimens have data that is hard to send in lines. It arrives unchanged, except that each line end
// becomes LF.
var specimens = []struct{ topic, typ, data string }{
	{"news", "", "plain"},
	{"news", "", "CR\rLF\nCRLF\r\nLF CR\n\rend"},
	{"news", "", "  leading spaces\n one\n\ttab"},
	{"news", "", "a trailing newline\n"},
	{"news", "", "\n\n"},
	{"news", "", ""},
	{"news", "", "👩‍👩‍👧‍👦 漢字 ünïcödé \U0001F600"},
	{"news", "", "no line ends: \u2028 \u2029 \u0085 \v \f"},
	{"news", "", "\ufeffmark\x00nul"},
	{"news", "", "id: 7\nevent: gap\nretry: 1\n: comment\n\ndata"},
	{"news", "", strings.Repeat("€uro 😀 and so on\n", 2000)},
	{"news", "", `{"json": [1, 2.50, "\n"]}`},
	{"news", "message", "of the type that is not named"},
	{"orders.new", "order placed: ✓", "of a type of its own"},
	{"städte.köln", "", "of a topic that needs escaping"},
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// interoperate checks that a reader of all topics gets the count, specimens and numbers, each once, in
// order and with its ID. The server is away from the reader's address while the specimens are published,
// and again for some of the numbers.
//
// By the standard a reader can resume if it only has the ID of the stream's opening. A reader that ignores
// that ID gets an event first.
func interoperate(t *testing.T, read reader, resumesFromOpening bool) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	types := []string{"message", "news", "order placed: ✓", "städte.köln", "numbers", "gap", "drain"}
	a := &arrivals{t: t, late: ctx.Done(), in: read(t, s.URL+"/event", types)}
	a.until("counts", func() bool { return len(a.counts) >= 3 })

	var want []arrival
	publish := func(s *apptest.Server, topic, typ, data, key string) error {
		id, err := s.Publish(ctx, topic, typ, data, key)
		if err == nil {
			want = append(want, arrival{cmp.Or(typ, topic), lineEnds.Replace(data), id})
		}
		return err
	}
	if !resumesFromOpening {
		must(t, publish(s, "news", "", "first", ""))
		a.until("the first event", func() bool { return len(a.events) >= 1 })
	}
	s.Stop()
	// At another address, so that the reader cannot reconnect yet.
	elsewhere := apptest.Start(t, dir, "")
	for _, e := range specimens {
		must(t, publish(elsewhere, e.topic, e.typ, e.data, ""))
	}
	elsewhere.Stop()
	s = apptest.Start(t, dir, s.Addr)
	a.until("the specimens", func() bool { return len(a.events) >= len(want) })
	if diff := gocmp.Diff(want, a.events); diff != "" {
		t.Fatalf("specimens, - as published, + as they arrived:\n%s", diff)
	}

	// Otherwise the stream might be drained before its first count, and openings would not see it.
	a.until("counts of the second connection", func() bool { return a.openings() >= 2 })
	want, a.events = nil, nil
	publishNext := func(s *apptest.Server) error {
		number := strconv.Itoa(len(want))
		// If the response was lost, the next attempt returns the first one's ID.
		return publish(s, "numbers", "", number, "number "+number)
	}
	publishSome := func(s *apptest.Server) {
		t.Helper()
		for range 60 {
			must(t, publishNext(s))
		}
	}
	publishSome(s)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Stop()
	}()
	for publishNext(s) == nil {
	}
	<-stopped
	elsewhere = apptest.Start(t, dir, "")
	publishSome(elsewhere)
	elsewhere.Stop()
	s = apptest.Start(t, dir, s.Addr)
	publishSome(s)
	a.until("the reader to come back", func() bool { return a.openings() >= 3 })
	publishSome(s)
	a.until("the numbers", func() bool { return len(a.events) >= len(want) })
	seen := len(a.counts)
	a.until("more counts", func() bool { return len(a.counts) >= seen+3 }) // an event that came twice would be here by then

	if diff := gocmp.Diff(want, a.events); diff != "" {
		t.Errorf("%d numbers published, %d arrived, - as published, + as they arrived:\n%s", len(want), len(a.events), diff)
	}
	if a.drains != 2 {
		t.Errorf("told of %d drains, want 2", a.drains)
	}
	for i, n := range a.counts {
		if n != 1 && (i == 0 || n != a.counts[i-1]+1) {
			t.Fatalf("counts %v: want 1, 2, 3 and so on, from 1 again after each restart", a.counts)
		}
	}
}

// arrivals sorts the events that a reader dispatched.
type arrivals struct {
	t      *testing.T
	late   <-chan struct{} // closed when the test has waited too long
	in     <-chan arrival
	counts []int
	drains int
	events []arrival // all the others
}

// openings returns how many connections have begun to count.
func (a *arrivals) openings() (n int) {
	for _, count := range a.counts {
		if count == 1 {
			n++
		}
	}
	return n
}

// until receives events until done returns true.
func (a *arrivals) until(what string, done func() bool) {
	a.t.Helper()
	for !done() {
		select {
		case e, open := <-a.in:
			if !open {
				a.t.Fatalf("the reader ended before %s", what)
			}
			count, err := strconv.Atoi(e.Data)
			switch {
			case e.Type == "message" && err == nil:
				a.counts = append(a.counts, count)
			case e.Type == "drain":
				a.drains++
			default:
				a.events = append(a.events, e)
			}
		case <-a.late:
			a.t.Fatalf("waited for %s; until now: %d events, the last %.200q; %d drains; counts %v",
				what, len(a.events), a.events[max(0, len(a.events)-2):], a.drains, a.counts)
		}
	}
}

func readLaunchDarkly(t *testing.T, url string, _ []string) <-chan arrival {
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(t, err)
	stream, err := eventsource.SubscribeWithRequestAndOptions(r,
		eventsource.StreamOptionErrorHandler(func(error) eventsource.StreamErrorHandlerResult {
			return eventsource.StreamErrorHandlerResult{CloseNow: ctx.Err() != nil}
		}))
	must(t, err)
	out, done := make(chan arrival, unread), make(chan struct{})
	go func() {
		defer close(done)
		for e := range stream.Events {
			// It also dispatches frames without data, which the standard does not.
			if e.Event() != "" || e.Data() != "" {
				out <- arrival{cmp.Or(e.Event(), "message"), e.Data(), e.Id()}
			}
		}
	}()
	t.Cleanup(func() {
		cancel() // Close alone waits forever if an event arrives meanwhile
		<-done
		stream.Close()
	})
	return out
}

func readGoSSE(t *testing.T, url string, _ []string) <-chan arrival {
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(t, err)
	out, done := make(chan arrival, unread), make(chan struct{})
	connection := sse.NewConnection(r)
	connection.SubscribeToAll(func(e sse.Event) {
		// It also dispatches frames without data, which the standard does not.
		if e.Type != "" || e.Data != "" {
			out <- arrival{cmp.Or(e.Type, "message"), e.Data, e.LastEventID}
		}
	})
	go func() {
		defer close(done)
		if err := connection.Connect(); !errors.Is(err, context.Canceled) {
			t.Errorf("gave up: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return out
}

// readNode runs interop/reader.js.
func readNode(modules, kind string) reader {
	return func(t *testing.T, url string, types []string) <-chan arrival {
		dir := t.TempDir()
		script, err := os.ReadFile(filepath.Join("interop", "reader.js"))
		err = errors.Join(err,
			os.WriteFile(filepath.Join(dir, "reader.js"), script, 0o600),
			os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o600),
			os.Symlink(modules, filepath.Join(dir, "node_modules")))
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		node := exec.CommandContext(ctx, "node", append([]string{filepath.Join(dir, "reader.js"), kind, url}, types...)...)
		node.Stderr = t.Output()
		stdout, err := node.StdoutPipe()
		if err == nil {
			err = node.Start()
		}
		if err != nil {
			cancel()
			t.Fatal(err)
		}
		out, done := make(chan arrival, unread), make(chan struct{})
		go func() {
			defer close(done)
			defer close(out)
			lines := bufio.NewReader(stdout)
			for {
				line, err := lines.ReadBytes('\n')
				if err != nil {
					return
				}
				var e arrival
				if err := json.Unmarshal(line, &e); err != nil {
					t.Errorf("%.200q: %v", line, err)
				}
				out <- e
			}
		}()
		t.Cleanup(func() {
			cancel()
			<-done
			_ = node.Wait() // killed
		})
		return out
	}
}

// installNodeModules returns a folder node_modules with the packages of interop/package.json.
func installNodeModules(t *testing.T) string {
	t.Helper()
	return installPackages(t, "interop")
}

// installPackages returns a folder node_modules with the packages of the folder's package.json. npm installs them once for this user.
func installPackages(t *testing.T, folder string) string {
	t.Helper()
	requireNode(t, "node", "npm")
	manifest, err := os.ReadFile(filepath.Join(folder, "package.json"))
	must(t, err)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	cache = filepath.Join(cache, "freshet-interop")
	sum := sha256.Sum256(manifest)
	dir := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}

	// A temporary folder first, so that another test run never sees half of it.
	must(t, os.MkdirAll(cache, 0o700))
	temp, err := os.MkdirTemp(cache, "install-") //nolint:usetesting // a rename stays within a file system
	must(t, err)
	defer func() { _ = os.RemoveAll(temp) }() // gone once renamed
	must(t, os.WriteFile(filepath.Join(temp, "package.json"), manifest, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefer-offline", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = temp
	if output, err := npm.CombinedOutput(); err != nil {
		apptest.Lacking(t, nodeVariable, "npm could not install the packages of %s/package.json: %v\n%s", folder, err, output)
	}
	if err := os.Rename(temp, dir); err != nil {
		if _, err := os.Stat(modules); err != nil { // else another run was first
			t.Fatal(err)
		}
	}
	return modules
}

const nodeVariable = "FRESHET_REQUIRE_NODE"

// requireNode ends the test if a program is missing, or node is too old.
func requireNode(t *testing.T, programs ...string) {
	t.Helper()
	const install = "install Node.js 20 or newer with npm, on Debian the packages nodejs and npm"
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			apptest.Lacking(t, nodeVariable, "%v: "+install, err)
		}
	}
	version, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	must(t, err)
	if major, err := strconv.Atoi(strings.TrimPrefix(strings.Split(string(version), ".")[0], "v")); err != nil || major < 20 {
		apptest.Lacking(t, nodeVariable, "Node.js %s is too old: "+install, version)
	}
}
