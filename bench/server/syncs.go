//go:build linux

package server

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Syncs counts the calls of fsync and fdatasync of processes. The kernel counts them, which costs the processes nothing that can be measured.
type Syncs struct{ counters []int }

// CountSyncs counts for the processes, and for the threads that they start from now on. It needs root and tracefs. The caller closes the result.
func CountSyncs(processes ...*Process) (_ *Syncs, err error) {
	s := &Syncs{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, call := range []string{"fsync", "fdatasync"} {
		text, err := os.ReadFile("/sys/kernel/tracing/events/syscalls/sys_enter_" + call + "/id")
		if err != nil {
			return nil, fmt.Errorf("%w: as root, mount -t tracefs nodev /sys/kernel/tracing", err)
		}
		id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return nil, err
		}
		for _, p := range processes {
			if err := s.count(id, p.cmd.Process.Pid); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// count counts a tracepoint in all threads of the process.
func (s *Syncs) count(tracepoint uint64, pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			return err
		}
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: tracepoint, Bits: unix.PerfBitInherit}
		attr.Size = uint32(unsafe.Sizeof(attr))
		fd, err := unix.PerfEventOpen(&attr, id, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("perf_event_open: %w", err)
		}
		s.counters = append(s.counters, fd)
	}
	return nil
}

// Count is how many calls there were.
func (s *Syncs) Count() (sum uint64, err error) {
	for _, fd := range s.counters {
		var value [8]byte
		if _, err := unix.Read(fd, value[:]); err != nil {
			return 0, fmt.Errorf("read a counter of the kernel: %w", err)
		}
		sum += binary.NativeEndian.Uint64(value[:])
	}
	return sum, nil
}

// Close stops counting.
func (s *Syncs) Close() {
	for _, fd := range s.counters {
		_ = unix.Close(fd) // it was only read from
	}
}
