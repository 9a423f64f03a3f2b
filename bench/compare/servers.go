package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"freshet/bench/load"
	"freshet/bench/server"
)

// The servers' names in flags and figures.
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

// ours reports whether the server is Freshet, which must not lose anything.
func ours(name string) bool { return name == freshet || name == freshetStream }

// instance is a running server.
type instance struct {
	*server.Process
	name    string
	target  load.Target
	counter string // path of a stream of counts, if it has one
}

var (
	errNotInstalled = errors.New("is not installed")
	rivalReady      = regexp.MustCompile(`^ready (\S+)`)
)

// start starts the server. The flags are for Freshet alone. The caller stops the server.
func (b *bench) start(ctx context.Context, name string, flags ...string) (*instance, error) {
	s := &instance{name: name, target: load.Target{Read: "/event", Publish: "/publish"}}
	var err error
	switch name {
	case freshet, freshetStream:
		flags = append(flags, "--log-level", "warn", "--max-connections-per-address", "0") // rivals do not log requests either
		if name == freshetStream {
			flags = append(flags, "--park", "off")
		}
		if s.Process, err = b.freshet.Start(ctx, flags...); err != nil {
			return nil, err
		}
		s.target = load.Target{
			Read: "/event/" + topic, Publish: "/event/" + topic, Bulk: "/event",
			Header: "Authorization: Bearer " + s.Token + "\r\n",
		}
		s.counter = "/event/counter"
	case nchan:
		s.Process, err = b.startNchan(ctx)
	default:
		cmd := exec.CommandContext(ctx, b.self, "serve", name) //nolint:gosec // this program
		cmd.Stderr = os.Stderr
		s.Process, err = server.Start(cmd, rivalReady)
		s.counter = "/counter" // of the minimal server
	}
	if err != nil {
		return nil, err
	}
	s.target.Address = s.Address
	return s, nil
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

// startNchan starts nginx with one worker, if nginx and the module are installed.
func (b *bench) startNchan(ctx context.Context) (*server.Process, error) {
	nginx, err := exec.LookPath("nginx")
	if err != nil || !exists(b.Nchan) {
		return nil, fmt.Errorf("nginx with Nchan %w", errNotInstalled)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	dir, err := os.MkdirTemp(b.freshet.Dir, "nginx")
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	kitModule := "" // Debian has the development kit as a module of its own
	if kit := filepath.Join(filepath.Dir(b.Nchan), "ndk_http_module.so"); exists(kit) {
		kitModule = "load_module " + kit + ";\n"
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nchanConfig, dir, kitModule, b.Nchan, address), 0o600); err != nil {
		return nil, err
	}
	if err := os.Chmod(b.freshet.Dir, 0o755); err != nil { //nolint:gosec // nginx's worker may be another user
		return nil, err
	}
	cmd := exec.CommandContext(ctx, nginx, "-p", dir, "-c", config) //nolint:gosec // found in PATH
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // SIGKILL would leave its worker behind
	p, err := server.Start(cmd, nil)
	if err != nil {
		return nil, err
	}
	p.Address = address
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for tick := time.Tick(5 * time.Millisecond); p.Children() == 0; {
		select {
		case <-tick:
		case <-ctx.Done():
			p.Stop()
			return nil, fmt.Errorf("nginx has no worker: %w", ctx.Err())
		}
	}
	return p, nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// firstID returns the last event ID of a reader that has read only the first event. The server
// answered its publish with the given text.
func (s *instance) firstID(answer []byte) (string, error) {
	if !ours(s.name) {
		return "0", nil // the rivals that have IDs begin with it
	}
	var a struct{ ID string }
	err := json.Unmarshal(answer, &a)
	return a.ID, err
}
