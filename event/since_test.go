package event_test

import (
	"testing"
	"time"

	"freshet/event"

	"github.com/google/go-cmp/cmp"
)

func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]event.Since{
		"":                     {},
		"all":                  {All: true},
		"last":                 {Last: true},
		"10-7":                 {ID: event.NewID(36, 7)},
		"-20":                  {Newest: 20},
		"10m":                  {Time: now.Add(-10 * time.Minute)},
		"7d":                   {Time: now.Add(-7 * 24 * time.Hour)},
		"1w1d12h":              {Time: now.Add(-(8*24 + 12) * time.Hour)},
		"0":                    {Time: now},
		"2026-11-22T10:00:00Z": {Time: now.Add(-2 * time.Hour)},
		"0001-01-01T00:00:00Z": {All: true},
		"1500-01-01T00:00:00Z": {All: true},
		"9999-01-01T00:00:00Z": {Time: now},
		// from a URL whose + was not escaped
		"2026-11-22T12:00:00 02:00": {Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("", 7200))},
	} {
		got, err := event.ParseSince(s, now)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(event.ID{})); err != nil || diff != "" {
			t.Errorf("ParseSince(%q): %v\n%s", s, err, diff)
		}
	}
	for _, s := range []string{"20", "-0", "-100001", "-10m", "+10m", "-1d", "d", "1d-1h", "yesterday", "2026-11-22", "ALL"} {
		if since, err := event.ParseSince(s, now); err == nil {
			t.Errorf("ParseSince(%q) = %+v", s, since)
		}
	}
}

func FuzzSince(f *testing.F) {
	f.Add("10m")
	f.Add("2026-11-22T10:00:00+99:99")
	f.Fuzz(func(t *testing.T, s string) {
		since, err := event.ParseSince(s, time.Unix(0, 0))
		if err == nil && s != "" && cmp.Equal(since, event.Since{}, cmp.AllowUnexported(event.ID{})) {
			t.Errorf("%q means now", s)
		}
	})
}
