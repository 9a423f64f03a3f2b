// Package handlers serves Freshet over HTTP: the event stream, publishing, history, the
// page and health. It mounts on any Gin router with [Handlers.Register].
//
// A stream is opened at once and ended by its reader, by a write that takes nothing for
// half a minute, or by [Handlers.Drain]. Nothing is written into an open stream but
// frames: no error text, no status. Publishing answers after the log has the event. Who may
// publish and read what is for package auth's caller in the request's context to say;
// without middleware that authenticates, everybody may read everything and nobody may
// publish. Tickets, for browsers, are issued to callers with a token, and accepted here. Every
// error is answered as JSON, {"error":{"code","message"}}, from one table.
package handlers

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"
	"freshet/hub"
	"freshet/limit"
	"freshet/park"
	"freshet/ticket"

	"github.com/gin-gonic/gin"
)

// Log is what the handlers need of the log beside the hub.
type Log interface {
	Append(ctx context.Context, entry eventlog.Entry) eventlog.Receipt
	AppendAll(ctx context.Context, entries []eventlog.Entry) []eventlog.Receipt
	State(ctx context.Context) (eventlog.State, error)
	Ready(ctx context.Context) error
}

// Config wires the handlers. Log and Hub are needed; every other zero value is of use.
type Config struct {
	Log Log
	Hub *hub.Hub

	Page   *template.Template // has "index.html"; nil: no page
	Assets fs.FS              // what /assets/ serves; nil: nothing

	CounterInterval    time.Duration // between the counts of a connection; 0: no counter
	Heartbeat          time.Duration // after so long without an ID a stream sends its cursor; 0: never
	RetryMin, RetryMax time.Duration // reconnection time, drawn for each connection; 0 means 1 s and 3 s

	// A client's address is what the router's ClientIP says, so the router has to be told
	// which proxies to trust, or none: gin.Engine trusts all unless SetTrustedProxies is
	// called. IPv6 addresses count by their /64.
	MaxConnections           int   // open streams; 0: no limit
	MaxConnectionsPerAddress int   // open streams of one client address; 0: no limit
	MaxTopics                int   // topics of one stream; 0: no limit
	MaxBody                  int64 // bytes of a published body; 0 means 1 MiB
	// PublishRate is events a second, ten seconds' worth at once, of the subject of a token
	// or else of one client address; the publish token counts by address, as many share it.
	// 0: no limit.
	PublishRate int

	// Park holds caught-up streams over plain HTTP/1.1 without a goroutine each, where the
	// system has the means. [Handlers.Run] is what serves them.
	Park bool

	// Tickets authenticate browsers, which cannot send a token; nil: there are none.
	// [Handlers.Run] runs them.
	Tickets *ticket.Tickets

	// Nodes is how this node hears of the others; nil: not at all. [Handlers.Run] listens.
	Nodes Nodes

	Node    string       // this server's name in stats
	Version string       // shown on the page
	Logger  *slog.Logger // nil: logs nothing
}

// Handlers serves one log and hub.
type Handlers struct {
	cfg         Config
	log         Log
	hub         *hub.Hub
	logger      *slog.Logger
	gate        gate
	connections connections
	park        *park.Park // nil: streams stay with their goroutines
	stats       stats
	nodes       nodes
	assets      map[string]asset
	publishRate *limit.Rate[publisher]
	pages       chan struct{} // one token for each page of history that is being answered
	// readers counts the requests for pages of each network, those that wait included.
	readers *limit.Concurrency[netip.Prefix]
}

// New returns handlers for the configuration, or an error that names what is wrong in it.
func New(cfg Config) (*Handlers, error) {
	cfg.RetryMin = cmp.Or(cfg.RetryMin, time.Second)
	cfg.RetryMax = cmp.Or(cfg.RetryMax, max(3*time.Second, cfg.RetryMin))
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 1<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Log == nil || cfg.Hub == nil:
		return nil, errors.New("handlers: a log and a hub are needed")
	case cfg.CounterInterval < 0 || cfg.Heartbeat < 0 || cfg.MaxConnections < 0 || cfg.MaxConnectionsPerAddress < 0 ||
		cfg.MaxTopics < 0 || cfg.MaxBody < 0 || cfg.PublishRate < 0:
		return nil, errors.New("handlers: an interval or limit is negative")
	case cfg.RetryMin < 0 || cfg.RetryMax < cfg.RetryMin:
		return nil, errors.New("handlers: the reconnection times are not a span")
	}
	h := &Handlers{
		cfg: cfg, log: cfg.Log, hub: cfg.Hub, logger: cfg.Logger,
		gate:        newGate(cfg.MaxConnections, cfg.MaxConnectionsPerAddress),
		publishRate: newPublishRate(cfg.PublishRate),
		pages:       make(chan struct{}, maxPages),
		readers:     limit.NewConcurrency[netip.Prefix](maxAddressPages),
	}
	var err error
	if cfg.Park {
		if h.park, err = h.newPark(); err != nil && !errors.Is(err, park.ErrUnsupported) {
			return nil, err
		}
	}
	if cfg.Assets != nil {
		if h.assets, err = loadAssets(cfg.Assets); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Register adds the routes to the router.
func (h *Handlers) Register(r gin.IRouter) {
	r.GET("/event", h.stream)
	r.GET("/event/:topic", h.stream)
	r.POST("/event", h.publishMany)
	r.POST("/event/:topic", h.publish)
	reads := []string{http.MethodGet, http.MethodHead}
	r.Match(reads, "/history", h.history)
	r.Match(reads, "/connections", h.listConnections)
	r.DELETE("/connections/:id", h.endConnection)
	r.Match(reads, "/livez", h.livez)
	r.Match(reads, "/readyz", h.readyz)
	if h.cfg.Tickets != nil {
		r.POST("/ticket", h.issueTicket)
		r.DELETE("/ticket", h.revokeTickets)
		r.DELETE("/ticket/:id", h.revokeTicket)
	}
	if h.cfg.Page != nil {
		r.Match(reads, "/", h.page)
	}
	if h.assets != nil {
		r.Match(reads, "/assets/*name", h.asset)
	}
}

// parseTopics reads the route's topic and the query's: patterns into the log, and which
// of the built-in topics are asked for by name. The caller may read all of them; where none
// is asked for, they are all that the caller may read.
func (h *Handlers) parseTopics(c *gin.Context) (patterns event.Patterns, counter, stats bool, err error) {
	caller := auth.FromContext(c.Request.Context())
	names := c.QueryArray("topic")
	if name := c.Param("topic"); name != "" {
		names = append(names, name)
	}
	if most := h.cfg.MaxTopics; most > 0 && len(names) > most {
		return nil, false, false, &event.InvalidError{Field: "topic", Reason: "too many topics; subscribe to a pattern like orders.* instead"}
	}
	if err := caller.MayReadAnything(); err != nil {
		return nil, false, false, err
	}
	for _, name := range names {
		p, err := event.ParsePattern(name)
		if err == nil {
			err = caller.MayRead(p)
		}
		switch {
		case err != nil:
			return nil, false, false, err
		case name == event.TopicCounter.String():
			counter = true
		case name == event.TopicStats.String():
			stats = true
		default:
			patterns = append(patterns, p)
		}
	}
	if len(names) == 0 {
		return caller.Readable(), true, false, nil
	}
	return patterns, counter, stats, nil
}

// parsePlace reads where a reader begins: its last event ID, if it sends one in any of
// the ways that clients know, and since.
func parsePlace(c *gin.Context) (lastEventID string, since event.Since, err error) {
	lastEventID = c.GetHeader("Last-Event-ID")
	for _, name := range []string{"last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"} {
		lastEventID = cmp.Or(lastEventID, c.Query(name))
	}
	since, err = event.ParseSince(c.Query("since"), time.Now())
	return lastEventID, since, err
}
