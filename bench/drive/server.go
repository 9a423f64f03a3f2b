package drive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is a server process that Start has started.
type Server struct {
	*Client
	Ready string // the ready message

	cmd    *exec.Cmd
	log    lines
	exited chan struct{}
	err    error // once exited is closed
}

var readyLink = regexp.MustCompile(`(https?://\S+)/#token=(\S+)`)

// Start runs the command, which is a server without a publish token of its own, and
// returns once it is ready. The command's context ends the process. The caller waits for it.
func Start(cmd *exec.Cmd) (*Server, error) {
	s := &Server{cmd: cmd, exited: make(chan struct{})}
	cmd.Stderr = &s.log
	// A pipe of our own: that of exec must not be waited for while it is read.
	stdout, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = in
	if err := errors.Join(cmd.Start(), in.Close()); err != nil {
		return nil, errors.Join(err, stdout.Close())
	}
	go func() {
		s.err = cmd.Wait()
		close(s.exited)
	}()
	printed := bufio.NewScanner(stdout)
	for !strings.Contains(s.Ready, "subscribe") && printed.Scan() {
		s.Ready += printed.Text() + "\n"
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdout) // until the process ends
		_ = stdout.Close()
	}()
	link := readyLink.FindStringSubmatch(s.Ready)
	if link == nil {
		_ = cmd.Process.Kill() // it may be gone
		<-s.exited
		return nil, fmt.Errorf("the server is not ready: %w\n%s%s", s.err, s.Ready, s.Log())
	}
	s.Client = NewClient(link[1], link[2])
	return s, nil
}

// Env is the environment without settings of the server: a developer may have some.
func Env() (env []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "FRESHET_") {
			env = append(env, variable)
		}
	}
	return env
}

// QuietAddress returns an address on 127.0.0.1 that nobody listens on, with a port that the
// system gives to no outgoing connection: a server can come back to it.
func QuietAddress(ctx context.Context) (string, error) {
	for range 1000 {
		address := "127.0.0.1:" + strconv.Itoa(10_000+rand.IntN(20_000)) //nolint:gosec // a port, no secret
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port")
}

// Pid is the process's ID.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Log is what the server has logged so far.
func (s *Server) Log() string { return s.log.String() }

// Signal sends a signal to the process.
func (s *Server) Signal(signal os.Signal) error { return s.cmd.Process.Signal(signal) }

// Exited is closed once the process has ended.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Wait waits for the process's end and returns how it ended: nil for exit code 0.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.exited:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("the server runs on: %w\n%s", ctx.Err(), s.Log())
	}
}

// Kill ends the process at once, as SIGKILL does, and waits for it.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may be gone
	<-s.exited
}

// Until asks again and again whether the condition holds.
func Until(ctx context.Context, holds func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// lines is what a process writes while others read it.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lines) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lines) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
