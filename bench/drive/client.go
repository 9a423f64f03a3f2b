package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"freshet/event"
)

// Client publishes to a server and asks it. Make one with [NewClient]. It outlives the
// server's process, as long as the next one has the address and the token.
type Client struct {
	URL   string // such as http://127.0.0.1:8080
	Token string // that publishes

	http *http.Client
}

// NewClient returns a client of the server at the URL.
func NewClient(url, token string) *Client {
	return &Client{url, token, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
}

// Refusal is an answer of the server's that is no success.
type Refusal struct {
	Status     int
	Code       string // of the error in the answer, if it has one
	Body       string
	RetryAfter string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%d: %s", r.Status, strings.TrimSpace(r.Body))
}

// Publish publishes to the topic and returns the event's ID. The error is a [*Refusal] if
// the server answered. Key is the idempotency key, if it is not empty.
func (c *Client) Publish(ctx context.Context, topic, data, key string) (event.ID, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/event/"+topic, strings.NewReader(data))
	if err != nil {
		return event.ID{}, err
	}
	r.Header.Set("Idempotency-Key", key)
	body, err := c.do(r)
	if err != nil {
		return event.ID{}, err
	}
	return parseAnswer(body)
}

// PublishMany publishes NDJSON lines, each {"topic","type","data"}, and returns an ID for
// each; an error if any was refused.
func (c *Client) PublishMany(ctx context.Context, body string) ([]event.ID, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/event", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := c.do(r)
	if err != nil {
		return nil, err
	}
	var ids []event.ID
	for line := range bytes.Lines(answer) {
		id, err := parseAnswer(line)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func parseAnswer(text []byte) (event.ID, error) {
	var answer struct{ ID string }
	if err := json.Unmarshal(text, &answer); err != nil {
		return event.ID{}, err
	}
	if answer.ID == "" {
		return event.ID{}, fmt.Errorf("not published: %s", text)
	}
	return event.ParseID(answer.ID)
}

// CloseIdle closes the connections that are kept for the next request.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Get returns the body of what the server serves at the path.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+path, nil)
	if err != nil {
		return nil, err
	}
	return c.do(r)
}

func (c *Client) do(r *http.Request) ([]byte, error) {
	r.Header.Set("Authorization", "Bearer "+c.Token)
	answer, err := c.http.Do(r) //nolint:gosec // to the server that the caller drives
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode < 300 {
		return body, err
	}
	refusal := &Refusal{Status: answer.StatusCode, Body: string(body), RetryAfter: answer.Header.Get("Retry-After")}
	var p struct{ Error struct{ Code string } }
	if json.Unmarshal(body, &p) == nil {
		refusal.Code = p.Error.Code
	}
	return nil, refusal
}

// Stats is what the server says of itself: the figures that the checks here need.
type Stats struct {
	Connections int    `json:"connections"`
	Published   uint64 `json:"published"`
	Delivered   uint64 `json:"delivered"`
	Memory      uint64 `json:"memory_bytes"`
	LogEvents   uint64 `json:"log_events"`
	Goroutines  int    `json:"goroutines"`
	Stalled     uint64 `json:"stalled"`
}

// Stats opens a stream of the topic stats and returns the second event of it, which was
// taken after the stream was opened: the stream itself is one of the connections.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	var stats Stats
	r, err := Open(ctx, Request{URL: c.URL + "/event/stats"})
	if err != nil {
		return stats, err
	}
	defer r.Close()
	if r.Status != http.StatusOK {
		return stats, &Refusal{Status: r.Status}
	}
	for range 2 {
		for {
			f, err := r.Next()
			if err != nil {
				return stats, err
			}
			if f.Type == "stats" {
				if err := json.Unmarshal([]byte(f.Data), &stats); err != nil {
					return stats, err
				}
				break
			}
		}
	}
	return stats, nil
}
