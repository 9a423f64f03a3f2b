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
	HasID   bool          // the frame has an ID of its own
	Retry   time.Duration // the reconnection time that the frame sets
	// HasRetry distinguishes a reconnection time of 0 from none.
	HasRetry bool
	// TooLong is set for a frame that the scanner has skipped: it has no Data. See [Scanner.SkipLongFrames].
	TooLong bool
}

// maxOtherLine is the largest line, in bytes, that is read of a frame that is skipped: its ID must not be lost.
const maxOtherLine = 4 << 10

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
	maxSkip int    // bytes of a frame that is skipped; 0: none is
	skipped int    // bytes that were dropped of this frame
	err     error
}

// NewScanner returns a scanner of r. It fails at a frame of more than maxFrame bytes, without its comments.
func NewScanner(r io.Reader, maxFrame int) *Scanner {
	return &Scanner{r: bufio.NewReader(r), max: maxFrame}
}

// SkipLongFrames makes the scanner skip a frame that is too long, instead of failing: it returns the frame's type and ID with TooLong.
// It still fails at a frame of which it has dropped more than limit bytes.
func (s *Scanner) SkipLongFrames(limit int) { s.maxSkip = limit }

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
	s.data, s.skipped = s.data[:0], 0
	for {
		limit := s.max - size
		if frame.TooLong {
			limit = maxOtherLine
		}
		text, cut, err := s.readLine(limit)
		if err != nil {
			s.err = err
			return false
		}
		if cut {
			frame.TooLong, frame.HasData, fields = true, true, true
			s.data = s.data[:0]
			continue
		}
		if len(text) == 0 {
			s.lastID = id
			if !fields {
				frame, size, s.skipped = Frame{Type: "message"}, 0, 0
				continue
			}
			frame.ID = id
			frame.Data = string(bytes.TrimSuffix(s.data, []byte("\n")))
			s.frame = frame
			return true
		}
		if frame.TooLong {
			if s.skipped += len(text); s.skipped > s.maxSkip {
				s.err = ErrFrameTooLong
				return false
			}
		} else if text[0] != ':' { // comments are not kept, and some servers send nothing else for days
			size += len(text)
		}
		name, value, _ := bytes.Cut(text, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			if s.typ != string(value) {
				s.typ = string(value)
			}
			frame.Type = cmp.Or(s.typ, "message")
		case "data":
			frame.HasData, fields = true, true
			if !frame.TooLong {
				s.data = append(s.data, value...)
				s.data = append(s.data, '\n')
			}
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				id, frame.HasID, fields = string(value), true, true
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

// readLine reads a line of at most limit bytes, and returns it without its end. It is valid until the next call. A longer line fails, or is
// dropped and cut is true, except that a comment is cut to its colon. The error is io.EOF if the stream ends within the line.
func (s *Scanner) readLine(limit int) (line []byte, cut bool, err error) {
	s.line = s.line[:0]
	comment, begun := false, false
	for {
		if _, err := s.r.Peek(1); err != nil {
			return nil, false, err
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
		if !begun {
			begun, comment = true, len(text) > 0 && text[0] == ':'
		}
		if cut || len(s.line)+len(text) > limit {
			if s.skipped += len(s.line) + len(text); s.skipped > s.maxSkip {
				return nil, false, ErrFrameTooLong
			}
			cut, s.line = true, s.line[:0]
		} else if end < 0 || len(s.line) > 0 {
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
		if cut && comment {
			return []byte(":"), false, nil
		}
		return text, cut, nil
	}
}
