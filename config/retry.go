package config

import (
	"fmt"
	"strings"
	"time"
)

// Retry is a range of reconnection times: 1ms <= Min <= Max. Its text is `1s-3s`, or `2s` for both.
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
	// 0 does not mean off: without a pause, all browsers would reconnect at once, again and again.
	if errLeast != nil || errMost != nil || least == 0 || least > most {
		return Retry{}, fmt.Errorf("%q is not allowed: want a range such as 1s-3s or one duration such as 2s, at least 1ms", text)
	}
	return Retry{Min: least, Max: most}, nil
}
