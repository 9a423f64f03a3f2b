package auth

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

const (
	// leaseInterval is how often a node says that it is there, and leaseMissed when it is taken to be gone.
	leaseInterval = 10 * time.Second
	leaseMissed   = 30 * time.Second
	// leaseKept is how long the store keeps what only a node that is there writes again: a server that was away for longer finds
	// no ticket in use.
	leaseKept = 24 * time.Hour
	// keptOutages is how many of the last outages are remembered.
	keptOutages = 8
)

type lease struct {
	At    int64 `json:"at"`
	Ended bool  `json:"ended,omitempty"` // the node has said good-bye
}

// outage is a time in which no node was there.
type outage struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// begin learns which nodes there are, and whether there were none for a while. It returns the revision from which on
// the rest is heard.
func (t *Tickets) begin(ctx context.Context) (after uint64, err error) {
	tick := time.NewTicker(notePause)
	defer tick.Stop()
	for {
		if after, err = t.survey(ctx); err == nil {
			close(t.begun)
			return after, nil
		}
		t.logger.Warn("the store of the tickets does not answer", "error", err)
		t.mu.Lock()
		t.notBegun = err
		t.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (t *Tickets) survey(ctx context.Context) (after uint64, err error) {
	after, stored, err := t.store.Last(ctx)
	if err != nil {
		return 0, err
	}
	keys, err := t.store.Keys(ctx, leaseKey)
	if err != nil {
		return 0, err
	}
	now, newest, alone := time.Now(), time.Time{}, true
	nodes := map[string]time.Time{}
	for _, key := range keys {
		value, _, err := t.store.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		var l lease
		if json.Unmarshal(value, &l) != nil || l.At == 0 {
			continue // it has run out
		}
		at := time.UnixMilli(l.At)
		nodes[strings.TrimPrefix(key, leaseKey)] = at
		newest = later(newest, at)
		alone = alone && (l.Ended || now.Sub(at) > leaseMissed)
	}
	outages, err := t.outagesSince(ctx, newest, now, alone)
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes, t.outages, t.leasing = nodes, outages, stored > 0
	return after, nil
}

// outagesSince returns the outages that are known, with one until now if no other node is there, and was at last.
func (t *Tickets) outagesSince(ctx context.Context, last, now time.Time, alone bool) ([]outage, error) {
	for {
		value, revision, err := t.store.Get(ctx, outagesKey)
		if err != nil {
			return nil, err
		}
		outages := decodeOutages(value)
		if !alone || last.IsZero() {
			return outages, nil
		}
		outages = append(outages, outage{last.UnixMilli(), now.UnixMilli()})
		outages = outages[max(0, len(outages)-keptOutages):]
		if value, err = json.Marshal(outages); err != nil {
			return nil, err
		}
		// A full disk is no reason to take no tickets.
		if revision, err = t.store.Put(ctx, outagesKey, value, revision, 2*leaseKept); err != nil || revision != 0 {
			return outages, ctx.Err()
		}
	}
}

func decodeOutages(value []byte) (outages []outage) {
	_ = json.Unmarshal(value, &outages) // what cannot be read is none
	return outages
}

// renew writes the node's lease if it is time to.
func (t *Tickets) renew(ctx context.Context, ended bool) {
	now := time.Now()
	t.mu.Lock()
	leasing := t.leasing
	for node, at := range t.nodes {
		if now.Sub(at) > leaseKept {
			delete(t.nodes, node)
		}
	}
	t.mu.Unlock()
	if !leasing || !ended && now.Sub(t.leased.at) < leaseInterval {
		return
	}
	value, err := json.Marshal(lease{now.UnixMilli(), ended})
	if err != nil {
		return
	}
	for range 2 {
		revision, errPut := t.store.Put(ctx, leaseKey+t.node, value, t.leased.revision, leaseKept)
		switch {
		case errPut != nil:
			t.logger.Debug("the lease is not renewed", "error", errPut)
			return
		case revision != 0:
			t.leased.at, t.leased.revision = now, revision
			return
		}
		// An answer was lost, or the lease has run out.
		if _, t.leased.revision, err = t.store.Get(ctx, leaseKey+t.node); err != nil {
			return
		}
	}
}
