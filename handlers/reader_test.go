package handlers_test

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"freshet/event"
)

// tcpReader reads an event stream on a TCP connection of its own. It belongs to one goroutine,
// except for Close.
type tcpReader struct {
	conn    net.Conn
	scanner *event.Scanner
	stop    func() bool
}

// openTCP opens the stream; header lines come in pairs. A small receive buffer makes the server
// notice soon that a reader has stopped reading; 0 is the system's default. The test's end or the
// context's end closes the connection.
func openTCP(ctx context.Context, t *testing.T, url string, buffer int, header ...string) *tcpReader {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(t, err)
	request.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", request.URL.Host)
	must(t, err)
	r := &tcpReader{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	t.Cleanup(r.Close)
	if buffer > 0 {
		must(t, conn.(*net.TCPConn).SetReadBuffer(buffer))
	}
	must(t, request.Write(conn))
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	must(t, err)
	r.scanner = event.NewScanner(answer.Body, 64<<20)
	return r
}

// Next returns the next frame, or io.EOF at the stream's end, or the connection's error.
func (r *tcpReader) Next() (event.Frame, error) {
	if r.scanner.Scan() {
		return r.scanner.Frame(), nil
	}
	return event.Frame{}, cmp.Or(r.scanner.Err(), io.EOF)
}

// Event returns the next frame with data of the type, or of any type if it is empty.
func (r *tcpReader) Event(typ string) (event.Frame, error) {
	for {
		f, err := r.Next()
		if err != nil || f.HasData && (typ == "" || f.Type == typ) {
			return f, err
		}
	}
}

// Close closes the connection.
func (r *tcpReader) Close() {
	r.stop()
	_ = r.conn.Close() // it may be closed
}
