//go:build !linux

package app

import (
	"net"
	"syscall"
)

// listenConfig makes plain listeners: here a peer that vanished is found by heartbeats,
// once they fill what the system takes, and by the keep-alive probes that Go sets.
func listenConfig() *net.ListenConfig { return &net.ListenConfig{} }

// setOptions leaves the listener as it is.
func setOptions(syscall.RawConn) error { return nil }
