package faults_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"freshet/client"
)

// A first start and a second one. Ctrl-C and SIGTERM end the server cleanly.
func TestStartAndStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx := begin(t)
	p := start(ctx, t, dir)
	if info, err := os.Stat(dir + "/publish-token"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	stream := open(ctx, t, p.Client, client.Subscription{})
	id := publish(ctx, t, p, "news", "hello")
	for f := dispatched(t, stream); f.Type != "news" || f.Data != "hello" || f.ID != id.String(); f = dispatched(t, stream) {
		if f.Type != "message" {
			t.Fatalf("event %+v", f)
		}
	}
	must(t, p.Signal(os.Interrupt))
	var last client.Frame
	for f, err := stream.Next(); !errors.Is(err, io.EOF); f, err = stream.Next() {
		must(t, err)
		last = f
	}
	if last.Type != "drain" {
		t.Errorf("the stream ended with %+v", last)
	}
	if err := p.Wait(ctx); err != nil {
		t.Errorf("ended with %v:\n%s", err, p.Log())
	}

	// A second start: the same token, and the event is still there.
	again := start(ctx, t, dir)
	if again.Token != p.Token {
		t.Error("another token after a restart")
	}
	if f := dispatched(t, open(ctx, t, again.Client, client.Subscription{Topics: []string{"news"}, Since: "all"})); f.ID != id.String() || f.Data != "hello" {
		t.Errorf("replayed %+v", f)
	}
	must(t, again.Signal(syscall.SIGTERM))
	if err := again.Wait(ctx); err != nil {
		t.Errorf("ended with %v", err)
	}
	for _, log := range []string{p.Log(), again.Log()} {
		lines := strings.Split(strings.TrimSpace(log), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, "level=INFO msg=stopped after=") {
			t.Errorf("the last line of the log is %s", last)
		}
	}
}

func TestWhatCannotStartSaysWhyInOneLine(t *testing.T) {
	t.Parallel()
	ctx, dir := begin(t), t.TempDir()
	taken := start(ctx, t, dir).Addr()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"port in use":         {[]string{"--data", t.TempDir(), "--listen", taken}, []string{"cannot listen on " + taken + ": the port is in use"}},
		"no sockets":          {[]string{"--data", t.TempDir(), "--listen", "systemd"}, []string{"cannot listen on systemd: systemd passed no socket; start the server with its socket unit"}},
		"folder in use":       {[]string{"--data", dir, "--listen", "127.0.0.1:0"}, []string{dir, "in use by another process", "--data"}},
		"NATS unreachable":    {[]string{"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--nats", "nats://127.0.0.1:1", "--nats-wait", "0"}, []string{"127.0.0.1:1", "--nats"}},
		"a bad value":         {[]string{"--retry", "soon"}, []string{"--retry"}},
		"an unknown flag":     {[]string{"--port", "80"}, []string{"freshet: unknown flag --port; did you mean --listen?\n"}},
		"no credentials":      {[]string{"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--nats", "127.0.0.1:1", "--nats-creds", "/nowhere/f.creds"}, []string{"freshet: the NATS credentials file cannot be used: open /nowhere/f.creds: no such file or directory; check --nats-creds\n"}},
		"no certificate":      {[]string{"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--tls-cert", "/nowhere/tls.crt", "--tls-key", "/nowhere/tls.key"}, []string{"/nowhere/tls.crt", "--tls-cert"}},
		"folder is no such":   {[]string{"--data", "/dev/null/x", "--listen", "127.0.0.1:0"}, []string{"/dev/null/x"}},
		"a misspelt variable": {[]string{"FRESHET_ANONIMOUS=none"}, []string{"freshet: unknown environment variable FRESHET_ANONIMOUS; did you mean FRESHET_ANONYMOUS?\n"}},
		"an empty variable":   {[]string{"FRESHET_ANONYMOUS="}, []string{"freshet: --anonymous: an empty value is not allowed: want none", "(from FRESHET_ANONYMOUS)\n"}},
	} {
		cmd := command(ctx, t, c.args...)
		if strings.HasPrefix(c.args[0], "FRESHET_") { // a variable, not a flag
			cmd = command(ctx, t, "--data", t.TempDir(), "--listen", "127.0.0.1:0")
			cmd.Env = append(cmd.Env, c.args...)
		}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Count(stderr.String(), "\n") != 1 || stdout.Len() != 0 {
			t.Errorf("%s: %v\n%s%s", name, err, &stdout, &stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%s: %q does not say %q", name, stderr.String(), want)
			}
		}
	}
}

// dispatched returns the stream's next frame that dispatches an event.
func dispatched(t *testing.T, r *client.Reader) client.Frame {
	t.Helper()
	f, err := next(r, "")
	must(t, err)
	return f
}
