package event

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"strconv"
	"time"
)

// ErrFrameTooLong is what [Scanner.Err] returns for a frame larger than the scanner takes.
var ErrFrameTooLong = errors.New("event: frame too long")

// Frame is one frame of an event stream as it was read: any server's, so its type and ID
// are plain text.
type Frame struct {
	Type    string        // "message" where the frame names none
	Data    string        // lines joined by LF
	HasData bool          // false: the frame dispatches nothing
	ID      string        // the last event ID once the frame is read; earlier frames' IDs last
	Retry   time.Duration // the reconnection time that the frame sets
	// HasRetry tells a reconnection time of 0 from none.
	HasRetry bool
}

// Scanner reads an event stream frame by frame, as WHATWG HTML 9.2.6 interprets it. A
// frame is handed out as soon as its last line end is read, a lone CR included, and a
// frame that the stream's end cuts off never is.
type Scanner struct {
	r      *bufio.Reader
	max    int
	frame  Frame
	lastID string
	typ    string // the last type, as types come again and again
	data   []byte // of the frame that is being read
	line   []byte // of which the reader's buffer holds a part only
	begun  bool   // the byte order mark, if any, is behind us
	skipLF bool   // the last line ended with CR: a LF that follows belongs to it
	err    error
}

// NewScanner returns a scanner of r that refuses frames of more than maxFrame bytes.
func NewScanner(r io.Reader, maxFrame int) *Scanner {
	return &Scanner{r: bufio.NewReader(r), max: maxFrame}
}

// Scan reads up to the next frame that holds a data, id or retry field. It returns false
// at the stream's end and on an error.
func (s *Scanner) Scan() bool {
	if s.err != nil {
		return false
	}
	var (
		frame  = Frame{Type: "message"}
		id     = s.lastID
		fields bool
		size   int
	)
	s.data = s.data[:0]
	for {
		text, err := s.readLine(s.max - size)
		if err != nil {
			s.err = err
			return false
		}
		if len(text) == 0 {
			s.lastID = id
			if !fields {
				frame, size = Frame{Type: "message"}, 0
				continue
			}
			frame.ID = id
			frame.Data = string(bytes.TrimSuffix(s.data, []byte("\n")))
			s.frame = frame
			return true
		}
		size += len(text)
		name, value, _ := bytes.Cut(text, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			if s.typ != string(value) {
				s.typ = string(value)
			}
			frame.Type = cmp.Or(s.typ, "message")
		case "data":
			s.data = append(s.data, value...)
			s.data = append(s.data, '\n')
			frame.HasData, fields = true, true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				id, fields = string(value), true
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				frame.Retry, frame.HasRetry, fields = time.Duration(ms)*time.Millisecond, true, true
			}
		}
	}
}

// Frame returns what the last call of [Scanner.Scan] read.
func (s *Scanner) Frame() Frame { return s.frame }

// Err returns what ended the scan: nil at the end of the stream, [ErrFrameTooLong], or
// the reader's error.
func (s *Scanner) Err() error {
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// readLine reads a line of at most limit bytes without its end; it is valid until the next
// call. A line that the end of the stream cuts off is dropped with it.
func (s *Scanner) readLine(limit int) ([]byte, error) {
	s.line = s.line[:0]
	for {
		if _, err := s.r.Peek(1); err != nil {
			return nil, err
		}
		text, _ := s.r.Peek(s.r.Buffered()) // as much as there is
		if s.skipLF {
			s.skipLF = false
			if text[0] == '\n' {
				_, _ = s.r.Discard(1) // it is there
				continue
			}
		}
		end := bytes.IndexByte(text, '\n')
		if end >= 0 {
			text = text[:end]
		}
		if cr := bytes.IndexByte(text, '\r'); cr >= 0 {
			text, end, s.skipLF = text[:cr], cr, true
		}
		if len(s.line)+len(text) > limit {
			return nil, ErrFrameTooLong
		}
		if end < 0 || len(s.line) > 0 {
			s.line = append(s.line, text...)
		}
		if end < 0 {
			_, _ = s.r.Discard(len(text))
			continue
		}
		if len(s.line) > 0 {
			text = s.line
		}
		_, _ = s.r.Discard(end + 1)
		if !s.begun {
			s.begun = true
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		return text, nil
	}
}
