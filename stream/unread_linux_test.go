package stream_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"freshet/stream"

	"golang.org/x/sys/unix"
)

// While a stream is open, the system keeps little of what the client sends. Afterwards the connection takes large bodies again.
func TestTheReceiveBufferOfAStream(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer peer.Close()
	conn, err := l.Accept()
	must(t, err)
	defer conn.Close()
	buffer := func() (bytes int) {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { bytes, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) }))
		must(t, err)
		return bytes
	}
	r := httptest.NewRequest(http.MethodGet, "/event", nil)
	r = r.WithContext(stream.ConnContext(r.Context(), conn))
	out := stream.NewResponse(httptest.NewRecorder(), r, time.Minute)
	if got := buffer(); got > 4*stream.MaxUnread {
		t.Errorf("the receive buffer has %d bytes during the stream", got)
	}
	out.Close()
	if got := buffer(); got < 128<<10 {
		t.Errorf("the receive buffer has %d bytes after the stream", got)
	}
}
