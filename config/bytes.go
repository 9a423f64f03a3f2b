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
	digits := strings.TrimRightFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.ParseUint(digits, 10, 63)
	unit := unitOf(text[len(digits):])
	if err != nil || unit == 0 || Bytes(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not allowed: want a size such as 1048576, 500KB, 64MiB or 1GiB", text)
	}
	return Bytes(n) * unit, nil
}

// unitOf returns the size of a unit, or 0 if there is no such unit.
func unitOf(text string) Bytes {
	switch strings.ToLower(text) {
	case "", "b":
		return 1
	case "kb":
		return 1e3
	case "mb":
		return 1e6
	case "gb":
		return 1e9
	case "tb":
		return 1e12
	case "kib":
		return 1 << 10
	case "mib":
		return 1 << 20
	case "gib":
		return 1 << 30
	case "tib":
		return 1 << 40
	}
	return 0
}

// String returns the size in the largest binary unit that divides it. It parses back to the same size.
func (b Bytes) String() string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := unitOf(unit); b != 0 && b%size == 0 {
			return strconv.FormatInt(int64(b/size), 10) + unit
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
