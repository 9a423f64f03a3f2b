package apptest

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

// MainIfCommand is the first part of a TestMain: in a process of [Command] it runs main and exits.
func MainIfCommand(main func()) {
	if os.Getenv(serveVariable) != "" {
		main()
		os.Exit(0)
	}
}

// Program is a process of an example.
type Program struct {
	URL string // http://host:port

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // once exited is closed
}

var openLine = regexp.MustCompile(`(?m)^open (http://(\S+))$`)

// StartProgram runs the program that this test's TestMain gives to [MainIfCommand]. It is [StartCommand] with that program.
func StartProgram(t testing.TB, args ...string) *Program {
	t.Helper()
	cmd, err := Command(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return StartCommand(t, cmd)
}

// StartCommand runs an example, and returns it once it has printed a line "open URL" and accepts connections there. The test's end kills it.
func StartCommand(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	var printed Buffer
	cmd.Stdout, cmd.Stderr = &printed, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Program{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.Kill)
	tick, limit := time.NewTicker(5*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		if line := openLine.FindStringSubmatch(printed.String()); line != nil && accepts(line[2]) {
			p.URL = line[1]
			return p
		}
		select {
		case <-tick.C:
		case <-p.exited:
			t.Fatalf("the program has ended: %v", p.err)
		case <-limit:
			t.Fatal("the program did not get ready")
		}
	}
}

func accepts(address string) bool {
	connection, err := net.Dial("tcp", address) //nolint:noctx // this machine answers at once
	if err == nil {
		_ = connection.Close() // nothing was sent
	}
	return err == nil
}

// Kill ends the process at once, as SIGKILL does, and waits for it.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// Interrupt ends the process as Ctrl-C does, and returns how it ended: nil for exit code 0.
func (p *Program) Interrupt(t testing.TB) error {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return p.err
	case <-time.After(patience):
		t.Fatal("the program did not end")
		return nil
	}
}
