package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"freshet/event"

	"github.com/gin-gonic/gin"
)

// runMain in the environment makes the test binary be the server, so that it can be
// killed as one.
const runMain = "FRESHET_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// process is a server in a process of its own.
type process struct {
	cmd        *exec.Cmd
	ready      string // its ready message
	url, token string
	stderr     lockedBuffer
	exited     chan error
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	return asServer(exec.CommandContext(t.Context(), self, args...))
}

func asServer(cmd *exec.Cmd) *exec.Cmd {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "FRESHET_") { // a developer may have set some
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, runMain+"=1")
	return cmd
}

// start starts a server and waits until it is ready.
func start(t *testing.T, dir, addr string) *process {
	t.Helper()
	return started(t, command(t, "--data", dir, "--listen", addr, "--retry", "10ms-50ms"))
}

// started starts the command, which is a server, and waits until it is ready.
func started(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, exited: make(chan error, 1)}
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may be gone
	})
	lines := bufio.NewScanner(stdout)
	for !strings.Contains(p.ready, "subscribe") && lines.Scan() {
		p.ready += lines.Text() + "\n"
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdout) // until it ends
		p.exited <- p.cmd.Wait()
	}()
	m := regexp.MustCompile(`(http://\S+)/#token=(\S+)`).FindStringSubmatch(p.ready)
	if m == nil {
		t.Fatalf("no ready message: %s%s", p.ready, p.stderr.String())
	}
	p.url, p.token = m[1], m[2]
	return p
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	must(t, p.cmd.Process.Signal(s))
}

func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.exited:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("the server does not end:\n%s", p.stderr.String())
		return nil
	}
}

func (p *process) publish(t *testing.T, topic, data, key string) string {
	t.Helper()
	id, err := publish(t.Context(), p.url, p.token, topic, data, key)
	must(t, err)
	return id
}

func publish(ctx context.Context, url, token, topic, data, key string) (id string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/event/"+topic, strings.NewReader(data))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Idempotency-Key", key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`"id":"([^"]+)"`).FindSubmatch(body)
	if answer.StatusCode > 201 || m == nil {
		return "", fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(m[1]), nil
}

type tcpStream struct {
	scanner *event.Scanner
	close   func()
}

func (p *process) open(t *testing.T, path, lastEventID string) *tcpStream {
	t.Helper()
	s, err := openStream(t.Context(), p.url, path, lastEventID)
	must(t, err)
	return s
}

func openStream(ctx context.Context, url, path, lastEventID string) (*tcpStream, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(errors.New(answer.Status), answer.Body.Close())
	}
	return &tcpStream{event.NewScanner(answer.Body, 1<<20), func() { _ = answer.Body.Close() }}, nil
}

// next returns the next frame that dispatches an event.
func (s *tcpStream) next(t *testing.T) event.Frame {
	t.Helper()
	for s.scanner.Scan() {
		if f := s.scanner.Frame(); f.HasData {
			return f
		}
	}
	t.Fatalf("the stream ended: %v", s.scanner.Err())
	return event.Frame{}
}
