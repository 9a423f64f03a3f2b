// Package event holds the words of an event stream and their wire form.
//
// The words are [Event], [ID], [Topic], [Pattern] and [Type]. Each is made only by a
// constructor that validates, so a value that exists can be written: nothing in a
// payload, type or topic can begin a field or a frame of its own. The wire is the
// event stream format of the WHATWG HTML standard, section 9.2: [AppendFrame] writes
// it, [Scanner] reads it back. [AppendLine] writes the same events as NDJSON.
//
// Everything here is a value or a pure function; nothing blocks but [Scanner.Scan],
// which reads from its reader.
package event

import "fmt"

// InvalidError says which part of an event was refused and what is allowed there.
type InvalidError struct {
	Field  string // "topic", "type", "data", "id" or "since"
	Reason string // what is allowed, in a few words
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
