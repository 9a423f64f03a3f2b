package drive

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"freshet/event"
)

// Request says which stream to open, and how.
type Request struct {
	URL         string // such as http://127.0.0.1:8080/event?topic=news
	LastEventID string
	Header      http.Header // beside Accept: text/event-stream
	// ReadBuffer is the size in bytes of the kernel's receive buffer; 0: the system's. A
	// small one makes a reader that stops reading felt at once.
	ReadBuffer int
	// Dial replaces the connection over TCP, if it is not nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Reader reads one event stream. It belongs to one goroutine, but for Close.
type Reader struct {
	Status int
	Header http.Header

	conn    net.Conn
	scanner *event.Scanner
	stop    func() bool
}

// maxFrame is more than any server of ours sends.
const maxFrame = 64 << 20

// Open opens a stream, whatever its status. The caller closes it; the context's end does too.
func Open(ctx context.Context, r Request) (*Reader, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		request.Header[name] = values
	}
	request.Header.Set("Accept", cmp.Or(request.Header.Get("Accept"), "text/event-stream"))
	if r.LastEventID != "" {
		request.Header.Set("Last-Event-ID", r.LastEventID)
	}
	dial := r.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", request.URL.Host)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && r.ReadBuffer > 0 {
		if err := tcp.SetReadBuffer(r.ReadBuffer); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	s := &Reader{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	if err := request.Write(conn); err != nil {
		s.Close()
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), request) //nolint:bodyclose // Close ends the connection
	if err != nil {
		s.Close()
		return nil, err
	}
	s.Status, s.Header = answer.StatusCode, answer.Header
	s.scanner = event.NewScanner(answer.Body, maxFrame)
	return s, nil
}

// Next returns the next frame, or io.EOF at the stream's end, or what the connection says.
func (r *Reader) Next() (event.Frame, error) {
	if r.scanner.Scan() {
		return r.scanner.Frame(), nil
	}
	return event.Frame{}, cmp.Or(r.scanner.Err(), io.EOF)
}

// Event returns the next frame of the type that has data; of any type if it is empty.
func (r *Reader) Event(typ string) (event.Frame, error) {
	for {
		f, err := r.Next()
		if err != nil || f.HasData && (typ == "" || f.Type == typ) {
			return f, err
		}
	}
}

// Conn is the stream's connection.
func (r *Reader) Conn() net.Conn { return r.conn }

// Close closes the connection.
func (r *Reader) Close() {
	r.stop()
	_ = r.conn.Close() // it may be closed
}

// EventSource reads a stream as a browser's EventSource does (WHATWG HTML, 9.2.2): it comes
// back after the reconnection time, with its last event ID, and ends for good at a status
// other than 200. Its functions are called from the goroutine of Run; each may be nil.
type EventSource struct {
	Request Request // its LastEventID is where it begins
	Event   func(event.Frame)
	Opened  func(time.Time)
	Closed  func(time.Time) // an open stream has ended, not by its context
	Failed  func(error)     // a connection could not be made; it is tried again

	retry time.Duration
}

// Run reads until ctx is done, which is no error.
func (s *EventSource) Run(ctx context.Context) error {
	s.retry = time.Second
	for ctx.Err() == nil {
		if err := s.once(ctx); err != nil {
			return err
		}
		timer := time.NewTimer(s.retry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return nil
}

func (s *EventSource) once(ctx context.Context) error {
	r, err := Open(ctx, s.Request)
	if err != nil {
		if s.Failed != nil && ctx.Err() == nil {
			s.Failed(err)
		}
		return nil
	}
	defer r.Close()
	if r.Status != http.StatusOK {
		return fmt.Errorf("an EventSource stops for good at status %d", r.Status)
	}
	if s.Opened != nil {
		s.Opened(time.Now())
	}
	for {
		f, err := r.Next()
		if err != nil {
			if s.Closed != nil && ctx.Err() == nil {
				s.Closed(time.Now())
			}
			return nil
		}
		if f.HasRetry {
			s.retry = f.Retry
		}
		if f.ID != "" {
			s.Request.LastEventID = f.ID
		}
		if f.HasData && s.Event != nil {
			s.Event(f)
		}
	}
}
