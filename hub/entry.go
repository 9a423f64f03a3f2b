package hub

import "freshet/event"

// Entry is an event, encoded once and shared by all subscribers. It is never changed.
type Entry struct {
	Event event.Event

	encoded [event.Formats]event.Encoded // in the formats that were wanted when the event came
	size    int64
}

// Encoded returns the event in the format.
func (e *Entry) Encoded(f event.Format) event.Encoded {
	if e.encoded[f].Bytes == nil {
		return f.Encode(e.Event)
	}
	return e.encoded[f]
}

// entryOverhead is about what an entry costs beside its payload and its encoded forms.
const entryOverhead = 224

func newEntry(e event.Event, formats ...event.Format) *Entry {
	entry := &Entry{Event: e, size: int64(len(e.Data()) + entryOverhead)}
	for _, f := range formats {
		entry.encoded[f] = f.Encode(e)
		entry.size += int64(cap(entry.encoded[f].Chunk))
	}
	return entry
}

func (e *Entry) seq() uint64 { return e.Event.ID().Seq() }
