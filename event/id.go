package event

import (
	"strconv"
	"strings"
)

// ID is an event ID: the epoch of the log that has the event, and the event's sequence there. Its text is
// <epoch>-<sequence>, the epoch in base 36: under 40 bytes of lower-case letters, digits and one dash, so a cross-origin
// client can send it as Last-Event-ID without a preflight. As a cursor, an ID is just after its event, and sequence 0 is
// before the first event. The zero value is no ID.
type ID struct{ epoch, seq uint64 }

// NewID returns the ID of a sequence in the epoch. An epoch is never 0.
func NewID(epoch, seq uint64) ID { return ID{epoch, seq} }

// ParseID parses the text of [ID.String], and nothing else. The error is an [InvalidError] for the field "id".
func ParseID(s string) (ID, error) {
	epochText, seqText, _ := strings.Cut(s, "-")
	epoch, errEpoch := strconv.ParseUint(epochText, 36, 64)
	seq, errSeq := strconv.ParseUint(seqText, 10, 64)
	id := ID{epoch, seq}
	if errEpoch != nil || errSeq != nil || epoch == 0 || id.String() != s {
		return ID{}, invalid("id", "must be an event ID of this server, like k3f9x2ab-1842")
	}
	return id, nil
}

// Epoch returns the epoch of the log that the ID belongs to, 0 for no ID.
func (id ID) Epoch() uint64 { return id.epoch }

// Seq returns the sequence within the epoch.
func (id ID) Seq() uint64 { return id.seq }

// IsZero reports whether it is no ID.
func (id ID) IsZero() bool { return id.epoch == 0 }

// String returns the ID's text, "" for no ID.
func (id ID) String() string { return string(id.append(nil)) }

// MarshalText returns the same as String.
func (id ID) MarshalText() ([]byte, error) { return id.append(nil), nil }

// UnmarshalText reads what MarshalText returns: an ID as [ParseID] does, or no ID.
func (id *ID) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	*id, err = ParseID(string(text))
	return err
}

func (id ID) append(dst []byte) []byte {
	if id.IsZero() {
		return dst
	}
	dst = strconv.AppendUint(dst, id.epoch, 36)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, id.seq, 10)
}
