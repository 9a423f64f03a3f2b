package app_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"testing"
	"time"

	"freshet/app/apptest"
)

// Over TLS, too, a client that sends more than a little after its request is closed.
func TestAClientThatSendsOverTLSIsClosed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := apptest.Start(t, t.TempDir(), "", apptest.Certificate(t)...)
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}}).DialContext(ctx, "tcp", s.Addr)
	must(t, err)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_, err = fmt.Fprint(conn, "GET /event/n HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, len("HTTP/1.1 200")))
	must(t, err)
	_, _ = conn.Write(make([]byte, 100_000)) // the server has read a record of 16 KiB; an error: it is closed
	_, _ = io.Copy(io.Discard, conn)         // until it is closed, or reset
	if ctx.Err() != nil {
		t.Error("the connection is still open")
	}
}
