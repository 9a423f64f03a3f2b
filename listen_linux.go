package main

import (
	"cmp"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// peerTimeout is how long a peer may acknowledge nothing of what it was sent, or of the
	// probes to an idle one, before the system ends the connection. With a heartbeat before
	// it, a peer that vanished is gone within a minute.
	peerTimeout = 40 * time.Second
	// unsentBytes is what the system takes of a connection beyond what its peer has room
	// for. Its default of megabytes would hold as much memory for each reader that stops
	// reading, and hide for as long that it did; what is slow in taking half of it, such as
	// a reader that is slow but reads, would seem to have stopped.
	unsentBytes = 64 << 10
)

// listenConfig makes listeners whose connections inherit both.
func listenConfig() *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var timeout, unsent error
		err := c.Control(func(fd uintptr) {
			timeout = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(peerTimeout.Milliseconds()))
			unsent = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
		})
		return cmp.Or(err, timeout, unsent)
	}}
}
