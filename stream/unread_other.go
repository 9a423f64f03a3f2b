//go:build !linux

package stream

import "syscall"

// unreadBytes is 0: here only the receive buffer bounds what a client sends.
func unreadBytes(syscall.RawConn) int { return 0 }
