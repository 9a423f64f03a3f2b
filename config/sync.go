package config

import (
	"fmt"
	"time"
)

// Sync says when to sync the embedded log to disk: always, before a publish is answered, or every Interval of at least 1s. Its text is
// `always` or the interval.
type Sync struct {
	Always   bool
	Interval time.Duration // 0 if Always
}

func parseSync(text string) (Sync, error) {
	if text == "always" {
		return Sync{Always: true}, nil
	}
	interval, err := parseDuration(text)
	if err != nil || interval < time.Second {
		return Sync{}, fmt.Errorf("%q is not allowed: want always or an interval of at least 1s", text)
	}
	return Sync{Interval: interval}, nil
}
