package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// returnMemory gives memory back to the system after a crowd of streams was opened: the garbage
// of its requests is several times what parked streams need, and the runtime would keep it for
// long. Opened returns how many streams were opened since the start.
func returnMemory(ctx context.Context, opened func() uint64) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var c crowd
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if c.settled(opened()) {
			runtime.GC() // pools keep what they have for one more
			debug.FreeOSMemory()
		}
	}
}

// crowd counts the streams that were opened until the last call and the last crowd.
type crowd struct{ last, told uint64 }

// settled is called each second. It reports true after a crowd of 1000 streams or more, once
// fewer than 100 come in a second.
func (c *crowd) settled(opened uint64) bool {
	few := opened-c.last < 100
	c.last = opened
	if !few || opened-c.told < 1000 {
		return false
	}
	c.told = opened
	return true
}
