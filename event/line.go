package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// line is the JSON form of a cursor, and of an event before its data. Fields without a value are omitted.
type line struct {
	ID    ID        `json:"id,omitzero"`
	Topic string    `json:"topic,omitempty"`
	Type  string    `json:"type,omitempty"`
	Time  time.Time `json:"time,omitzero"`
	Retry int64     `json:"retry,omitempty"` // milliseconds
}

// append appends the line, with its end.
func (l line) append(dst []byte) []byte {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil { // cannot happen with strings and numbers
		return dst
	}
	return buf.Bytes()
}

// appendLine appends the event's line. The data, which may be large, is quoted in its place: encoding/json would make
// two copies of it first.
func appendLine(dst []byte, e Event) []byte {
	dst = line{ID: e.id, Topic: e.topic.name, Type: e.typ.String(), Time: e.time.UTC()}.append(dst)
	dst = append(dst[:len(dst)-len("}\n")], `,"data":`...)
	dst = appendQuoted(dst, e.data)
	if e.retry > 0 {
		dst = strconv.AppendInt(append(dst, `,"retry":`...), e.retry.Milliseconds(), 10)
	}
	return append(dst, "}\n"...)
}

// appendQuoted appends valid UTF-8 as a JSON string, as encoding/json does.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		if n := escaped(s, i); n > 1 {
			dst = append(dst, s[from:i]...)
			dst = appendEscaped(dst, s, i)
			from = i + 1
			if s[i] == lineSeparator[0] {
				from = i + len(lineSeparator)
			}
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// lineSeparator and paragraphSeparator end a line in JavaScript, so encoding/json escapes them.
const lineSeparator, paragraphSeparator = "\u2028", "\u2029"

// escaped is how many bytes the byte at i becomes in a JSON string: 1 if it stays, and for the first byte of a
// separator what the separator becomes.
func escaped(s string, i int) int {
	switch c := s[i]; {
	case c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t':
		return len(`\n`)
	case c < ' ' || c == lineSeparator[0] && i+2 < len(s) && (s[i:i+3] == lineSeparator || s[i:i+3] == paragraphSeparator):
		return len(`\u0000`)
	}
	return 1
}

func appendEscaped(dst []byte, s string, i int) []byte {
	switch c := s[i]; c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	r, _ := utf8.DecodeRuneInString(s[i:])
	return fmt.Appendf(dst, `\u%04x`, r)
}
