package faults_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

// clusterReader is what one reader has received, and when.
type clusterReader struct {
	received

	at map[uint64]time.Time // used by the reader alone until it has ended
}

// wander reads as browsers behind a load balancer do: from one node after the other, with the last event ID.
func (l *clusterLoad) wander(r *clusterReader) {
	cursor := ""
	for l.reading.Err() == nil {
		if err := l.visit(l.anyNode(), r, &cursor); err != nil { // the node cannot serve now
			select {
			case <-time.After(50 * time.Millisecond):
			case <-l.reading.Done():
			}
		}
	}
}

// visit reads some frames from the node, and moves the cursor along.
func (l *clusterLoad) visit(node *apptest.Process, r *clusterReader, cursor *string) error {
	stream, err := node.Open(l.reading, client.Subscription{Topics: []string{"news"}, Since: "all", LastEventID: *cursor, Header: asBrowser()})
	if err != nil {
		return err
	}
	defer stream.Close()
	for range 1 + rand.IntN(100) {
		f, err := stream.Next()
		if err != nil {
			return err
		}
		if f.ID != "" {
			*cursor = f.ID
		}
		switch {
		case f.HasData && f.Type == "gap":
			r.add(client.Event{ID: f.ID, Data: f.Data, Gap: &event.Gap{}})
		case f.HasData && f.Type == "news":
			r.add(client.Event{ID: f.ID, Data: f.Data})
			id, err := event.ParseID(f.ID)
			if err == nil {
				err = l.stored.add(id, f.Data)
			}
			if err != nil {
				r.fail(err)
			}
			r.at[id.Seq()] = time.Now()
		}
	}
	return nil
}

// contents holds the data of events by their ID, as writers and readers have seen them. It is safe for concurrent use.
type contents struct {
	mu   sync.Mutex
	data map[event.ID]string
	ids  map[string]event.ID
}

// add returns an error if an event has other data than somebody has seen under its ID, or if it is stored twice.
func (c *contents) add(id event.ID, data string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.data == nil {
		c.data, c.ids = map[event.ID]string{}, map[string]event.ID{}
	}
	if seen, known := c.data[id]; known && seen != data {
		return fmt.Errorf("event %v is %q for one and %q for another", id, seen, data)
	}
	if stored, known := c.ids[data]; known && stored != id {
		return fmt.Errorf("%q is stored as %v and as %v", data, stored, id)
	}
	c.data[id], c.ids[data] = data, id
	return nil
}
