package faults_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"freshet/app/apptest"
)

// A configured token, which the operator knows, is not printed.
func TestTheReadyMessageWithAConfiguredToken(t *testing.T) {
	t.Parallel()
	const configured = "the-publish-token-of-this-test"
	cmd := command(begin(t), t, "--listen", "127.0.0.1:0", "--data", t.TempDir())
	cmd.Env = append(cmd.Env, "FRESHET_PUBLISH_TOKEN="+configured)
	ready := runOnTerminal(t, cmd, "subscribe")
	if !strings.Contains(ready, "Bearer $FRESHET_PUBLISH_TOKEN") || strings.Contains(ready, configured) {
		t.Errorf("the ready message:\n%s", ready)
	}
}

// A terminal gets the token, in lines that work when they are pasted.
func TestTheReadyMessageOnATerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log apptest.Buffer
	cmd := command(begin(t), t, "--listen", "127.0.0.1:0", "--data", dir)
	cmd.Stderr = &log
	ready := runOnTerminal(t, cmd, "subscribe")
	token, err := os.ReadFile(filepath.Join(dir, "publish-token"))
	must(t, err)
	words := pasted(t, dir, ready, "publish")
	if want := "Authorization: Bearer " + string(bytes.TrimSpace(token)); words[1] != want {
		t.Errorf("got %q, want %q", words[1], want)
	}
	if !regexp.MustCompile(`dashboard +http://127\.0\.0\.1:\d+/#token=` + string(bytes.TrimSpace(token)) + `\n`).MatchString(ready) {
		t.Errorf("the ready message has no link with the token:\n%s", ready)
	}
	if strings.Contains(log.String(), string(bytes.TrimSpace(token))) {
		t.Errorf("the log has the token:\n%s", log.String())
	}
}

// A user who signs a token on a terminal sees what it allows. The token itself is alone on standard output.
func TestATokenIsExplainedOnATerminal(t *testing.T) {
	t.Parallel()
	var printed bytes.Buffer
	cmd := command(begin(t), t, "token", "--publish", "orders.*,news", "--subscribe", ">", "--operator", "--expires", "2d")
	cmd.Env, cmd.Stdout = append(cmd.Env, "FRESHET_JWT_SECRET=thirty-two-bytes-of-a-JWT-secret"), &printed
	said := runOnTerminal(t, cmd, "expires")
	want := regexp.MustCompile(`^This token may publish to orders\.\*, news; read >; see and end connections and revoke every ticket\. It expires at (\S+)\.\n$`)
	found := want.FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("the terminal has %q", said)
	}
	if at, err := time.Parse(time.RFC3339, found[1]); err != nil || time.Until(at) < 47*time.Hour || time.Until(at) > 49*time.Hour {
		t.Errorf("it expires at %v, %v", at, err)
	}
	if !regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+\n$`).Match(printed.Bytes()) {
		t.Errorf("standard output has %q", printed.String())
	}
}

// runOnTerminal runs the command with a terminal for each output that it does not have, until the terminal has a line with the
// text, and then ends it. It returns the text of the terminal.
func runOnTerminal(t *testing.T, cmd *exec.Cmd, text string) (printed string) {
	t.Helper()
	screen, terminal := openTerminal(t)
	if cmd.Stdout == nil {
		cmd.Stdout = terminal
	}
	if cmd.Stderr == nil {
		cmd.Stderr = terminal
	}
	must(t, cmd.Start())
	_ = terminal.Close() // the process has it too
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	piece := make([]byte, 4096)
	for !regexp.MustCompile(text + `.*\n`).MatchString(printed) {
		n, err := screen.Read(piece)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		printed += strings.ReplaceAll(string(piece[:n]), "\r", "")
	}
	return printed
}

// openTerminal returns both ends of a pseudo-terminal, until the test ends: programs write to terminal, and screen reads that.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = screen.Close() })
	must(t, unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	must(t, err)
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	return screen, terminal
}

// tail on a terminal prints in colour, and an event cannot control the terminal.
func TestTailOnATerminal(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir())
	publish(ctx, t, s, "news", "first line\nsecond\x1b[2Jline")
	for _, c := range []struct{ variable, want string }{
		{"TERM=xterm", "\x1b[36mnews\x1b[0m first line\n    second"},
		{"NO_COLOR=1", " news first line\n    second"},
	} {
		cmd := command(ctx, t, "tail", "--url", s.URL, "--since", "all", "--exit-after", "1")
		cmd.Env = append(cmd.Env, c.variable)
		said := runOnTerminal(t, cmd, "line\n")
		if !strings.Contains(said, c.want) || strings.Contains(said, "\x1b[2J") {
			t.Errorf("%s: tail printed %q, want %q", c.variable, said, c.want)
		}
	}
}

// publish on a terminal says how far it is, in one line, and what it has done at the end.
func TestPublishOnATerminal(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir())
	cmd := command(ctx, t, "publish", "news", "--url", s.URL)
	cmd.Env = append(cmd.Env, "FRESHET_TOKEN="+s.Token)
	var printed bytes.Buffer
	cmd.Stdin, cmd.Stdout = strings.NewReader(strings.Repeat("x\n", 1200)), &printed
	if said := runOnTerminal(t, cmd, "in "); !strings.Contains(said, "\x1b[K1,200 events published") || !strings.Contains(said, "freshet: 1,200 events published, in ") {
		t.Errorf("publish printed %q", said)
	}
}
