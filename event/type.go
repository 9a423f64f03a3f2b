package event

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxType is the longest event type, in bytes.
const MaxType = MaxTopic

// Type is an event type, the name that a browser passes to addEventListener: 1 to [MaxType] bytes of printable UTF-8
// without a space at either end. The zero value is the type "message", which the wire omits.
type Type struct{ name string }

// Types of the server's own events. All but stats are reserved: nobody can publish them.
var (
	TypeGap         = Type{"gap"}
	TypeDrain       = Type{"drain"}
	TypeBusy        = Type{"busy"}
	TypeAuthExpired = Type{"auth-expired"}
	TypeEnd         = Type{"end"}
	TypeStats       = Type{"stats"}
)

// ParseType returns the type s, or an [InvalidError] for the field "type".
func ParseType(s string) (Type, error) {
	switch {
	case s == "message":
		return Type{}, nil
	case s == "":
		return Type{}, invalid("type", "must not be empty")
	case len(s) > MaxType:
		return Type{}, invalid("type", "must not be longer than %d bytes", MaxType)
	case !utf8.ValidString(s):
		return Type{}, invalid("type", "must be UTF-8")
	case strings.TrimSpace(s) != s:
		return Type{}, invalid("type", "must not begin or end with a space")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return Type{}, invalid("type", "must not have %q", r)
		}
	}
	return Type{s}, nil
}

// TypeOf returns the default type of the topic's events: the topic's name.
func TypeOf(t Topic) Type {
	if t.name == "message" {
		return Type{}
	}
	return Type{t.name} // every topic's name is a valid type
}

// String returns the type's name; "message" for the zero value.
func (t Type) String() string {
	if t.name == "" {
		return "message"
	}
	return t.name
}

// Reserved reports whether only the server may send the type.
func (t Type) Reserved() bool {
	return t == TypeGap || t == TypeDrain || t == TypeBusy || t == TypeAuthExpired || t == TypeEnd
}
