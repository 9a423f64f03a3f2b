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

// ErrFrameTooLong is the error of a scanner that meets a frame above its limit.
var ErrFrameTooLong = errors.New("event: frame too long")

// Frame is one frame of an event stream. It may be of any server, so its type and ID are plain text.
type Frame struct {
	Type    string        // "message" if the frame has none
	Data    string        // lines separated by LF
	HasData bool          // false: the frame dispatches nothing
	ID      string        // the last event ID after this frame, which may be an earlier frame's
	Retry   time.Duration // the reconnection time that the frame sets
	// HasRetry distinguishes a reconnection time of 0 from none.
	HasRetry bool
}

// Scanner reads an event stream frame by frame, by the rules of WHATWG HTML 9.2.6. It returns a frame as soon as it has
// read its last line end, which may be a single CR. It never returns a frame that is incomplete at the stream's end.
type Scanner struct {
	r       *bufio.Reader
	max     int
	frame   Frame
	lastID  string
	typ     string // the last type; types repeat, so this saves allocations
	data    []byte // of the current frame
	line    []byte // a line that is longer than the buffered part
	started bool   // the first line, which may have a byte order mark, was read
	skipLF  bool   // the last line ended with CR, so a LF after it belongs to it
	err     error
}

// NewScanner returns a scanner of r. It fails at a frame of more than maxFrame bytes.
func NewScanner(r io.Reader, maxFrame int) *Scanner {
	return &Scanner{r: bufio.NewReader(r), max: maxFrame}
}

// Scan reads the next frame that has a data, id or retry field. It returns false at the stream's end and on an error.
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

// Frame returns the frame that the last [Scanner.Scan] read.
func (s *Scanner) Frame() Frame { return s.frame }

// Err returns nil at the end of the stream, else [ErrFrameTooLong] or the reader's error.
func (s *Scanner) Err() error {
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// readLine reads a line of at most limit bytes, and returns it without its end. It is valid until the next call. The
// error is io.EOF if the stream ends within the line.
func (s *Scanner) readLine(limit int) ([]byte, error) {
	s.line = s.line[:0]
	for {
		if _, err := s.r.Peek(1); err != nil {
			return nil, err
		}
		text, _ := s.r.Peek(s.r.Buffered()) // all that is buffered
		if s.skipLF {
			s.skipLF = false
			if text[0] == '\n' {
				_, _ = s.r.Discard(1) // cannot fail: it is buffered
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
		if !s.started {
			s.started = true
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		return text, nil
	}
}
