package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"freshet/app/apptest"
)

// socketUnit holds the sockets of a server while it restarts, as systemd does.
type socketUnit struct{ files []*os.File }

// command is the server with the sockets and with exactly these arguments.
func (u socketUnit) command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(ctx, t, args...)
	// systemd names the process that it passes the sockets to.
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, cmd.Args...)
	cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(u.files)), "LISTEN_FDNAMES=freshet.socket")
	cmd.ExtraFiles = u.files
	return cmd
}

// While the server restarts, new connections wait in the socket that systemd holds. None is refused or reset.
func TestSocketActivationRefusesNobody(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	l := listenAsSystemd(t)
	file, err := l.(*net.TCPListener).File()
	must(t, err)
	defer file.Close()
	unit, dir := socketUnit{[]*os.File{file}}, t.TempDir()

	attempts, stop := context.WithCancel(ctx)
	var answered atomic.Int64
	ended := make(chan error, 4)
	for range cap(ended) {
		go func() {
			for attempts.Err() == nil {
				if err := getLive(ctx, l.Addr().String()); err != nil {
					ended <- err
					return
				}
				answered.Add(1)
			}
			ended <- nil
		}()
	}
	for range 3 {
		// Nothing accepts this connection yet.
		early, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		s := startCommand(t, unit.command(ctx, t, "--listen", "systemd", "--data", dir, "--drain", "200ms"))
		if s.Addr() != l.Addr().String() {
			t.Errorf("the server names the address %s, want %s", s.Addr(), l.Addr())
		}
		must(t, getLiveOn(early))
		goal := answered.Load() + 100
		must(t, apptest.Until(ctx, func() bool { return answered.Load() >= goal || len(ended) > 0 }))
		must(t, s.Signal(syscall.SIGTERM))
		must(t, s.Wait(ctx))
	}
	stop()
	startCommand(t, unit.command(ctx, t, "--listen", "systemd", "--data", dir))
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d requests, each on its own connection", answered.Load())
}

func listenAsSystemd(t *testing.T) net.Listener {
	t.Helper()
	var plainTCP net.ListenConfig
	plainTCP.SetMultipathTCP(false)
	l, err := plainTCP.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// getLive makes a connection, and sends one request on it.
func getLive(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return getLiveOn(conn)
}

func getLiveOn(conn net.Conn) error {
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s", answer.Status, body)
	}
	return err
}

// A socket unit that does not fit the flags stops the start.
func TestSocketsOfSystemdThatDoNotFit(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer udp.Close()
	unix, err := net.Listen("unix", filepath.Join(shortDir(t), "socket"))
	must(t, err)
	defer unix.Close()
	for want, c := range map[string]struct {
		socket interface{ File() (*os.File, error) }
		listen string
	}{
		"--listen does not have the word systemd; add --listen systemd":                                                                                          {listenAsSystemd(t).(*net.TCPListener), "127.0.0.1:0"},
		"cannot listen on the socket freshet.socket of systemd: it does not take connections; want ListenStream= with a port, and Accept=no, in the socket unit": {udp.(*net.UDPConn), "systemd"},
		"cannot listen on the socket freshet.socket of systemd: it is a unix socket, not a tcp socket; want ListenStream= with a port":                           {unix.(*net.UnixListener), "systemd"},
	} {
		file, err := c.socket.File()
		must(t, err)
		data := filepath.Join(t.TempDir(), "data")
		said, err := socketUnit{[]*os.File{file}}.command(ctx, t, "--listen", c.listen, "--data", data).CombinedOutput()
		must(t, file.Close())
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Count(string(said), "\n") != 1 || !strings.Contains(string(said), want) {
			t.Errorf("%v: %s\nwant %s", err, said, want)
		}
		if _, err := os.Stat(data); err == nil {
			t.Error("the server made its data folder")
		}
	}
}

// systemd learns when the server is ready, and that it needs the time of the drain to stop.
func TestNotifySystemd(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	socket := filepath.Join(shortDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	next := func() string {
		buffer := make([]byte, 1000)
		n, err := conn.Read(buffer)
		must(t, err)
		return string(buffer[:n])
	}
	address := ownAddress(t)
	cmd := command(ctx, t, "--listen", address, "--data", t.TempDir(), "--drain", "100ms")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	s := startCommand(t, cmd)
	if got := next(); got != "READY=1" {
		t.Errorf("after the start: %q", got)
	}
	must(t, s.Signal(syscall.SIGTERM))
	if got := next(); got != "STOPPING=1\nEXTEND_TIMEOUT_USEC=11850000" {
		t.Errorf("after SIGTERM: %q", got)
	}
	must(t, s.Wait(ctx))

	// A socket that nobody reads does not keep the server from running.
	must(t, conn.Close())
	cmd = command(ctx, t, "--listen", address, "--data", t.TempDir())
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	s = startCommand(t, cmd)
	must(t, apptest.Until(ctx, func() bool { return strings.Contains(s.Log(), "systemd does not learn the state of the server") }))
}

// shortDir is a temporary folder whose path leaves room for the name of a Unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // its path is too long
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// systemd reads the units without a complaint, and finds little that the service may do and does not need.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		missing(t, "systemd-analyze, on Debian the package systemd")
	}
	dir := t.TempDir()
	for _, name := range []string{"freshet.service", "freshet.socket"} {
		unit, err := os.ReadFile("../deploy/systemd/" + name)
		must(t, err)
		// The program of the unit has to be there.
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(string(unit), "/usr/local/bin/freshet", "/bin/true")), 0o600))
	}
	for _, args := range [][]string{{"verify", "./freshet.service", "./freshet.socket"}, {"security", "--offline=true", "--threshold=15", "./freshet.service"}} {
		cmd := exec.CommandContext(t.Context(), analyze, args...)
		cmd.Dir = dir
		if said, err := cmd.CombinedOutput(); err != nil || args[0] == "verify" && len(said) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, said)
		}
	}
}

// The command of the unit, on its socket, is a server.
func TestCommandOfTheSystemdUnit(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("../deploy/systemd/freshet.service")
	must(t, err)
	_, line, _ := strings.Cut(string(unit), "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	arguments := strings.Fields(replaceEach(t, line, []string{"/var/lib/freshet", t.TempDir()}))
	file, err := listenAsSystemd(t).(*net.TCPListener).File()
	must(t, err)
	defer file.Close()
	ctx := begin(t)
	s := startCommand(t, socketUnit{[]*os.File{file}}.command(ctx, t, arguments[1:]...))
	must(t, getLive(ctx, s.Addr()))
}
