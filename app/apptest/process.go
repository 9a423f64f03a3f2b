package apptest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"freshet/app"
	"freshet/client"

	"github.com/gin-gonic/gin"
)

// serveVariable makes a test binary the server, or an example. [MainIfCommand] looks for it.
const serveVariable = "APPTEST_SERVE"

// Main is a TestMain: it runs the tests. In a process of [Command] it runs the server
// instead, so tests see the code that they were built with.
func Main(m *testing.M) {
	ServeIfCommand()
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// ServeIfCommand is the first part of [Main], for a TestMain that has more to do: in a process of [Command] it runs the server
// and exits.
func ServeIfCommand() {
	MainIfCommand(func() { os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) })
}

// Command returns the server as a command: this test binary, whose TestMain calls [Main],
// [ServeIfCommand] or [MainIfCommand], with the server's arguments.
func Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // this program
	cmd.Env = append(Env(), serveVariable+"=1")
	return cmd, nil
}

// Env is the environment without settings of the server and of OpenTelemetry: a developer may have some.
func Env() (env []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "FRESHET_") && !strings.HasPrefix(variable, "OTEL_") {
			env = append(env, variable)
		}
	}
	return env
}

// Process is a server process that is ready.
type Process struct {
	*client.Client // publishes once, without retries, so that tests see every refusal

	URL   string
	Token string // the publish token; empty if the server has keys for JSON web tokens

	cmd    *exec.Cmd
	out    Buffer
	log    Buffer
	exited chan struct{}
	err    error // once exited is closed
}

var (
	readyURL  = regexp.MustCompile(`dashboard +(https?://\S+)/\n`)
	readyFile = regexp.MustCompile(`token +is in (.+)\n`)
)

// StartProcess runs the command, which is a server without a configured publish token, and returns it once it is ready. The command's
// context ends the process. The caller waits for the process with Kill or Wait.
func StartProcess(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	_ = Until(context.Background(), func() bool { // the command's context ends it
		select {
		case <-p.exited:
			return true
		default:
			return strings.Count(p.Printed(), "\n\n") == 2 // the whole ready message
		}
	})
	url := readyURL.FindStringSubmatch(p.Printed())
	if url == nil {
		p.Kill()
		return nil, fmt.Errorf("the server is not ready: %w\n%s%s", cmp.Or(p.err, errors.New("its message has no URL")), p.Printed(), p.Log())
	}
	p.URL = url[1]
	err := p.readToken()
	if err == nil {
		p.Client, err = p.NewClient(client.Config{Attempts: 1})
	}
	if err != nil {
		p.Kill()
	}
	return p, err
}

// readToken reads the file that the ready message names, if it names one.
func (p *Process) readToken() error {
	file := readyFile.FindStringSubmatch(p.Printed())
	if file == nil {
		return nil
	}
	path := file[1]
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.cmd.Dir, path)
	}
	token, err := os.ReadFile(path)
	p.Token = strings.TrimSpace(string(token))
	return err
}

// NewClient returns a client of the server with the publish token and connections of its
// own. It outlives the process: the next one may have the address and the token.
func (p *Process) NewClient(cfg client.Config) (*client.Client, error) {
	cfg.URL, cfg.Token = p.URL, p.Token
	return client.New(cfg)
}

// Addr is the server's host:port.
func (p *Process) Addr() string {
	_, address, _ := strings.Cut(p.URL, "://")
	return address
}

// Printed is what the server has printed so far: the ready message.
func (p *Process) Printed() string { return p.out.String() }

// Log is what the server has logged so far.
func (p *Process) Log() string { return p.log.String() }

// Signal sends a signal to the process.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Exited is closed once the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits for the process's end and returns how it ended: nil for exit code 0.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("the server is still running: %w\n%s", ctx.Err(), p.Log())
	}
}

// Kill ends the process at once, as SIGKILL does, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// Get returns the body that the server serves at the path. The error is a [*client.Error]
// if the server refuses.
func (p *Process) Get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+p.Token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode < 300 {
		return body, err
	}
	var answer struct{ Error client.Error }
	_ = json.Unmarshal(body, &answer) // a proxy may answer with something else
	answer.Error.Status = response.StatusCode
	return nil, &answer.Error
}

// Stats are some of the server's figures.
type Stats struct {
	Connections int    `json:"connections"`
	Published   uint64 `json:"published"`
	Delivered   uint64 `json:"delivered"`
	Memory      uint64 `json:"memory_bytes"`
	LogEvents   uint64 `json:"log_events"`
	Goroutines  int    `json:"goroutines"`
	Stalled     uint64 `json:"stalled"`
}

// Stats opens a stream of the topic stats and returns its second event, which was made
// after the stream was opened: the stream itself is one of the connections.
func (p *Process) Stats(ctx context.Context) (stats Stats, err error) {
	r, err := p.Open(ctx, client.Subscription{Topics: []string{"stats"}})
	if err != nil {
		return stats, err
	}
	defer r.Close()
	for n := 0; n < 2; {
		f, err := r.Next()
		if err != nil {
			return stats, err
		}
		if f.Type == "stats" {
			n++
			if err := json.Unmarshal([]byte(f.Data), &stats); err != nil {
				return stats, err
			}
		}
	}
	return stats, nil
}
