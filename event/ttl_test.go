package event_test

import (
	"errors"
	"testing"
	"time"

	"freshet/event"
)

func TestTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1s": time.Second, "90m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "1w2d3h": (9*24 + 3) * time.Hour, "1001ms": 2 * time.Second, "3650d": event.MaxTTL,
	} {
		ttl, err := event.ParseTTL(text)
		if err != nil || ttl.Duration() != want || ttl.IsZero() {
			t.Errorf("%q is %v, %v", text, ttl, err)
		}
		if again, err := event.ParseTTL(ttl.String()); again != ttl || err != nil {
			t.Errorf("%v is parsed as %v, %v", ttl, again, err)
		}
	}
	for _, text := range []string{"", "0", "0s", "999ms", "-1s", "60", "soon", "3651d", "1e99w", "never"} {
		ttl, err := event.ParseTTL(text)
		if invalid, ok := errors.AsType[*event.InvalidError](err); !ok || invalid.Field != "ttl" || !ttl.IsZero() {
			t.Errorf("%q is %v, %v", text, ttl, err)
		}
	}
	hour, errHour := event.NewTTL(time.Hour)
	minute, errMinute := event.NewTTL(time.Minute)
	if errHour != nil || errMinute != nil {
		t.Fatal(errHour, errMinute)
	}
	for _, c := range []struct{ a, b, want event.TTL }{{hour, minute, minute}, {minute, hour, minute}, {hour, event.TTL{}, hour}, {event.TTL{}, hour, hour}, {}} {
		if got := c.a.Shorter(c.b); got != c.want {
			t.Errorf("of %v and %v, %v is the shorter", c.a, c.b, got)
		}
	}
}
