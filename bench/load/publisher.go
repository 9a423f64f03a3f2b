//go:build linux

package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// answerWithin is the longest that a publish may take.
const answerWithin = 30 * time.Second

// Publisher publishes on one connection, an event at a time. It belongs to one goroutine.
type Publisher struct {
	target  Target
	conn    net.Conn
	answers *bufio.Reader
	request []byte
}

// NewPublisher connects to the target. The caller closes the publisher.
func NewPublisher(ctx context.Context, t Target) (*Publisher, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, err
	}
	return &Publisher{target: t, conn: conn, answers: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// Close closes the connection.
func (p *Publisher) Close() { _ = p.conn.Close() } // no request is in progress

// Publish publishes the event with the number and returns the server's answer.
func (p *Publisher) Publish(number uint64) ([]byte, error) {
	return p.PublishTo(p.target.Publish, number)
}

// PublishTo does the same at another path than the target's.
func (p *Publisher) PublishTo(path string, number uint64) ([]byte, error) {
	return p.post(path, "text/plain", Data(number))
}

// PublishMany publishes n events to the topic in one request. Their numbers begin with the given one.
func (p *Publisher) PublishMany(topic string, number uint64, n int) error {
	var body []byte
	for i := range n {
		body = fmt.Appendf(body, `{"topic":%q,"data":"%s"}`+"\n", topic, Data(number+uint64(i)))
	}
	answer, err := p.post(p.target.Bulk, "application/x-ndjson", body)
	if err != nil {
		return err
	}
	if got := bytes.Count(answer, []byte(`{"id":`)); got != n {
		return fmt.Errorf("%d of %d events were acknowledged", got, n)
	}
	return nil
}

func (p *Publisher) post(path, contentType string, body []byte) ([]byte, error) {
	r := append(p.request[:0], "POST "...)
	r = append(r, path...)
	r = append(r, " HTTP/1.1\r\nHost: "...)
	r = append(r, p.target.Address...)
	r = append(r, "\r\n"...)
	r = append(r, p.target.Header...)
	r = append(r, "Content-Type: "...)
	r = append(r, contentType...)
	r = append(r, "\r\nContent-Length: "...)
	r = strconv.AppendInt(r, int64(len(body)), 10)
	r = append(r, "\r\n\r\n"...)
	p.request = append(r, body...)
	if err := p.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, err
	}
	if _, err := p.conn.Write(p.request); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(p.answers, nil)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		return nil, fmt.Errorf("publish: %d: %s", answer.StatusCode, text)
	}
	return text, nil
}
