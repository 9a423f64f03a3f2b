package app

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentBytes is what the system takes of a connection beyond what its peer has room for.
// Its default of megabytes would hold as much memory for each reader that stops reading,
// and hide for as long that it did; what is slow in taking half of it, such as a reader
// that is slow but reads, would seem to have stopped.
const unsentBytes = 64 << 10

// probeSeconds is after how long an idle peer is probed, and how long after the last probe.
const probeSeconds = 15

// listenConfig makes listeners whose connections inherit what is set here, [peerTimeout]
// too: set for each of them, the probes alone would be four calls of the system.
func listenConfig() *net.ListenConfig {
	options := []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(peerTimeout.Milliseconds())},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeSeconds},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeSeconds},
	}
	return &net.ListenConfig{
		KeepAlive: -1, // set here already
		Control: func(_, _ string, c syscall.RawConn) error {
			var errs []error
			err := c.Control(func(fd uintptr) {
				for _, o := range options {
					errs = append(errs, unix.SetsockoptInt(int(fd), o.level, o.name, o.value))
				}
			})
			return errors.Join(append(errs, err)...)
		},
	}
}
