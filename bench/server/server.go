// Package server runs the servers that are measured, each as a process of its own.
//
// A process ends with the context of its command, or when [Process.Stop] is called. The caller of
// [Start] or [Freshet.Start] always calls Stop.
package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Process is a running server and its child processes.
type Process struct {
	Address string // host:port
	Token   string // publishes and reads; empty if the server has none

	cmd   *exec.Cmd
	dir   string        // removed by Stop; may be empty
	ended chan struct{} // closed when the process has ended
}

// Start runs the command and waits until a line that it prints matches ready. The first group of
// the expression is the address. Without an expression Start does not wait.
func Start(cmd *exec.Cmd, ready *regexp.Regexp) (*Process, error) {
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	printed := bufio.NewReader(stdout)
	text, match := "", []string{""}
	for more := ready != nil; more; more = match == nil && err == nil {
		var line string
		line, err = printed.ReadString('\n')
		text += line
		match = ready.FindStringSubmatch(line)
	}
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(io.Discard, printed) // until the process ends
		_ = cmd.Wait()                      // it is usually killed
	}()
	if match == nil {
		p.Stop()
		return nil, fmt.Errorf("%s did not get ready: %w: %s", filepath.Base(cmd.Path), err, text)
	}
	if len(match) > 1 {
		p.Address = match[1]
	}
	return p, nil
}

// URL is the URL of the server.
func (p *Process) URL() string { return "http://" + p.Address }

// Stop ends the process, by default with SIGKILL, waits for its end, and removes its data.
func (p *Process) Stop() {
	_ = p.cmd.Cancel() // the process may have ended
	<-p.ended
	if p.dir != "" {
		_ = os.RemoveAll(p.dir) // what is left is in the temporary folder
	}
}

// pids are the IDs of the process and its children.
func (p *Process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pids[0])) // not every kernel has it
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// Children is how many child processes there are.
func (p *Process) Children() int { return len(p.pids()) - 1 }

// Memory is the proportional set size in bytes: resident memory, with a share of shared pages.
func (p *Process) Memory() (sum uint64, err error) {
	err = p.each("smaps_rollup", func(text []byte) error {
		for line := range bytes.Lines(text) {
			if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == "Pss:" {
				kib, err := strconv.ParseUint(string(fields[1]), 10, 64)
				sum += kib << 10
				return err
			}
		}
		return errors.New("there is no line Pss")
	})
	return sum, err
}

// CPU is the processor time that was used.
func (p *Process) CPU() (sum time.Duration, err error) {
	err = p.each("stat", func(text []byte) error {
		// The 14th and 15th fields are user and system time in ticks of 10 ms. The second field
		// is a name in parentheses, which may contain spaces.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 13 {
			return errors.New("there are too few fields")
		}
		for _, field := range fields[11:13] {
			ticks, err := strconv.ParseInt(string(field), 10, 64)
			if err != nil {
				return err
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
		return nil
	})
	return sum, err
}

// each passes a file of each process in /proc to the function.
func (p *Process) each(file string, read func(text []byte) error) error {
	for _, pid := range p.pids() {
		name := fmt.Sprintf("/proc/%d/%s", pid, file)
		text, err := os.ReadFile(name)
		if err == nil {
			err = read(text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// Descriptors is how many descriptors the process has open.
func (p *Process) Descriptors() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(entries), err
}
