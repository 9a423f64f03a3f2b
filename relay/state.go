package relay

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet/client"
	"freshet/event"
	"freshet/limit"
)

// States of a relay on a node.
const (
	Standby    = "standby"    // another node follows the source
	Connecting = "connecting" // no answer of the source yet
	Live       = "live"
	Waiting    = "waiting" // for the next attempt
	Stopped    = "stopped" // until the server restarts
)

// State describes a relay on this node. Counts begin with the process.
type State struct {
	Topic   string    `json:"topic"`
	Source  string    `json:"source"` // host and path
	State   string    `json:"state"`
	Reason  string    `json:"reason,omitempty"` // of waiting or stopped
	Since   time.Time `json:"since"`            // when the state began
	Next    time.Time `json:"next,omitzero"`    // the next attempt, while waiting
	Events  int64     `json:"events"`           // stored
	Queued  int64     `json:"queued"`           // read and not stored yet
	Skipped int64     `json:"skipped"`          // events that the log cannot store
	Last    time.Time `json:"last,omitzero"`    // when the last event was stored
}

type relay struct {
	cfg    Config
	source Source
	origin string // names the source in the log
	lease  string
	holder []byte // names this process in the lease
	logger *slog.Logger
	queued atomic.Int64 // events read and not stored yet

	mu      sync.Mutex
	state   State
	failing bool // the log says so
	lostLog limit.Log
	skipLog limit.Log
	gapLog  limit.Log
}

// maxText is how many bytes of a text, which may be the source's, go into the state and the log.
const maxText = 300

func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

func (r *relay) current() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.state
	state.Queued = r.queued.Load()
	return state
}

// set changes the state; next is the time until the next attempt.
func (r *relay) set(state, reason string, next time.Duration) {
	reason = shorten(reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.State != state || r.state.Reason != reason {
		r.state.State, r.state.Reason, r.state.Since = state, reason, time.Now()
	}
	r.state.Next = time.Time{}
	if next > 0 {
		r.state.Next = time.Now().Add(next)
	}
}

func (r *relay) connected() {
	r.set(Live, "", 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing {
		r.logger.Info("the relay is live again")
	}
	r.failing = false
}

// disconnected says once, and at most once a minute, that the source is away. A source that ends its stream in order is not.
func (r *relay) disconnected(err error, wait time.Duration) {
	r.set(Waiting, err.Error(), wait)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failing && !errors.Is(err, client.ErrEnded) && r.lostLog.Allow() > 0 {
		r.failing = true
		r.logger.Warn("the relay has lost its source, and tries again", "error", shorten(err.Error()))
	}
}

func (r *relay) stored() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Events++
	r.state.Last = time.Now()
}

// gap says at most once a minute that the source reports missing events.
func (r *relay) gap(g *event.Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gapLog.Allow() > 0 {
		r.logger.Warn("the source reports missing events", "reason", shorten(string(g.Reason)), "requested", shorten(g.Requested))
	}
}

// skip counts an event that is not stored. The log says so once a minute.
func (r *relay) skip(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Skipped++
	if r.skipLog.Allow() > 0 {
		r.logger.Warn("the relay skips an event", "why", why, "skipped", r.state.Skipped)
	}
}
