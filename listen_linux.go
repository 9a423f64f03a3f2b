package main

import (
	"cmp"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentBytes is what the system takes of a connection beyond what its peer has room for.
// Its default of megabytes would hold as much memory for each reader that stops reading,
// and hide for as long that it did; what is slow in taking half of it, such as a reader
// that is slow but reads, would seem to have stopped.
const unsentBytes = 64 << 10

// listenConfig makes listeners whose connections inherit it, and [peerTimeout].
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
