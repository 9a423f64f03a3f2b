package relay

import (
	"context"

	"freshet/eventlog"

	"golang.org/x/sync/semaphore"
)

// How much a relay has read and not stored yet. A source that sends more is not read until there is room.
const (
	maxQueued      = 1000
	maxQueuedBytes = 8 << 20
)

// queue has the events between the source and the log, for one goroutine at each end.
type queue struct {
	entries chan eventlog.Entry
	bytes   *semaphore.Weighted
}

func newQueue() *queue {
	return &queue{entries: make(chan eventlog.Entry, maxQueued), bytes: semaphore.NewWeighted(maxQueuedBytes)}
}

func size(e eventlog.Entry) int64 {
	return min(int64(len(e.Event.Data())+len(e.Origin.ID)), maxQueuedBytes)
}

// put waits for room.
func (q *queue) put(ctx context.Context, e eventlog.Entry) error {
	if err := q.bytes.Acquire(ctx, size(e)); err != nil {
		return err
	}
	select {
	case q.entries <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close says that nothing follows.
func (q *queue) close() { close(q.entries) }

// take waits for an event and returns all that are there; nil at the end.
func (q *queue) take(ctx context.Context) (entries []eventlog.Entry) {
	select {
	case e, open := <-q.entries:
		if !open {
			return nil
		}
		entries = append(entries, e)
	case <-ctx.Done():
		return nil
	}
	for len(entries) < maxQueued {
		select {
		case e, open := <-q.entries:
			if !open {
				return entries
			}
			entries = append(entries, e)
		default:
			return entries
		}
	}
	return entries
}

// done makes room for as much as the entries took.
func (q *queue) done(entries []eventlog.Entry) {
	for _, e := range entries {
		q.bytes.Release(size(e))
	}
}
