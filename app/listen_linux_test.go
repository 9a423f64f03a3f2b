package app

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What is set on a listener counts for the connections that it accepts.
func TestConnectionsInheritWhatTheListenerHas(t *testing.T) {
	own, err := listen(t.Context(), []string{"127.0.0.1:0"})
	must(t, err)
	defer closeAll(own)
	checkOptions(t, own[0])

	var plainTCP net.ListenConfig
	plainTCP.SetMultipathTCP(false) // as systemd does
	plain, err := plainTCP.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer plain.Close()
	socket, err := plain.(*net.TCPListener).File()
	must(t, err)
	passed, err := systemdListeners([]*os.File{socket})
	must(t, err)
	defer closeAll(passed)
	checkOptions(t, passed[0])
}

func checkOptions(t *testing.T, l net.Listener) {
	t.Helper()
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
