package event

import (
	"strconv"
	"strings"
	"time"
)

// appendFrame appends the event as one frame of an event stream (WHATWG HTML, 9.2.5): the event field unless the type is
// message, one data field for each line, the id field last. A client that gets only a part of the frame then does not
// use the ID.
//
// A retry field is in the frame of the event that sets it: htmx 4 ignores one in a frame without an event.
func appendFrame(dst []byte, e Event) []byte {
	dst = appendRetry(dst, e.retry)
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

// appendCursorFrame is [Format.AppendCursor]. Without cursor and retry, it appends an empty comment.
func appendCursorFrame(dst []byte, cursor ID, retry time.Duration) []byte {
	if cursor.IsZero() && retry == 0 {
		return append(dst, ":\n\n"...)
	}
	dst = appendRetry(dst, retry)
	dst = appendID(dst, cursor)
	return append(dst, '\n')
}

func appendRetry(dst []byte, retry time.Duration) []byte {
	if retry == 0 {
		return dst
	}
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, retry.Milliseconds(), 10)
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

// cutLine splits the text at its first line end: CRLF, LF or CR.
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
