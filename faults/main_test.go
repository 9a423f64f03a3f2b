package faults_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"freshet/bench/drive"
)

// patience bounds every test here; with a server in order, the longest takes half of it.
const patience = 2 * time.Minute

// binary is the server that the tests start, built with the race detector if they are.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "freshet")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "freshet")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the server does not build:", err)
		return 1
	}
	return m.Run()
}

// begin returns a context that ends with the test or its patience.
func begin(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start starts the server with its data in dir, and ends it with the test. Browsers come
// back fast unless the flags say otherwise.
func start(ctx context.Context, t *testing.T, dir string, flags ...string) *drive.Server {
	t.Helper()
	s, err := tryStart(ctx, dir, flags...)
	must(t, err)
	t.Cleanup(s.Kill)
	return s
}

func tryStart(ctx context.Context, dir string, flags ...string) (*drive.Server, error) {
	args := append([]string{"--data", dir}, flags...)
	for _, preset := range [][]string{{"--listen", "127.0.0.1:0"}, {"--retry", "10ms-50ms"}, {"--park", cmp.Or(os.Getenv("FRESHET_TEST_PARK"), "on")}} {
		if !slices.Contains(flags, preset[0]) {
			args = append(args, preset...)
		}
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = drive.Env()
	return drive.Start(cmd)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// follow runs the event source until the test ends or stop is called, which waits for its end.
func follow(ctx context.Context, t *testing.T, source drive.EventSource) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// missing ends a test that needs what this machine does not have. It says so, and where
// FRESHET_REQUIRE_FAULTS is set it is a failure.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("FRESHET_REQUIRE_FAULTS") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf("this test needs what is not here: "+format, args...)
}
