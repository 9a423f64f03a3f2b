package app

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
	for _, option := range []struct{ level, name, want int }{
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 40_000},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 65_536},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
	} {
		var got int
		var errOption error
		must(t, raw.Control(func(fd uintptr) { got, errOption = unix.GetsockoptInt(int(fd), option.level, option.name) }))
		if got != option.want || errOption != nil {
			t.Errorf("option %#x: %d, %v; want %d", option.name, got, errOption, option.want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
