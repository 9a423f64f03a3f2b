package stream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unreadBytes is how many bytes the system has that nobody has read.
func unreadBytes(c syscall.RawConn) (n int) {
	_ = c.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }) // an error leaves 0: the connection is closed
	return n
}
