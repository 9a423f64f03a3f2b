package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"syscall"
)

// MaxUnread is how many bytes a client may send after the request of a stream over HTTP/1. Nobody
// reads them, and the system would keep about 128 KiB. A few are allowed, because a client may
// send its next request early.
const MaxUnread = 4 << 10

// ErrSent is the error of an [Output] whose client sent more than [MaxUnread].
var ErrSent = errors.New("stream: the client sends data after its request")

type connectionKey struct{}

// ConnContext is for [http.Server]: with it, streams with a goroutine limit what their clients
// send.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// unread is what the client of a stream has sent and nobody reads. The zero value knows nothing.
type unread struct {
	conn *net.TCPConn
	raw  syscall.RawConn
}

// limitUnread has the system keep little of what the client sends. It does nothing for HTTP/2,
// where the server reads all the time.
func limitUnread(r *http.Request) unread {
	c, _ := r.Context().Value(connectionKey{}).(net.Conn)
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	conn, ok := c.(*net.TCPConn)
	if !ok || r.ProtoMajor != 1 {
		return unread{}
	}
	raw, err := conn.SyscallConn()
	if err != nil || conn.SetReadBuffer(2*MaxUnread) != nil {
		return unread{} // the connection is closed
	}
	return unread{conn, raw}
}

// check returns [ErrSent] if the client has sent too much.
func (u unread) check() error {
	if u.raw != nil && unreadBytes(u.raw) > MaxUnread {
		return ErrSent
	}
	return nil
}

// release makes the connection fast again for the requests after the stream.
func (u unread) release() {
	if u.conn != nil {
		_ = u.conn.SetReadBuffer(256 << 10) // it may be closed, or the park's
	}
}
