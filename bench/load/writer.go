//go:build linux

package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Writer is one connection that sends an answer: a request whose body is lines of JSON, which are written in time.
type Writer struct {
	conn   net.Conn
	number uint64        // of the last token
	line   []byte        // the last chunk, with its line
	ended  chan struct{} // closed when the response has ended
	err    error         // why, once ended is closed
}

// NewWriter begins the request, and returns once the server has accepted it. Header are further header lines, each with CRLF. The caller
// closes the writer.
func NewWriter(ctx context.Context, address, path, header string) (*Writer, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w := &Writer{conn: conn, ended: make(chan struct{})}
	if err := w.begin(address, path, header); err != nil {
		_ = conn.Close() // the error says more
		return nil, err
	}
	return w, nil
}

func (w *Writer) begin(address, path, header string) error {
	if err := w.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w.conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n%s\r\n", path, address, header)
	if err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(w.conn, 512), nil) //nolint:bodyclose // Close closes the connection
	if err != nil {
		return fmt.Errorf("write an answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("an answer was refused with %s", response.Status)
	}
	if err := w.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	go func() {
		defer close(w.ended)
		results := bufio.NewScanner(response.Body)
		for results.Scan() {
			if bytes.Contains(results.Bytes(), []byte(`"error"`)) {
				w.err = fmt.Errorf("an answer has failed: %s", results.Bytes())
				return
			}
		}
		w.err = results.Err()
	}()
	return nil
}

// WriteToken sends the next token: its number and the time, as at the beginning of [Data].
func (w *Writer) WriteToken() error {
	select {
	case <-w.ended:
		return errors.Join(errors.New("the response to an answer has ended"), w.err)
	default:
	}
	w.number++
	const line = tokenBytes + len("\"\"\n")
	w.line = fmt.Appendf(w.line[:0], "%x\r\n\"%s\"\n\r\n", line, Data(w.number)[:tokenBytes])
	_, err := w.conn.Write(w.line)
	if err != nil {
		<-w.ended // the response may say why
		return errors.Join(err, w.err)
	}
	return nil
}

// Written is how many tokens were sent.
func (w *Writer) Written() uint64 { return w.number }

// Close breaks the request off.
func (w *Writer) Close() {
	_ = w.conn.Close() // the answer needs no end here
	<-w.ended
}
