// Package event has the terms of an event stream as types, and its wire formats.
//
//   - Types: [Event], [ID], [Topic], [Pattern], [Type], [TTL] and [Since] come only from constructors that validate. So every
//     value can be written: no payload, type or topic can begin a field or a frame.
//   - Formats: [Frames] is the event stream format of the WHATWG HTML standard, section 9.2. [Lines] is NDJSON with the
//     same events. [Scanner] reads frames of any server.
//   - Blocking: everything is a value or a pure function, except [Scanner.Scan], which waits for its reader.
//   - Errors: an [InvalidError] names the field and what is allowed there.
package event

import "fmt"

// InvalidError says which field was refused, and what is allowed there.
type InvalidError struct {
	Field  string // "topic", "type", "data", "ttl", "id" or "since"
	Reason string // what is allowed, in a few words
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
