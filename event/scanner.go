package event

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
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
	begun  bool // the byte order mark, if any, is behind us
	skipLF bool // the last line ended with CR: a LF that follows belongs to it
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
		data   strings.Builder
		fields bool
		size   int
	)
	for {
		text, err := s.readLine(s.max - size)
		if err != nil {
			s.err = err
			return false
		}
		if text == "" {
			s.lastID = id
			if !fields {
				frame, size = Frame{Type: "message"}, 0
				continue
			}
			frame.ID = id
			frame.Data = strings.TrimSuffix(data.String(), "\n")
			s.frame = frame
			return true
		}
		size += len(text)
		name, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			frame.Type = value
			if value == "" {
				frame.Type = "message"
			}
		case "data":
			data.WriteString(value)
			data.WriteByte('\n')
			frame.HasData, fields = true, true
		case "id":
			if !strings.Contains(value, "\x00") {
				id, fields = value, true
			}
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
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

// readLine reads a line of at most limit bytes without its end. A line that the end of
// the stream cuts off is dropped with it.
func (s *Scanner) readLine(limit int) (string, error) {
	var text strings.Builder
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return "", err
		}
		if s.skipLF {
			s.skipLF = false
			if c == '\n' {
				continue
			}
		}
		if c == '\n' || c == '\r' {
			s.skipLF = c == '\r'
			if !s.begun {
				s.begun = true
				return strings.TrimPrefix(text.String(), "\ufeff"), nil
			}
			return text.String(), nil
		}
		if text.Len() >= limit {
			return "", ErrFrameTooLong
		}
		text.WriteByte(c)
	}
}
