package app

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentBytes limits what the system buffers of a connection beyond what its peer has room
// for. The default of megabytes would cost as much memory for each reader that stops reading,
// and hide that it stopped.
const unsentBytes = 64 << 10

// probeSeconds is the pause before an idle peer is probed, and between probes.
const probeSeconds = 15

// listenConfig makes listeners with the options of setOptions.
func listenConfig() *net.ListenConfig {
	return &net.ListenConfig{
		KeepAlive: -1, // set here already
		Control:   func(_, _ string, c syscall.RawConn) error { return setOptions(c) },
	}
}

// setOptions sets the options of a listener. Its connections inherit them, which saves several system calls for each.
func setOptions(c syscall.RawConn) error {
	options := []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(peerTimeout.Milliseconds())},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeSeconds},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeSeconds},
	}
	var errs []error
	err := c.Control(func(fd uintptr) {
		for _, o := range options {
			errs = append(errs, unix.SetsockoptInt(int(fd), o.level, o.name, o.value))
		}
	})
	return errors.Join(append(errs, err)...)
}
