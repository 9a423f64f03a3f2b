package hub

import (
	"strings"

	"freshet/event"
)

// mergeBytes is about the largest data of a merged entry.
const mergeBytes = 256 << 10

// Merge joins the data of neighbors that have one topic and type, with the separator in between. A joined entry has the ID and time of its
// last event. Entry i of the result stands for the entries from starts[i] to before starts[i+1]. Ends of topics, and gaps, stay alone.
func Merge(entries []*Entry, separator string, f event.Format) (merged []*Entry, starts []int) {
	for i := 0; i < len(entries); {
		first, n, size := entries[i], 1, len(entries[i].Event.Data())
		for ; i+n < len(entries) && mergeable(first.Event, entries[i+n].Event); n++ {
			if size += len(entries[i+n].Event.Data()); size > mergeBytes {
				break
			}
		}
		starts = append(starts, i)
		merged = append(merged, join(entries[i:i+n], separator, f))
		i += n
	}
	return merged, append(starts, len(entries))
}

func mergeable(a, b event.Event) bool {
	return a.Topic() == b.Topic() && a.Type() == b.Type() && !a.Type().Reserved()
}

// join returns the entries as one.
func join(entries []*Entry, separator string, f event.Format) *Entry {
	if len(entries) == 1 {
		return entries[0]
	}
	parts := make([]string, len(entries))
	for i, e := range entries {
		parts[i] = e.Event.Data()
	}
	last := entries[len(entries)-1].Event
	return newEntry(last.WithData(strings.Join(parts, separator)), f)
}
