//go:build unix

package app

import (
	"math"

	"golang.org/x/sys/unix"
)

// descriptorLimit is how many descriptors the process may have open, 0 if that is unknown. The Go runtime has raised the limit as
// far as the system allows.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt32 { //nolint:unconvert // signed on some systems
		return 0
	}
	return int(limit.Cur)
}
