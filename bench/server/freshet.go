package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Freshet is the build of Freshet that is measured.
type Freshet struct {
	Dir string // a temporary folder, which Close removes

	binary string
}

// Build returns the binary as a Freshet. Without a binary it builds the source in the folder above.
// The caller closes it.
func Build(ctx context.Context, binary string) (*Freshet, error) {
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		return nil, err
	}
	f := &Freshet{Dir: dir, binary: binary}
	if binary != "" {
		return f, nil
	}
	f.binary = filepath.Join(dir, "freshet")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", f.binary, ".") //nolint:gosec // a path of ours
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		f.Close()
		return nil, fmt.Errorf("build Freshet: %w\n%s", err, out)
	}
	return f, nil
}

// Close removes the folder.
func (f *Freshet) Close() { _ = os.RemoveAll(f.Dir) } // what is left is in the temporary folder

// publishToken is the token of every Freshet. The ready message has the address, but no token.
const publishToken = "a-token-for-benchmarks"

var readyLink = regexp.MustCompile(`dashboard +https?://([^/\s]+)/`)

// Start starts Freshet with the flags on an empty log.
func (f *Freshet) Start(ctx context.Context, flags ...string) (*Process, error) {
	dir, err := os.MkdirTemp(f.Dir, "server")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(logFile(dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has it too
	args := slices.Concat([]string{"--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data")}, flags)
	cmd := exec.CommandContext(ctx, f.binary, args...) //nolint:gosec // the binary under test
	cmd.Stderr = log
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { // a developer may have settings
		return strings.HasPrefix(variable, "FRESHET_")
	})
	cmd.Env = append(cmd.Env, "FRESHET_PUBLISH_TOKEN="+publishToken)
	p, err := Start(cmd, readyLink)
	if err != nil {
		text, _ := os.ReadFile(log.Name()) // it only explains the error
		return nil, fmt.Errorf("%w%s", err, text)
	}
	p.dir, p.Token = dir, publishToken
	return p, nil
}

func logFile(dir string) string { return filepath.Join(dir, "log") }

// Log returns what Freshet has logged.
func (p *Process) Log() string {
	text, _ := os.ReadFile(logFile(p.dir)) // an unreadable log has nothing to say
	return string(text)
}
