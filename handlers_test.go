package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/config"
	"freshet/event"
	"freshet/ssetest"

	"github.com/nats-io/nats-server/v2/server"
)

func TestTheWiredApplication(t *testing.T) {
	var logged lockedBuffer
	a := wire(t, &logged, "--cors-origin", "*", "--cors-origin", "https://partner.example")
	stream := ssetest.Get(t, a.router, "/event?ticket=secret-ticket", "Origin", "https://else.example")
	if h := stream.Header(); h.Get("Access-Control-Allow-Origin") != "*" || h.Get("X-Request-ID") == "" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a stream of another origin: %v", h)
	}
	first := stream.Next()
	if count := stream.NextEvent(); count.Data != "1" || count.Type != "message" {
		t.Errorf("count %+v", count)
	}

	for _, c := range []struct {
		origin string
		want   int
	}{{"", 201}, {"http://example.com", 201}, {"https://partner.example", 201}, {"https://else.example", 403}} {
		w := publishTo(a, "news", "from "+c.origin, "Origin", c.origin)
		if w.Code != c.want {
			t.Errorf("published from origin %q: %d %s", c.origin, w.Code, w.Body)
		}
	}
	if w := publishTo(a, "news", "x", "Authorization", "Bearer wrong"); w.Code != http.StatusUnauthorized {
		t.Errorf("with a wrong token: %d", w.Code)
	}
	for _, origin := range []string{"", "http://example.com", "https://partner.example"} {
		f := stream.NextEvent()
		for f.Type == "message" {
			f = stream.NextEvent() // a count
		}
		if f.Type != "news" || f.Data != "from "+origin {
			t.Errorf("event %+v, want the one from %q", f, origin)
		}
	}
	if w := get(a, "/"); w.Code != 200 || !strings.Contains(w.Body.String(), `id="cnt"`) || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("the page: %d %v", w.Code, w.Header())
	}
	if w := get(a, "/readyz"); w.Code != 200 {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]int{"/nowhere": 404, "/history/x": 404} {
		if w := get(a, path); w.Code != want || !strings.Contains(w.Body.String(), `{"error":{"code":`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	r := httptest.NewRequest(http.MethodPut, "/event", nil)
	w := httptest.NewRecorder()
	if a.router.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("PUT /event: %d %v", w.Code, w.Header())
	}
	stream.Close()

	log := logged.String()
	for _, want := range []string{"stream opened", "stream closed", "reason=gone", "from=" + first.ID, "events="} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	for _, secret := range []string{a.token.text, "secret-ticket", "Bearer"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log says %q:\n%s", secret, log)
		}
	}
}

// What a newcomer is shown works when it is pasted, and Ctrl-C ends it clean.
func TestTheReadyMessage(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "127.0.0.1:0")
	if !regexp.MustCompile(`curl -H "Authorization: Bearer \S{40,}" -d hello http://127\.0\.0\.1:\d+/event/news\n`).MatchString(p.ready) ||
		!strings.Contains(p.ready, "curl -N "+p.url+"/event\n") {
		t.Errorf("the ready message:\n%s", p.ready)
	}
	if info, err := os.Stat(dir + "/publish-token"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	stream := p.open(t, "/event", "")
	defer stream.close()
	id := p.publish(t, "news", "hello", "")
	for f := stream.next(t); f.Type != "news" || f.Data != "hello" || f.ID != id; f = stream.next(t) {
		if f.Type != "message" {
			t.Fatalf("event %+v", f)
		}
	}
	p.signal(t, os.Interrupt)
	var last event.Frame
	for stream.scanner.Scan() {
		last = stream.scanner.Frame()
	}
	if last.Type != "drain" || stream.scanner.Err() != nil {
		t.Errorf("the stream ended with %+v, %v", last, stream.scanner.Err())
	}
	if err := p.wait(t); err != nil {
		t.Errorf("ended with %v:\n%s", err, p.stderr.String())
	}

	// A second start: the same token, and the event is still there.
	again := start(t, dir, "127.0.0.1:0")
	if again.token != p.token {
		t.Error("another token after a restart")
	}
	replay := again.open(t, "/event/news?since=all", "")
	defer replay.close()
	if f := replay.next(t); f.ID != id || f.Data != "hello" {
		t.Errorf("replayed %+v", f)
	}
	again.signal(t, syscall.SIGTERM)
	if err := again.wait(t); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// Every event that was answered with 201 reaches a reader once and in order, however often
// the server is killed while publishers publish and the reader comes back.
func TestKilledAtAnyMoment(t *testing.T) {
	const rounds, publishers = 4, 3
	dir, addr := t.TempDir(), quietAddress(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var mu sync.Mutex
	acked := map[string]string{} // ID by data
	halt := make(chan struct{})
	p := start(t, dir, addr)
	token := p.token
	var publishing, reading sync.WaitGroup
	for n := range publishers {
		publishing.Go(func() {
			for i := 0; ; i++ {
				data := fmt.Sprintf("%d/%d", n, i)
				for {
					select {
					case <-halt:
						return
					case <-ctx.Done():
						return
					default:
					}
					// The key makes the retry after a lost answer harmless.
					if id, err := publish(ctx, "http://"+addr, token, "news", data, data); err == nil {
						mu.Lock()
						acked[data] = id
						mu.Unlock()
						break
					}
				}
			}
		})
	}
	seen, order := map[string]string{}, []string{}
	quit := make(chan struct{})
	reading.Go(func() {
		cursor := ""
		for {
			stream, err := openStream(ctx, "http://"+addr, "/event/news?since=all", cursor)
			if err == nil {
				for stream.scanner.Scan() {
					f := stream.scanner.Frame()
					cursor = f.ID
					if f.HasData && f.Type == "news" {
						mu.Lock()
						if had, twice := seen[f.Data]; twice {
							t.Errorf("event %s came twice, as %s and %s", f.Data, had, f.ID)
						}
						seen[f.Data] = f.ID
						order = append(order, f.ID)
						mu.Unlock()
					} else if f.Type == "gap" {
						t.Errorf("a gap: %s", f.Data)
					}
				}
				stream.close()
			}
			select {
			case <-quit:
				return
			case <-ctx.Done():
				return
			default:
			}
		}
	})
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	for range rounds {
		goal := count() + 20 + rand.IntN(60)
		until(ctx, t, "publishers go on", func() bool { return count() >= goal })
		p.signal(t, syscall.SIGKILL)
		_ = p.wait(t)
		p = start(t, dir, addr)
	}
	goal := count() + 50
	until(ctx, t, "publishers go on at last", func() bool { return count() >= goal })
	close(halt)
	publishing.Wait() // what is under way is answered
	until(ctx, t, "the reader has all", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for data := range acked {
			if seen[data] == "" {
				return false
			}
		}
		return true
	})
	close(quit)
	p.signal(t, syscall.SIGTERM)
	must(t, p.wait(t))
	reading.Wait()

	for data, id := range acked {
		if seen[data] != id {
			t.Errorf("event %s was answered with %s and seen as %s", data, id, seen[data])
		}
	}
	last := uint64(0)
	for _, text := range order {
		id, err := event.ParseID(text)
		if err != nil || id.Seq() <= last {
			t.Errorf("%s came after %d", text, last)
		}
		last = id.Seq()
	}
	t.Logf("%d events were acknowledged, %d seen, over %d kills", len(acked), len(seen), rounds)
}

// A log that cannot be written says so at once; what it holds is served all the same.
func TestADiskThatTakesNoMore(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	p := started(t, asServer(exec.CommandContext(t.Context(), "sh", "-c", `ulimit -f 1024; exec "$0" "$@"`, self, "--data", dir, "--listen", "127.0.0.1:0")))
	stream := p.open(t, "/event/n", "")
	defer stream.close()
	payload, stored := strings.Repeat("x", 100_000), 0
	for ; stored < 100; stored++ {
		if _, err = publish(t.Context(), p.url, p.token, "n", payload, ""); err != nil {
			break
		}
	}
	// The one under way when the disk fails may be stored or not; from then on it is clear.
	if stored == 0 || err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "may or may not") {
		t.Errorf("after %d events: %v", stored, err)
	}
	if _, err := publish(t.Context(), p.url, p.token, "n", "x", ""); err == nil || !strings.Contains(err.Error(), "507") || !strings.Contains(err.Error(), "log_full") {
		t.Errorf("the next event: %v", err)
	}
	ready, err := http.Get(p.url + "/readyz")
	must(t, err)
	must(t, ready.Body.Close())
	if ready.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz: %s", ready.Status)
	}
	for range stored {
		stream.next(t)
	}
	replay := p.open(t, "/event/n?since=all", "")
	defer replay.close()
	for range stored {
		replay.next(t)
	}
	p.signal(t, syscall.SIGTERM)
	must(t, p.wait(t))

	again := start(t, dir, "127.0.0.1:0") // with room again
	again.publish(t, "n", "y", "")
	all := again.open(t, "/event/n?since=all", "")
	defer all.close()
	for i := range stored + 1 {
		if f := all.next(t); (f.Data == "y") != (i == stored) {
			t.Errorf("event %d is %.10s", i, f.Data)
		}
	}
}

// One node's events reach the readers of all, and a reader of one resumes on another.
func TestTwoNodes(t *testing.T) {
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	a := wire(t, io.Discard, "--nats", nats.ClientURL(), "--counter-interval", "0")
	b := wire(t, io.Discard, "--nats", nats.ClientURL(), "--counter-interval", "0")

	onA := ssetest.Get(t, a.router, "/event/news")
	onA.Next()
	onB := ssetest.Get(t, b.router, "/event/news")
	onB.Next()
	publishTo(a, "news", "1")
	publishTo(b, "news", "2")
	for _, stream := range []*ssetest.Stream{onA, onB} {
		if first, second := stream.NextEvent(), stream.NextEvent(); first.Data != "1" || second.Data != "2" {
			t.Errorf("events %+v, %+v", first, second)
		}
	}
	publishTo(a, "news", "3")
	third := onA.NextEvent()
	onA.Close()
	publishTo(a, "news", "4")
	resumed := ssetest.Get(t, b.router, "/event/news", "Last-Event-ID", third.ID)
	if f := resumed.NextEvent(); f.Data != "4" {
		t.Errorf("resumed on the other node with %+v", f)
	}
	// Ahead of what this node may have seen yet, and no gap.
	w := publishTo(a, "news", "5")
	id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(w.Body.String())[1]
	ahead := ssetest.Get(t, b.router, "/event/news", "Last-Event-ID", id)
	publishTo(a, "news", "6")
	if f := ahead.NextEvent(); f.Data != "6" {
		t.Errorf("resumed ahead of the node with %+v", f)
	}
}

func TestWhatCannotStartSaysWhyInOneLine(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "127.0.0.1:0")
	taken := strings.TrimPrefix(p.url, "http://")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"port in use":       {[]string{"--data", t.TempDir(), "--listen", taken}, []string{"address already in use", "--listen"}},
		"folder in use":     {[]string{"--data", dir, "--listen", "127.0.0.1:0"}, []string{dir, "in use by another process", "--data"}},
		"NATS unreachable":  {[]string{"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--nats", "nats://127.0.0.1:1"}, []string{"127.0.0.1:1", "--nats"}},
		"a bad value":       {[]string{"--retry", "soon"}, []string{"--retry"}},
		"an unknown flag":   {[]string{"--colour", "blue"}, []string{"--colour"}},
		"folder is no such": {[]string{"--data", "/dev/null/x", "--listen", "127.0.0.1:0"}, []string{"/dev/null/x"}},
	} {
		cmd := command(t, c.args...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Count(stderr.String(), "\n") != 1 || stdout.Len() != 0 {
			t.Errorf("%s: %v\n%s%s", name, err, &stdout, &stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%s: %q does not say %q", name, stderr.String(), want)
			}
		}
	}
}

// wire makes the application with a temporary data folder and runs it until the test ends.
func wire(t *testing.T, logged io.Writer, args ...string) *app {
	t.Helper()
	cfg, err := config.Parse(append([]string{"--data", t.TempDir(), "--counter-interval", "20ms", "--sync", "1m"}, args...), func(string) string { return "" }, io.Discard)
	must(t, err)
	a, err := newApp(t.Context(), cfg, slog.New(slog.NewTextHandler(logged, nil)))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- a.hub.Run(ctx) }()
	go func() { done <- a.handlers.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, errors.Join(<-done, <-done, a.log.Close()))
	})
	<-a.hub.CaughtUp()
	return a
}

func get(a *app, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

func publishTo(a *app, topic, data string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/event/"+topic, strings.NewReader(data))
	r.Header.Set("Authorization", "Bearer "+a.token.text)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	a.router.ServeHTTP(w, r)
	return w
}

// until waits until the condition holds.
func until(ctx context.Context, t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in time", what)
		}
	}
}

// lockedBuffer is what several goroutines may write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
