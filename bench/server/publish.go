package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"freshet/client"
	"freshet/event"
)

// PublishBulk publishes messages in one request and returns their IDs. Unlike the Go client it sends
// no idempotency key, because the server would remember one for every event of a full log.
func (p *Process) PublishBulk(ctx context.Context, messages []client.Message) ([]event.ID, error) {
	var body bytes.Buffer
	for _, m := range messages {
		line, err := json.Marshal(struct {
			Topic string `json:"topic"`
			Type  string `json:"type,omitempty"`
			Data  string `json:"data"`
		}{m.Topic, m.Type, m.Data})
		if err != nil {
			return nil, err
		}
		body.Write(append(line, '\n'))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/event", &body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+p.Token)
	r.Header.Set("Content-Type", "application/x-ndjson")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("publish: %s: %s", response.Status, answer)
	}
	ids := make([]event.ID, 0, len(messages))
	for line := range bytes.Lines(answer) {
		var result struct{ ID event.ID }
		if err := json.Unmarshal(line, &result); err != nil {
			return nil, fmt.Errorf("publish: %w", err)
		}
		if result.ID.IsZero() {
			return nil, fmt.Errorf("publish: %s", line)
		}
		ids = append(ids, result.ID)
	}
	if len(ids) != len(messages) {
		return nil, fmt.Errorf("publish: %d of %d messages were answered", len(ids), len(messages))
	}
	return ids, nil
}
