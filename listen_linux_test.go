package main

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// What is set on a listener counts for the connections that it accepts.
func TestConnectionsInheritWhatTheListenerHas(t *testing.T) {
	l, err := listenConfig().Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer peer.Close()
	conn, err := l.Accept()
	must(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	must(t, err)
	for option, want := range map[int]int{unix.TCP_USER_TIMEOUT: 40_000, unix.TCP_NOTSENT_LOWAT: 65_536} {
		var got int
		var errOption error
		must(t, raw.Control(func(fd uintptr) { got, errOption = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }))
		if got != want || errOption != nil {
			t.Errorf("option %#x: %d, %v; want %d", option, got, errOption, want)
		}
	}
}
