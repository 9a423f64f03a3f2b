package hub

import (
	"time"

	"freshet/event"
)

// Entry is an event, encoded once and shared by all subscribers. It never changes.
type Entry struct {
	Event event.Event

	encoded [event.Formats]event.Encoded // in the formats that had subscribers when the event arrived
	size    int64
	expires int64 // when the entry's TTL is over, in Unix nanoseconds; 0: never
}

// Encoded returns the event in the format.
func (e *Entry) Encoded(f event.Format) event.Encoded {
	if e.encoded[f].Bytes == nil {
		return f.Encode(e.Event)
	}
	return e.encoded[f]
}

// entryOverhead is roughly the memory of an entry without its payload and encoded forms.
const entryOverhead = 224

// entrySize is the memory that an entry of the event takes at most.
func entrySize(e event.Event, formats ...event.Format) int64 {
	size := len(e.Data()) + entryOverhead
	for _, f := range formats {
		size += f.Size(e)
	}
	return int64(size)
}

func newEntry(e event.Event, formats ...event.Format) *Entry {
	entry := &Entry{Event: e, size: entrySize(e, formats...)}
	for _, f := range formats {
		entry.encoded[f] = f.Encode(e)
	}
	return entry
}

// expired reports whether the entry's TTL is over. The log may have deleted the event already.
func (e *Entry) expired() bool { return e.expires != 0 && e.expires <= time.Now().UnixNano() }

func (e *Entry) seq() uint64 { return e.Event.ID().Seq() }
