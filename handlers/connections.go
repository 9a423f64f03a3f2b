package handlers

import (
	"context"
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

// listConnections serves GET /connections: the newest open streams of one node, and the stats of every node.
func (h *Handlers) listConnections(c *gin.Context) error {
	if err := auth.FromContext(c.Request.Context()).MayOperate(); err != nil {
		return err
	}
	limit, err := parseLimit(c, defaultConnections, maxConnections)
	if err != nil {
		return err
	}
	node, err := h.nodes.find(c.Query("node"))
	if err != nil {
		return err
	}
	total, connections, err := h.connectionsOf(c.Request.Context(), node, limit)
	if err != nil {
		return err
	}
	c.Header("Cache-Control", "no-store")
	c.PureJSON(http.StatusOK, gin.H{
		"total": total, "connections": connections, "node": node.name, "node_id": node.id,
		"nodes": h.nodes.all(), "cluster": h.nodes.totals(),
	})
	return nil
}

// connectionsOf returns how many open streams the node has, and the newest of them.
func (h *Handlers) connectionsOf(ctx context.Context, node nodeRef, limit int) (total int, connections []connectionJSON, err error) {
	connections = []connectionJSON{}
	q := nodeRequest{Limit: limit}
	for {
		answer, err := h.ask(ctx, node, q)
		if err != nil {
			return 0, nil, err
		}
		connections = append(connections, answer.Connections...)
		// A NATS client that answers as a node may send more than was asked for.
		if !answer.More || len(answer.Connections) == 0 || len(connections) >= limit {
			return answer.Total, connections[:min(limit, len(connections))], nil
		}
		q.Limit, q.Before = limit-len(connections), connections[len(connections)-1].ID
	}
}

// endConnection serves DELETE /connections/{id}. The client gets the event drain and reconnects.
func (h *Handlers) endConnection(c *gin.Context) error {
	if err := auth.FromContext(c.Request.Context()).MayOperate(); err != nil {
		return err
	}
	node, err := h.nodes.find(c.Query("node"))
	if err != nil {
		return err
	}
	answer, err := h.ask(c.Request.Context(), node, nodeRequest{End: c.Param("id")})
	if err != nil {
		return err
	}
	if !answer.Ended {
		return errNoConnection
	}
	accessLogOf(c).Add(slog.String("connection", c.Param("id")), slog.String("node", node.name))
	c.Status(http.StatusNoContent)
	return nil
}
