package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"freshet/event"
)

// parseDuration refuses less than a millisecond, because a ticker of nanoseconds would occupy a processor.
func parseDuration(text string) (time.Duration, error) {
	const want = "want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h"
	positive, negative := strings.CutPrefix(text, "-")
	if _, err := strconv.ParseFloat(positive, 64); err == nil && strings.Trim(positive, "0.") != "" {
		return 0, fmt.Errorf("%q has no unit: %s", text, want)
	}
	switch d, err := event.ParseDuration(positive); {
	case err != nil:
		return 0, fmt.Errorf("%q is not allowed: %s", text, want) // the library's words are for programmers
	case d == math.MaxInt64:
		return 0, fmt.Errorf("%q is too long: want at most %dd", text, math.MaxInt64/(24*time.Hour))
	case negative && d > 0:
		return 0, fmt.Errorf("%q is negative: %s", text, want)
	case d > 0 && d < time.Millisecond:
		return 0, fmt.Errorf("%q is too short: want 0 or at least 1ms", text)
	default:
		return d, nil
	}
}
