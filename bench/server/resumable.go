package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"freshet/bench/rivals/resumable"
)

// Resumable starts servers of the npm package resumable-stream, with Redis.
type Resumable struct{ dir string }

// NewResumable installs the packages. The error says what this machine lacks.
func NewResumable(ctx context.Context, f *Freshet) (*Resumable, error) {
	for _, program := range []string{"redis-server", "node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is not in PATH: on Debian, install redis-server, nodejs and npm", program)
		}
	}
	dir := filepath.Join(f.Dir, "resumable")
	if err := os.CopyFS(dir, resumable.Files); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm install: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return &Resumable{dir}, nil
}

var redisReady = regexp.MustCompile("Ready to accept connections")

// Start starts Redis with an append-only file, and a server that uses it. Redis calls fsync before it answers a write, as Freshet does.
func (r *Resumable) Start(ctx context.Context) (node, redis *Process, err error) {
	addresses, err := freePorts(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(r.dir, "redis")
	if err != nil {
		return nil, nil, err
	}
	host, port, _ := strings.Cut(addresses[0], ":")
	redis, err = Start(exec.CommandContext(ctx, "redis-server", "--bind", host, "--port", port, "--dir", dir, //nolint:gosec // an address of ours
		"--save", "", "--appendonly", "yes", "--appendfsync", "always"), redisReady)
	if err != nil {
		return nil, nil, err
	}
	redis.dir = dir
	cmd := exec.CommandContext(ctx, "node", "server.mjs")
	cmd.Dir, cmd.Stderr = r.dir, os.Stderr
	cmd.Env = append(os.Environ(), "REDIS_URL=redis://"+addresses[0])
	if node, err = Start(cmd, readyAddress); err != nil {
		redis.Stop()
		return nil, nil, errors.Join(errors.New("the server of resumable-stream"), err)
	}
	return node, redis, nil
}
