//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"freshet/bench/drive"
	"freshet/bench/load"
)

// The servers, by the names that flags and figures have for them.
const (
	minimal       = "minimal"
	freshet       = "freshet"
	freshetStream = "freshet-stream"
	plainGin      = "gin"
	goSSE         = "go-sse"
	r3labs        = "r3labs"
	nchan         = "nchan"
)

func serverNames() []string {
	return []string{minimal, freshet, freshetStream, plainGin, goSSE, r3labs, nchan}
}

// ours says whether it is Freshet, of which nothing may be lost.
func ours(name string) bool { return name == freshet || name == freshetStream }

// server is a process that serves.
type server struct {
	name    string
	target  load.Target
	counter string // path of a stream of counts, if it has one
	pids    []int
	stop    func()
}

var errNotHere = errors.New("is not on this machine")

// start starts the server of the name. The flags are for Freshet alone. The caller stops it.
func (b *bench) start(ctx context.Context, name string, flags ...string) (*server, error) {
	switch name {
	case freshet:
		return b.startFreshet(ctx, name, flags)
	case freshetStream:
		return b.startFreshet(ctx, name, append([]string{"--park", "off"}, flags...))
	case nchan:
		return b.startNchan(ctx)
	}
	s := &server{name: name, target: load.Target{Read: "/event", Publish: "/publish"}}
	if name == minimal {
		s.counter = "/counter"
	}
	cmd := exec.CommandContext(ctx, b.self, "serve", name) //nolint:gosec // this program
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.stop = func() { end(cmd) }
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(line, "ready ")
	if !ok {
		s.stop()
		return nil, fmt.Errorf("%s is not ready: %q, %w", name, line, err)
	}
	s.target.Address, s.pids = strings.TrimSpace(address), []int{cmd.Process.Pid}
	return s, nil
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may be gone
	_ = cmd.Wait()         // it was killed
}

// startFreshet starts it on an empty log. Its requests are not logged, as the others' are not.
func (b *bench) startFreshet(ctx context.Context, name string, flags []string) (*server, error) {
	data, err := os.MkdirTemp(b.dir, "data")
	if err != nil {
		return nil, err
	}
	args := append([]string{"--listen", "127.0.0.1:0", "--data", data, "--log-level", "warn", "--max-connections-per-address", "0"}, flags...)
	cmd := exec.CommandContext(ctx, b.freshet, args...) //nolint:gosec // just built
	cmd.Env = drive.Env()
	p, err := drive.Start(cmd)
	if err != nil {
		return nil, err
	}
	return &server{
		name: name,
		target: load.Target{
			Address: strings.TrimPrefix(p.URL, "http://"), Read: "/event/" + topic, Publish: "/event/" + topic, Bulk: "/event",
			Header: "Authorization: Bearer " + p.Token + "\r\n",
		},
		counter: "/event/counter",
		pids:    []int{p.Pid()},
		stop: func() {
			p.Kill()
			_ = os.RemoveAll(data) // the folder above goes too
		},
	}, nil
}

const nchanConfig = `daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log stderr error; worker_rlimit_nofile 20000;
%[2]sload_module %[3]s;
events { worker_connections 19000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen %[4]s backlog=4096;
    location = /event { nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }
    location = /publish { nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 200000; }
  }
}
`

// startNchan starts nginx with one worker, if it and the module are there.
func (b *bench) startNchan(ctx context.Context) (*server, error) {
	nginx, err := exec.LookPath("nginx")
	if _, missing := os.Stat(b.nchan); err != nil || missing != nil {
		return nil, fmt.Errorf("the module of nginx %w", errNotHere)
	}
	address, err := drive.QuietAddress(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "nginx")
	if err != nil {
		return nil, err
	}
	needs := "" // Debian's module has the kit in a file of its own
	if kit := filepath.Join(filepath.Dir(b.nchan), "ndk_http_module.so"); exists(kit) {
		needs = "load_module " + kit + ";\n"
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nchanConfig, dir, needs, b.nchan, address), 0o600); err != nil {
		return nil, err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { //nolint:gosec // nginx's worker may be another user
		return nil, err
	}
	cmd := exec.CommandContext(ctx, nginx, "-p", dir, "-c", config) //nolint:gosec // found on the path
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{name: nchan, target: load.Target{Address: address, Read: "/event", Publish: "/publish"}}
	s.stop = func() {
		_ = cmd.Process.Signal(os.Interrupt) // its worker ends with it
		_ = cmd.Wait()                       // by a signal
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = drive.Until(ctx, func() bool {
		s.pids = append([]int{cmd.Process.Pid}, children(cmd.Process.Pid)...)
		return len(s.pids) > 1
	})
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("nginx has no worker: %w", err)
	}
	return s, nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func children(pid int) (pids []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, field := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(field); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// memory is the server's proportional set size in bytes.
func (s *server) memory() (float64, error) {
	var sum float64
	for _, pid := range s.pids {
		n, err := drive.Memory(pid)
		if err != nil {
			return 0, err
		}
		sum += float64(n)
	}
	return sum, nil
}

// cpu is the processor time that the server has used.
func (s *server) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range s.pids {
		d, err := drive.CPU(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// firstID is the ID that a reader has who has read the first event alone, which was answered so.
func (s *server) firstID(answer []byte) (string, error) {
	if !ours(s.name) {
		return "0", nil // where there are IDs at all, that is how they begin
	}
	var a struct{ ID string }
	err := json.Unmarshal(answer, &a)
	return a.ID, err
}
