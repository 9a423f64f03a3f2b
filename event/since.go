package event

import (
	"strconv"
	"strings"
	"time"
)

// MaxNewest is the largest count that a [Since] may name.
const MaxNewest = 100_000

// Since says where in the log a reader begins. The zero value is now: only events that are published later.
type Since struct {
	// At most one is set.
	ID     ID        // after this cursor
	All    bool      // from the first event that the log has
	Last   bool      // with the newest event of each matching topic
	Time   time.Time // with the first event that the log stored at this time or later
	Newest int       // with this many of the newest matching events
}

// ParseSince parses an ID, "all", "last", a duration before now ("10m", "7d"), an RFC 3339 time or a count ("-20"). The error
// is an [InvalidError] for the field "since".
func ParseSince(s string, now time.Time) (Since, error) {
	switch s {
	case "":
		return Since{}, nil
	case "all":
		return Since{All: true}, nil
	case "last":
		return Since{Last: true}, nil
	}
	if id, err := ParseID(s); err == nil {
		return Since{ID: id}, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n < 0 && n >= -MaxNewest {
		return Since{Newest: -n}, nil
	}
	if d, err := ParseDuration(s); err == nil {
		return Since{Time: now.Add(-d)}, nil
	}
	// A + that is not escaped in a URL arrives as a space.
	if at, err := time.Parse(time.RFC3339, strings.Replace(s, " ", "+", 1)); err == nil {
		// The log's times are nanoseconds since 1970, which cannot express every year.
		if at.Year() < 1970 {
			return Since{All: true}, nil
		}
		if at.After(now) {
			at = now
		}
		return Since{Time: at}, nil
	}
	return Since{}, invalid("since", "must be an event ID, all, last, a duration like 10m or 7d, an RFC 3339 time, or a count from -1 to -%d", MaxNewest)
}
