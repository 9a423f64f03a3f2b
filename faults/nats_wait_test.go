package faults_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
)

// starting is a server process that is not ready yet.
type starting struct {
	cmd *exec.Cmd
	log apptest.Buffer
}

// startWithNATS starts a server that waits for its NATS.
func startWithNATS(ctx context.Context, t *testing.T, flags ...string) *starting {
	t.Helper()
	s := &starting{cmd: command(ctx, t, append([]string{"--data", t.TempDir(), "--listen", apptest.FreeAddress(t)}, flags...)...)}
	s.cmd.Stderr = &s.log
	must(t, s.cmd.Start())
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	return s
}

// logs waits for the text in the log.
func (s *starting) logs(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	if err := apptest.Until(ctx, func() bool { return strings.Contains(s.log.String(), text) }); err != nil {
		t.Fatalf("the log does not have %q: %v\n%s", text, err, s.log.String())
	}
}

// A server that is started before its NATS has a majority says what it waits for. Then it starts.
func TestTheStartWaitsForAMajority(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	servers := newNATSCluster(t)
	s := startWithNATS(ctx, t, "--nats", servers.urls(), "--replicas", "3", "--nats-wait", "1m")
	s.logs(ctx, t, "waiting for NATS")
	servers[0].start(t)
	s.logs(ctx, t, "JetStream")
	for _, other := range servers[1:] {
		other.start(t)
	}
	s.logs(ctx, t, "NATS is ready")
	if lines := strings.Count(s.log.String(), "waiting for NATS"); lines > 6 {
		t.Errorf("the log has %d lines about the wait:\n%s", lines, s.log.String())
	}
}

// SIGTERM ends the wait at once, without an error.
func TestTheWaitForNATSCanBeStopped(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := startWithNATS(ctx, t, "--nats", "nats://"+apptest.FreeAddress(t), "--nats-wait", "1h")
	s.logs(ctx, t, "waiting for NATS")
	must(t, s.cmd.Process.Signal(syscall.SIGTERM))
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("ended with %v:\n%s", err, s.log.String())
	}
}

// The end of the wait is an error that says what was missing.
func TestTheWaitForNATSEnds(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	address := apptest.FreeAddress(t)
	s := startWithNATS(ctx, t, "--nats", "nats://"+address, "--nats-wait", "100ms")
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if lines := strings.Split(strings.TrimSpace(s.log.String()), "\n"); !errors.As(err, &exit) || exit.ExitCode() != 1 || len(lines) != 2 ||
		!strings.HasPrefix(lines[1], "freshet: waited 100ms for NATS") || !strings.Contains(lines[1], address) {
		t.Errorf("ended with %v:\n%s", err, s.log.String())
	}
}

// NATS refuses the password at the start, accepts it, and refuses it for a while later. Each is in the log once, /readyz and
// publishers get the reason, and publishing continues.
func TestAPasswordOfNATSThatChanges(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	nats := natsWithPassword(t, "other")
	s := startWithNATS(ctx, t, "--nats", "nats://freshet:secret@"+nats.address, "--nats-wait", "1m")
	s.logs(ctx, t, "NATS refuses the credentials")
	if strings.Contains(s.log.String(), "secret") {
		t.Errorf("the log has the password:\n%s", s.log.String())
	}
	nats.setPassword(t, "secret")
	s.logs(ctx, t, "NATS is ready")
	must(t, s.cmd.Process.Kill())
	_ = s.cmd.Wait()

	p := start(ctx, t, t.TempDir(), "--nats", "nats://freshet:secret@"+nats.address)
	publish(ctx, t, p, "news", "before")
	nats.setPassword(t, "other")
	var refusal *client.Error
	must(t, apptest.Until(ctx, func() bool {
		_, err := p.Get(ctx, "/readyz")
		return errors.As(err, &refusal) && refusal.Code == "nats_refused"
	}))
	if _, err := p.Publish(ctx, client.Message{Topic: "news", Data: "refused"}); !errors.As(err, &refusal) || refusal.Status != 503 || refusal.Code != "nats_refused" {
		t.Errorf("a publisher got %v", err)
	}
	nats.setPassword(t, "secret")
	must(t, apptest.Until(ctx, func() bool { _, err := p.Get(ctx, "/readyz"); return err == nil }))
	publish(ctx, t, p, "news", "after")
	if log := p.Log(); strings.Count(log, `msg="NATS refuses the credentials`) != 1 || strings.Count(log, `msg="NATS accepts the credentials again`) != 1 {
		t.Errorf("the log:\n%s", tail(log))
	}
}

// passwordNATS is a NATS server process with a password.
type passwordNATS struct {
	*natsServer
	address string
}

func natsWithPassword(t *testing.T, password string) *passwordNATS {
	t.Helper()
	dir := t.TempDir()
	n := &passwordNATS{&natsServer{name: "n", file: filepath.Join(dir, "nats.conf"), log: filepath.Join(dir, "nats.log")}, apptest.FreeAddress(t)}
	n.write(t, password)
	n.start(t)
	return n
}

func (n *passwordNATS) write(t *testing.T, password string) {
	t.Helper()
	must(t, os.WriteFile(n.file, []byte(`
		listen: "`+n.address+`", log_file: "`+n.log+`"
		jetstream { store_dir: "`+filepath.Dir(n.file)+`" }
		authorization { user: freshet, password: "`+password+`" }`), 0o600))
}

// setPassword changes the password of the running server, which disconnects its clients.
func (n *passwordNATS) setPassword(t *testing.T, password string) {
	t.Helper()
	n.write(t, password)
	must(t, n.cmd.Process.Signal(syscall.SIGHUP))
}
