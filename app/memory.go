package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// returnMemory gives memory back to the system after a crowd of streams was opened or has ended:
// the garbage of its requests is several times what parked streams need, and the runtime would
// keep it for long. Turnover returns how many streams were opened or have ended since the start.
func returnMemory(ctx context.Context, turnover func() uint64) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var c crowd
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if c.settled(turnover()) {
			runtime.GC() // pools keep what they have for one more
			debug.FreeOSMemory()
		}
	}
}

// crowd has the turnover of streams at the last call and at the last crowd.
type crowd struct{ last, told uint64 }

// settled is called each second. It reports true after a crowd of 1000 streams or more, once
// fewer than 100 come or go in a second.
func (c *crowd) settled(turnover uint64) bool {
	few := turnover-c.last < 100
	c.last = turnover
	if !few || turnover-c.told < 1000 {
		return false
	}
	c.told = turnover
	return true
}
