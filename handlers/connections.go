package handlers

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"freshet/auth"
	"freshet/stream"

	"github.com/gin-gonic/gin"
)

// connectionJSON describes an open stream.
type connectionJSON struct {
	ID      string   `json:"id"`
	Topics  []string `json:"topics"`
	Since   string   `json:"since"`   // the cursor where it started; empty if it started with the newest event of each topic
	Events  uint64   `json:"events"`  // of the log that were sent
	Lag     uint64   `json:"lag"`     // events of the log, of any topic, that it has not looked at yet
	State   string   `json:"state"`   //
	Address string   `json:"address"` // of the client, or its network
	Seconds float64  `json:"seconds"` // since it was opened
	Node    string   `json:"node,omitempty"`
}

func connectionID(s *stream.Stream) string { return strconv.FormatUint(s.ID(), 36) }

func newConnectionJSON(s *stream.Stream, node string) connectionJSON {
	i := s.Info()
	return connectionJSON{
		ID: connectionID(s), Topics: i.Topics, Since: i.From.String(), Events: i.Sent, Lag: i.Lag, State: i.State,
		Address: i.Address, Seconds: i.Open.Round(time.Millisecond).Seconds(), Node: node,
	}
}

// Connections in a list.
const (
	defaultConnections = 100
	maxConnections     = 1000
)

// listConnections serves GET /connections: the newest open streams of this node, and the stats of every node.
func (h *Handlers) listConnections(c *gin.Context) error {
	if err := auth.FromContext(c.Request.Context()).MayOperate(); err != nil {
		return err
	}
	limit, err := parseLimit(c, defaultConnections, maxConnections)
	if err != nil {
		return err
	}
	connections := []connectionJSON{}
	for _, s := range h.streams.Newest(limit) {
		connections = append(connections, newConnectionJSON(s, h.cfg.Node))
	}
	c.Header("Cache-Control", "no-store")
	c.PureJSON(http.StatusOK, gin.H{"total": h.streams.Len(), "connections": connections, "nodes": h.nodes.all()})
	return nil
}

// endConnection serves DELETE /connections/{id}. The client gets the event drain and reconnects.
func (h *Handlers) endConnection(c *gin.Context) error {
	if err := auth.FromContext(c.Request.Context()).MayOperate(); err != nil {
		return err
	}
	var s *stream.Stream
	if id, err := strconv.ParseUint(c.Param("id"), 36, 64); err == nil {
		s = h.streams.Find(id)
	}
	if s == nil {
		return errNoConnection
	}
	accessLogOf(c).Add(slog.String("connection", c.Param("id")))
	s.Stop(stream.Ended)
	c.Status(http.StatusNoContent)
	return nil
}
