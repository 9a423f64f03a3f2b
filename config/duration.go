package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// weeksAndDays matches a number of weeks and one of days, in front of the units of package time: 2w, 7d, 1d12h.
var weeksAndDays = regexp.MustCompile(`^(?:([0-9]+)w)?(?:([0-9]+)d)?([^-+]*)$`)

// parseDuration refuses less than a millisecond, because a ticker of nanoseconds would occupy a processor.
func parseDuration(text string) (time.Duration, error) {
	const want = "want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h"
	positive, negative := strings.CutPrefix(text, "-")
	m := weeksAndDays.FindStringSubmatch(positive)
	if _, err := strconv.ParseFloat(positive, 64); err == nil && strings.Trim(positive, "0.") != "" {
		return 0, fmt.Errorf("%q has no unit: %s", text, want)
	}
	if m == nil {
		return 0, fmt.Errorf("%q is not allowed: %s", text, want)
	}
	weeks, _ := strconv.ParseFloat("0"+m[1], 64) // digits, so the only error is an infinite number
	days, _ := strconv.ParseFloat("0"+m[2], 64)
	days += 7 * weeks
	var rest time.Duration
	if m[3] != "" || m[1]+m[2] == "" {
		var err error
		if rest, err = time.ParseDuration(m[3]); err != nil {
			return 0, fmt.Errorf("%q is not allowed: %s", text, want)
		}
	}
	total := days*float64(day) + float64(rest)
	switch {
	case total >= math.MaxInt64:
		return 0, fmt.Errorf("%q is too long: want at most %dd", text, math.MaxInt64/day)
	case negative && total > 0:
		return 0, fmt.Errorf("%q is negative: %s", text, want)
	case total > 0 && total < float64(time.Millisecond):
		return 0, fmt.Errorf("%q is too short: want 0 or at least 1ms", text)
	}
	return time.Duration(days)*day + rest, nil
}
