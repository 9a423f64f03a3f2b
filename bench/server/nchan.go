package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

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
    location = /stream { nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; nchan_eventsource_ping_interval 1; }
    location = /status { nchan_stub_status; }
    location = /publish { nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 200000; }
  }
}
`

// NchanModule is where Debian has Nchan.
const NchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// ErrNotInstalled is the error for a server that this machine does not have.
var ErrNotInstalled = errors.New("is not installed")

// StartNchan starts nginx with Nchan's module and one worker. Readers of /stream get heartbeats, and /status has the number of readers.
func StartNchan(ctx context.Context, module string) (*Process, error) {
	nginx, err := exec.LookPath("nginx")
	if err != nil || !exists(module) {
		return nil, fmt.Errorf("nginx with Nchan %w", ErrNotInstalled)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	dir, err := os.MkdirTemp("", "nchan")
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	cmd, err := nchanCommand(ctx, nginx, module, dir, address)
	if err != nil {
		_ = os.RemoveAll(dir) // err says more
		return nil, err
	}
	p, err := Start(cmd, nil)
	if err != nil {
		_ = os.RemoveAll(dir) // err says more
		return nil, err
	}
	p.Address, p.dir = address, dir
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

// nchanCommand writes the configuration into the folder.
func nchanCommand(ctx context.Context, nginx, module, dir, address string) (*exec.Cmd, error) {
	kitModule := "" // Debian has the development kit as a module of its own
	if kit := filepath.Join(filepath.Dir(module), "ndk_http_module.so"); exists(kit) {
		kitModule = "load_module " + kit + ";\n"
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nchanConfig, dir, kitModule, module, address), 0o600); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nginx's worker may be another user, and writes large bodies there
		return nil, err
	}
	cmd := exec.CommandContext(ctx, nginx, "-p", dir, "-c", config) //nolint:gosec // found in PATH
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // SIGKILL would leave its worker behind
	return cmd, nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
