package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"freshet/eventlog"
	"freshet/stream"
)

// nodeRequest is what a node asks another one: to end a stream, or for a part of the list of its open streams.
type nodeRequest struct {
	End    string `json:"end,omitempty"` // the ID of a stream
	Limit  int    `json:"limit,omitempty"`
	Before string `json:"before,omitempty"` // only streams older than this one
}

type nodeAnswer struct {
	Ended       bool             `json:"ended,omitempty"`
	Total       int              `json:"total"`
	Connections []connectionJSON `json:"connections,omitempty"`
	More        bool             `json:"more,omitempty"` // the answer has no room for the rest of the connections
}

// answerBytes is about the size of the largest answer to another node. The largest description of a stream is added to it, and NATS accepts
// 1 MiB by default.
const answerBytes = 32 << 10

// ask has the node answer the request. The error is [eventlog.ErrNodeAway] if it does not answer.
func (h *Handlers) ask(ctx context.Context, node nodeRef, q nodeRequest) (answer nodeAnswer, err error) {
	if node.id == h.nodes.id {
		return h.answer(q), nil
	}
	request, err := json.Marshal(q)
	if err != nil {
		return answer, err
	}
	text, err := h.cfg.Nodes.Request(ctx, node.id, request)
	if err == nil && json.Unmarshal(text, &answer) != nil {
		err = eventlog.ErrNodeAway // a node of another version
	}
	if err != nil {
		return answer, fmt.Errorf("node %q: %w", node.name, err)
	}
	return answer, nil
}

// answerNode answers another node's request.
func (h *Handlers) answerNode(request []byte) []byte {
	var q nodeRequest
	if json.Unmarshal(request, &q) != nil {
		return nil // a node of another version
	}
	a := h.answer(q)
	size := 0
	for i, c := range a.Connections {
		text, _ := json.Marshal(c) // the types always have a text
		if size += len(text); size > answerBytes && i > 0 {
			a.Connections, a.More = a.Connections[:i], true
			break
		}
	}
	text, _ := json.Marshal(a)
	return text
}

// answer answers a request to this node.
func (h *Handlers) answer(q nodeRequest) nodeAnswer {
	if q.End != "" {
		s := h.streams.Find(parseConnectionID(q.End))
		if s != nil {
			s.Stop(stream.Ended)
		}
		return nodeAnswer{Ended: s != nil}
	}
	a := nodeAnswer{Total: h.streams.Len()}
	for _, s := range h.streams.Older(parseConnectionID(q.Before), min(max(q.Limit, 0), maxConnections)) {
		a.Connections = append(a.Connections, newConnectionJSON(s, h.cfg.Node))
	}
	return a
}

// parseConnectionID returns an ID above all others if the text is not an ID.
func parseConnectionID(text string) uint64 {
	id, err := strconv.ParseUint(text, 36, 64)
	if err != nil {
		return math.MaxUint64
	}
	return id
}
