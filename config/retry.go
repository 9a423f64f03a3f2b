package config

import (
	"fmt"
	"strings"
	"time"
)

// Retry is the range that reconnection times are drawn from: at least 1ms, Min at most Max. Its text is `1s-3s`, or `2s` for both.
type Retry struct {
	Min, Max time.Duration
}

func parseRetry(text string) (Retry, error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	least, errLeast := parseDuration(low)
	most, errMost := parseDuration(high)
	// 0 does not mean off here: without a pause all browsers would come back at once, and keep doing so.
	if errLeast != nil || errMost != nil || least == 0 || least > most {
		return Retry{}, fmt.Errorf("%q is not allowed: want a range such as 1s-3s or one duration such as 2s, at least 1ms", text)
	}
	return Retry{Min: least, Max: most}, nil
}
