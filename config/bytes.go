package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size, never negative. Its text is a whole number with an optional unit, in upper or lower case: B, decimal KB, MB, GB, TB
// (powers of 1000) or binary KiB, MiB, GiB, TiB (powers of 1024).
type Bytes int64

func parseBytes(text string) (Bytes, error) {
	if size, negative := strings.CutPrefix(text, "-"); negative {
		if _, err := parseBytes(size); err == nil {
			return 0, fmt.Errorf("%q is negative: want a size such as 1048576, 500KB, 64MiB or 1GiB", text)
		}
	}
	digits := strings.TrimRightFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.ParseUint(digits, 10, 63)
	unit := units[strings.ToLower(text[len(digits):])]
	if err != nil || unit == 0 || Bytes(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not allowed: want a size such as 1048576, 500KB, 64MiB or 1GiB", text)
	}
	return Bytes(n) * unit, nil
}

var units = map[string]Bytes{
	"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// String returns the size in the largest binary unit that divides it. It parses back to the same size.
func (b Bytes) String() string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := units[strings.ToLower(unit)]; b != 0 && b%size == 0 {
			return strconv.FormatInt(int64(b/size), 10) + unit
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
