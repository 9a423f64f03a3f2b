package event

import (
	"strconv"
	"strings"
	"time"
)

// AppendFrame appends the event as one frame of an event stream (WHATWG HTML 9.2.5):
// the event field unless the type is message, one data field a line, the id field last,
// so that a reader that is cut off within the frame does not count it as had.
func AppendFrame(dst []byte, e Event) []byte {
	if e.typ.name != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, e.typ.name...)
		dst = append(dst, '\n')
	}
	for rest, more := e.data, true; more; {
		var line string
		line, rest, more = cutLine(rest)
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
	}
	dst = appendID(dst, e.id)
	return append(dst, '\n')
}

// AppendCursor appends a frame that dispatches nothing but moves the reader's last event
// ID to the cursor and, where retry is not 0, sets its reconnection time, in whole
// milliseconds. With neither it appends an empty comment, which only keeps the
// connection in use.
func AppendCursor(dst []byte, cursor ID, retry time.Duration) []byte {
	if cursor.IsZero() && retry == 0 {
		return append(dst, ":\n\n"...)
	}
	if retry != 0 {
		dst = append(dst, "retry: "...)
		dst = strconv.AppendInt(dst, retry.Milliseconds(), 10)
		dst = append(dst, '\n')
	}
	dst = appendID(dst, cursor)
	return append(dst, '\n')
}

func appendID(dst []byte, id ID) []byte {
	if id.IsZero() {
		return dst
	}
	dst = append(dst, "id: "...)
	dst = id.append(dst)
	return append(dst, '\n')
}

// cutLine parts the text at its first line end: CRLF, LF or CR.
func cutLine(s string) (line, rest string, found bool) {
	i := strings.IndexAny(s, "\r\n")
	if i < 0 {
		return s, "", false
	}
	line, rest = s[:i], s[i+1:]
	if s[i] == '\r' {
		rest = strings.TrimPrefix(rest, "\n")
	}
	return line, rest, true
}
