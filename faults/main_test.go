// Package faults_test breaks a real server process: it is killed, drained, starved of disk
// and memory, cut off, and put behind proxies. The process is this test binary.
//
// Tests are small, so that all of them take half a minute. With -tags full they have the
// sizes of docs/guarantees.md, and those that only wait for minutes are there too.
package faults_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

func TestMain(m *testing.M) {
	serveNATSIfCommand()
	// These tests wait more than they work. A -parallel on the command line is parsed later.
	if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
		panic(err)
	}
	apptest.Main(m)
}

// heavy marks a test that loads the machine and measures time: at full size it runs alone.
func heavy(t *testing.T) {
	if !full {
		t.Parallel()
	}
}

// begin returns a context that ends with the test or its patience.
func begin(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start starts the server with its data in dir, and ends it with the test. Readers come
// back fast unless the flags say otherwise.
func start(ctx context.Context, t *testing.T, dir string, flags ...string) *apptest.Process {
	t.Helper()
	args := append([]string{"--data", dir}, flags...)
	for _, preset := range [][]string{{"--listen", "127.0.0.1:0"}, {"--retry", "10ms-50ms"}, {"--park", cmp.Or(os.Getenv("FRESHET_TEST_PARK"), "on")}} {
		if !slices.Contains(flags, preset[0]) {
			args = append(args, preset...)
		}
	}
	return startCommand(t, command(ctx, t, args...))
}

// command is the server with exactly these arguments.
func command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd, err := apptest.Command(ctx, args...)
	must(t, err)
	return cmd
}

func startCommand(t *testing.T, cmd *exec.Cmd) *apptest.Process {
	t.Helper()
	s, err := apptest.StartProcess(cmd)
	must(t, err)
	t.Cleanup(s.Kill)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish publishes one event, which the server has to accept.
func publish(ctx context.Context, t *testing.T, s *apptest.Process, topic, data string) event.ID {
	t.Helper()
	id, err := s.Publish(ctx, client.Message{Topic: topic, Data: data})
	if err != nil {
		t.Fatalf("publish: %v\n%s", err, tail(s.Log()))
	}
	return id
}

// asBrowser is the header of a browser's EventSource.
func asBrowser() http.Header { return http.Header{"Accept": {"text/event-stream"}} }

// open opens a stream as a browser does, until the test ends.
func open(ctx context.Context, t *testing.T, c *client.Client, s client.Subscription) *client.Reader {
	t.Helper()
	if s.Header == nil {
		s.Header = asBrowser()
	}
	r, err := c.Open(ctx, s)
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// next returns the next frame of the type that has data; of any type if it is empty.
func next(r *client.Reader, typ string) (client.Frame, error) {
	for {
		f, err := r.Next()
		if err != nil || f.HasData && (typ == "" || f.Type == typ) {
			return f, err
		}
	}
}

// follow reads as a browser does until the test ends or stop is called, which waits for the
// end. A browser stops for good at a status other than 200, so that fails the test.
func follow(ctx context.Context, t *testing.T, c *client.Client, s client.Subscription, handle func(client.Event)) (stop func()) {
	t.Helper()
	lost := s.Disconnected
	s.Header = asBrowser()
	s.Disconnected = func(err error, wait time.Duration) {
		var refused *client.Error
		if errors.As(err, &refused) {
			t.Errorf("a browser got %v", err)
		}
		if lost != nil {
			lost(err, wait)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		for e, err := range c.Subscribe(ctx, s) {
			if err != nil {
				done <- err
				return
			}
			handle(e)
		}
		done <- errors.New("the stream ended without an error")
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a reader ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// newClient returns a client of the server that publishes again until it succeeds.
func newClient(t *testing.T, s *apptest.Process, cfg client.Config) *client.Client {
	t.Helper()
	c, err := s.NewClient(cfg)
	must(t, err)
	return c
}

// tail is the end of a log of thousands of streams.
func tail(log string) string { return log[max(0, len(log)-2000):] }

// missing ends a test that needs what this machine does not have. It says so, and where
// FRESHET_REQUIRE_FAULTS is set it is a failure.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("FRESHET_REQUIRE_FAULTS") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf("this test needs what is not here: "+format, args...)
}
