package event

import "time"

// MaxTTL is the longest [TTL].
const MaxTTL = 3650 * 24 * time.Hour

// TTL is how long the log keeps an event, in whole seconds: one second to [MaxTTL]. The zero value sets no limit.
type TTL struct{ seconds uint32 }

// NewTTL returns the duration as a TTL, rounded up to whole seconds. The error is an [InvalidError] for the field "ttl".
func NewTTL(d time.Duration) (TTL, error) {
	if d < time.Second || d > MaxTTL {
		return TTL{}, invalid("ttl", "must be a duration from 1s to 3650d, such as 30s, 90m or 7d")
	}
	return TTL{uint32((d + time.Second - 1) / time.Second)}, nil
}

// ParseTTL is [NewTTL] of a text such as "30s", "90m" or "7d".
func ParseTTL(s string) (TTL, error) {
	d, err := ParseDuration(s)
	if err != nil {
		d = 0
	}
	return NewTTL(d)
}

// Duration returns the TTL as a duration; 0 for the zero value.
func (t TTL) Duration() time.Duration { return time.Duration(t.seconds) * time.Second }

// String returns the TTL in a form that [ParseTTL] and Go's time.ParseDuration accept.
func (t TTL) String() string { return t.Duration().String() }

// IsZero reports whether the TTL sets no limit.
func (t TTL) IsZero() bool { return t == TTL{} }

// Shorter returns the shorter one of two TTLs.
func (t TTL) Shorter(other TTL) TTL {
	if t.IsZero() || !other.IsZero() && other.seconds < t.seconds {
		return other
	}
	return t
}
