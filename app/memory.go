package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// returnMemory gives memory back to the system once a crowd of streams has been opened: the
// garbage of its requests is several times what parked streams need, and the runtime would keep
// the room for long. Opened is how many streams were opened since the start.
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

// crowd follows how streams are opened, second by second.
type crowd struct{ last, told uint64 }

// A crowd is so many, and it has settled when hardly any come in a second.
const (
	crowdMany = 1000
	crowdFew  = 100
)

// settled says that a crowd has come since it last said so, and has settled.
func (c *crowd) settled(opened uint64) bool {
	few := opened-c.last < crowdFew
	c.last = opened
	if !few || opened-c.told < crowdMany {
		return false
	}
	c.told = opened
	return true
}
