package handlers

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"freshet/auth"

	"github.com/gin-gonic/gin"
)

// connection is what the list of the open streams keeps of one.
type connection struct {
	id         uint64
	began      time.Time
	next, prev *parked
	parked     atomic.Bool
}

// connections is the list of the open streams, the newest first.
type connections struct {
	mu     sync.Mutex
	newest *parked
	last   uint64 // ID that was given
	open   int
}

func (l *connections) add(p *parked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.open++
	p.connection.id, p.connection.began = l.last, time.Now()
	if p.connection.next = l.newest; l.newest != nil {
		l.newest.connection.prev = p
	}
	l.newest = p
}

func (l *connections) remove(p *parked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	next, prev := p.connection.next, p.connection.prev
	if prev != nil {
		prev.connection.next = next
	} else {
		l.newest = next
	}
	if next != nil {
		next.connection.prev = prev
	}
	p.connection.next, p.connection.prev = nil, nil
}

// some are the newest, at most n, and how many there are in all.
func (l *connections) some(n int) (some []*parked, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := l.newest; p != nil && len(some) < n; p = p.connection.next {
		some = append(some, p)
	}
	return some, l.open
}

// find is nil if no such stream is open.
func (l *connections) find(id uint64) *parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := l.newest; p != nil && p.connection.id >= id; p = p.connection.next {
		if p.connection.id == id {
			return p
		}
	}
	return nil
}

// endIf ends the open streams whose caller matches, because the caller may read no longer.
func (l *connections) endIf(match func(auth.Caller) bool) {
	l.mu.Lock()
	var leashes []*leash
	for p := l.newest; p != nil; p = p.connection.next {
		if match(p.caller) {
			leashes = append(leashes, p.leash)
		}
	}
	l.mu.Unlock()
	for _, leash := range leashes {
		leash.end()
	}
}

// States of a stream, as an operator sees it.
const (
	stateLive       = "live"
	stateCatchingUp = "catching up"
	stateParked     = "parked"
)

// connectionAnswer is how an open stream is shown.
type connectionAnswer struct {
	ID      string   `json:"id"`
	Topics  []string `json:"topics"`
	Since   string   `json:"since"`   // the cursor that it began with; empty if with the newest of each topic
	Events  uint64   `json:"events"`  // that were sent, without the server's own
	Lag     uint64   `json:"lag"`     // events of the log, whatever their topic, that it may be due
	State   string   `json:"state"`   //
	Address string   `json:"address"` // the client's, or its network
	Seconds float64  `json:"seconds"` // since it was opened
	Node    string   `json:"node,omitempty"`
}

func (p *parked) answer(node string) connectionAnswer {
	a := connectionAnswer{
		ID:      strconv.FormatUint(p.connection.id, 36),
		Topics:  p.topics(),
		Since:   p.from.String(),
		Events:  p.sub.Sent(),
		Lag:     p.sub.Lag(),
		State:   stateLive,
		Address: p.address.String(),
		Seconds: time.Since(p.connection.began).Round(time.Millisecond).Seconds(),
		Node:    node,
	}
	if p.address.IsSingleIP() {
		a.Address = p.address.Addr().String()
	}
	switch {
	case p.connection.parked.Load():
		a.State = stateParked
	case a.Lag > 0:
		a.State = stateCatchingUp
	}
	return a
}

// How many connections are shown where no limit is asked for, and at most.
const (
	defaultConnections = 100
	maxConnections     = 1000
)

// listConnections serves GET /connections: the newest open streams of this node, and the
// figures of every node.
func (h *Handlers) listConnections(c *gin.Context) {
	if err := operator(c); err != nil {
		fail(c, err)
		return
	}
	limit := defaultConnections
	if text := c.Query("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxConnections {
			fail(c, fmt.Errorf("%w: limit must be 1 to %d", errRequest, maxConnections))
			return
		}
	}
	some, all := h.connections.some(limit)
	answers := make([]connectionAnswer, 0, len(some))
	for _, p := range some {
		answers = append(answers, p.answer(h.cfg.Node))
	}
	c.Header("Cache-Control", "no-store")
	c.PureJSON(http.StatusOK, gin.H{"total": all, "connections": answers, "nodes": h.nodes.all()})
}

// endConnection serves DELETE /connections/{id}: its reader is told to come back, as by a drain.
func (h *Handlers) endConnection(c *gin.Context) {
	if err := operator(c); err != nil {
		fail(c, err)
		return
	}
	var p *parked
	if id, err := strconv.ParseUint(c.Param("id"), 36, 64); err == nil {
		p = h.connections.find(id)
	}
	if p == nil {
		fail(c, errNoConnection)
		return
	}
	p.sub.End()
	c.Status(http.StatusNoContent)
}

// operator is nil if the caller is one.
func operator(c *gin.Context) error {
	switch caller := auth.FromContext(c.Request.Context()); {
	case caller.Operator():
		return nil
	case caller.Subject() == "":
		return fmt.Errorf(`%w: for this, send "Authorization: Bearer <publish token>"`, auth.ErrUnauthenticated)
	}
	return fmt.Errorf("%w: this is for the publish token alone", auth.ErrForbidden)
}
