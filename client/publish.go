package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"freshet/event"
)

const (
	attemptTimeout = 30 * time.Second
	// keyLife is how long the first attempt's key protects its retries: the server remembers
	// keys for two minutes.
	keyLife = 110 * time.Second
	// maxLines is how many messages the server takes at once.
	maxLines = 100_000

	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// Message is an event to publish.
type Message struct {
	Topic string
	Type  string // empty: the topic's name
	Data  string // UTF-8
	// Key is the idempotency key: for two minutes, publishing to the topic with the same key
	// stores nothing and returns the first ID. Empty: a random key that protects retries alone.
	Key string
}

// Result is what the server did with one message of [Client.PublishAll].
type Result struct {
	ID  event.ID
	Err error // nil: the message is stored under ID
}

// Publish stores one event and returns its ID. The error is an [*Error] if the server
// refused it, an [*event.InvalidError] if the message cannot be published, or wraps what
// happened to the last attempt. If it is none of the first two, the event may be stored.
func (c *Client) Publish(ctx context.Context, m Message) (id event.ID, err error) {
	if err := m.check(); err != nil {
		return event.ID{}, err
	}
	target := "/event/" + url.PathEscape(m.Topic)
	if m.Type != "" {
		target += "?type=" + url.QueryEscape(m.Type)
	}
	key := m.Key
	if key == "" {
		key = rand.Text()
	}
	err = c.retry(ctx, func(ctx context.Context) error {
		body, err := c.post(ctx, target, "application/octet-stream", key, []byte(m.Data))
		if err != nil {
			return err
		}
		id, err = parseResult(body)
		return err
	})
	return id, err
}

// PublishAll stores messages in their order and returns a result for each. It splits them
// into as few requests as the server allows. A message that is refused does not stop those
// after it. The error is for a request that failed as a whole: the results before that
// request are returned with it. Messages must not have a Key, because keys are by request.
func (c *Client) PublishAll(ctx context.Context, messages []Message) ([]Result, error) {
	results := make([]Result, len(messages))
	var body bytes.Buffer
	var sent []int // indices of the messages in body
	for i, m := range messages {
		line, err := m.line()
		if err != nil {
			results[i].Err = err
			continue
		}
		if len(sent) == maxLines || len(sent) > 0 && body.Len()+len(line) > c.cfg.MaxBody {
			if err := c.publishLines(ctx, body.Bytes(), sent, results); err != nil {
				return results[:sent[0]], err
			}
			body.Reset()
			sent = sent[:0]
		}
		body.Write(line)
		sent = append(sent, i)
	}
	if len(sent) > 0 {
		if err := c.publishLines(ctx, body.Bytes(), sent, results); err != nil {
			return results[:sent[0]], err
		}
	}
	return results, nil
}

// publishLines sends one request and fills in the results of its messages. Lines that may
// or may not be stored have it sent again, which is harmless for the others.
func (c *Client) publishLines(ctx context.Context, body []byte, sent []int, results []Result) error {
	answered := false
	key := rand.Text()
	err := c.retry(ctx, func(ctx context.Context) error {
		answer, err := c.post(ctx, "/event", "application/x-ndjson", key, body)
		if err != nil {
			return err
		}
		lines := bytes.Split(bytes.TrimSuffix(answer, []byte{'\n'}), []byte{'\n'})
		if len(lines) != len(sent) {
			return &Error{Status: http.StatusOK, Message: fmt.Sprintf("%d results for %d messages", len(lines), len(sent))}
		}
		answered = true
		var uncertain error
		for n, i := range sent {
			results[i].ID, results[i].Err = parseResult(lines[n])
			var e *Error
			if errors.As(results[i].Err, &e) && e.Code == "log_unavailable" {
				uncertain = &Error{Status: http.StatusServiceUnavailable, Code: e.Code, Message: e.Message}
			}
		}
		return uncertain
	})
	var e *Error
	switch {
	case answered:
		return nil // the results say the rest
	case len(sent) == 1 && errors.As(err, &e) && e.Status == http.StatusRequestEntityTooLarge:
		results[sent[0]].Err = err
		return nil
	}
	return err
}

// check returns an error for a message that the server would refuse.
func (m Message) check() error {
	topic, err := event.ParseTopic(m.Topic)
	if err != nil {
		return err
	}
	typ := event.TypeOf(topic)
	if m.Type != "" {
		if typ, err = event.ParseType(m.Type); err != nil {
			return err
		}
	}
	_, err = event.New(topic, typ, m.Data)
	return err
}

// line returns the message as a line of NDJSON.
func (m Message) line() ([]byte, error) {
	if m.Key != "" {
		return nil, errors.New("client: PublishAll takes no idempotency keys; use Publish")
	}
	if err := m.check(); err != nil { // JSON would replace bytes that are not UTF-8
		return nil, err
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Topic string `json:"topic"`
		Type  string `json:"type,omitempty"`
		Data  string `json:"data"`
	}{m.Topic, m.Type, m.Data})
	return line.Bytes(), err
}

// post sends the body and returns the body of the answer.
func (c *Client) post(ctx context.Context, target, contentType, key string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Idempotency-Key", key)
	if err := c.authorize(r); err != nil {
		return nil, err
	}
	response, err := do(c.http, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if response.StatusCode/100 != 2 {
		return nil, refusal(response)
	}
	return io.ReadAll(response.Body)
}

// parseResult reads {"id"} or {"error":{"code","message"}}.
func parseResult(text []byte) (event.ID, error) {
	var result struct {
		ID    event.ID
		Error *Error
	}
	err := json.Unmarshal(text, &result)
	switch {
	case err == nil && result.Error != nil:
		return event.ID{}, result.Error
	case err != nil || result.ID.IsZero():
		return event.ID{}, &Error{Status: http.StatusOK, Message: "the answer has no event ID: is this a Freshet server?"}
	}
	return result.ID, nil
}

// retry calls send until it succeeds, fails for good, or may not be called again. Retries
// of an attempt that may have stored the event end before the server forgets its key.
func (c *Client) retry(ctx context.Context, send func(context.Context) error) error {
	var protected time.Time // when the key's protection ends; zero: nothing can be stored yet
	for attempt, backoff := 1, minBackoff; ; attempt, backoff = attempt+1, min(2*backoff, maxBackoff) {
		began := time.Now()
		deadline := began.Add(attemptTimeout)
		if !protected.IsZero() && protected.Before(deadline) {
			deadline = protected
		}
		attemptCtx, cancel := context.WithDeadline(ctx, deadline)
		err := send(attemptCtx)
		cancel()
		again, uncertain := mayRetry(err)
		if err == nil || !again || attempt == c.cfg.Attempts {
			return err
		}
		if uncertain && protected.IsZero() {
			protected = began.Add(keyLife)
		}
		wait := backoff/2 + mathrand.N(backoff/2) //nolint:gosec // spread, not secret
		var e *Error
		if errors.As(err, &e) {
			wait += e.RetryAfter
		}
		if !protected.IsZero() && time.Now().Add(wait).After(protected) {
			return fmt.Errorf("freshet: not retried any longer because the server forgets idempotency keys: %w", err)
		}
		if !pause(ctx, wait) {
			return fmt.Errorf("%w; the last of %d attempts: %w", ctx.Err(), attempt, err)
		}
	}
}

// mayRetry reports whether a retry may succeed, and whether the failed attempt may have
// stored the event.
func mayRetry(err error) (again, uncertain bool) {
	var (
		refused     *Error
		certificate *tls.CertificateVerificationError
		network     *net.OpError
	)
	switch {
	case errors.As(err, &refused):
		switch refused.Status {
		case http.StatusTooManyRequests:
			return true, false
		case http.StatusServiceUnavailable:
			return true, refused.Code == "" || refused.Code == "log_unavailable"
		case http.StatusBadGateway, http.StatusGatewayTimeout:
			return true, true
		}
		return false, false
	case errors.As(err, &certificate):
		return false, false
	case errors.As(err, &network) && network.Op == "dial":
		return true, false
	}
	return true, true
}
