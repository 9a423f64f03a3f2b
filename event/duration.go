package event

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// weeksAndDays matches a number of weeks and one of days, in front of the units of package time.
var weeksAndDays = regexp.MustCompile(`^(?:([0-9]+)w)?(?:([0-9]+)d)?([^-+]*)$`)

// ParseDuration is [time.ParseDuration] with weeks and days in front, such as 2w, 7d and 1d12h, and without a sign. More days than
// a [time.Duration] can hold are the longest one.
func ParseDuration(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	m := weeksAndDays.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	var rest time.Duration
	if m[3] != "" || m[1]+m[2] == "" {
		var err error
		if rest, err = time.ParseDuration(m[3]); err != nil {
			return 0, err
		}
	}
	weeks, _ := strconv.ParseFloat("0"+m[1], 64) // digits, so the only error is an infinite number
	days, _ := strconv.ParseFloat("0"+m[2], 64)
	days += 7 * weeks
	if days*float64(day)+float64(rest) >= math.MaxInt64 {
		return math.MaxInt64, nil
	}
	return time.Duration(days)*day + rest, nil
}
