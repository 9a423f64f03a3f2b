package eventlog

import (
	"sync/atomic"
	"time"

	"freshet/metrics/latency"
)

type counters struct {
	stored, repeats, failed atomic.Uint64
	skipped                 atomic.Uint64
	appends                 latency.Histogram
}

func (c *counters) count(began time.Time, receipts ...Receipt) {
	c.appends.Observe(time.Since(began))
	for _, r := range receipts {
		switch {
		case r.Err != nil:
			c.failed.Add(1)
		case r.Repeat:
			c.repeats.Add(1)
		default:
			c.stored.Add(1)
		}
	}
}

// Stats is a snapshot of the log's counts on this node. All but Connected count since the log was opened.
type Stats struct {
	Stored, Repeats, Failed uint64           // events of Append and AppendAll, by their receipt
	Appends                 latency.Snapshot // of calls of Append and AppendAll
	Skipped                 uint64           // messages of the tail that are not valid events
	Connected               bool             // to NATS, embedded or external
	Reconnects              uint64           // connections to NATS after the first
}

// Stats returns a snapshot of the counts. It does not ask NATS.
func (l *Log) Stats() Stats {
	c := &l.counters
	return Stats{
		Stored: c.stored.Load(), Repeats: c.repeats.Load(), Failed: c.failed.Load(), Appends: c.appends.Snapshot(), Skipped: c.skipped.Load(),
		Connected: l.nc.IsConnected(), Reconnects: l.nc.Stats().Reconnects,
	}
}
