package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"freshet/event"
)

const (
	attemptTimeout = 30 * time.Second
	keyLife        = 110 * time.Second // the server remembers idempotency keys for two minutes
	minBackoff     = 100 * time.Millisecond
	maxBackoff     = 10 * time.Second
	maxLines       = 100_000 // the server's limit for one request
)

// Message is an event to publish.
type Message struct {
	Topic string
	Type  string // empty: the topic's name
	Data  string // UTF-8
	// Key is the idempotency key: for two minutes, publishing to the topic with the same key
	// stores nothing and returns the first ID. Empty: a random key that protects retries alone.
	Key string
	// TTL is how long the server keeps the event at most, rounded up to whole seconds. 0: as its flags say.
	TTL time.Duration
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
	return c.publish(ctx, m, url.Values{})
}

// End publishes the message as its topic's last and ends the topic: its readers get an event of type end, whose ID is returned. A message without
// Data and Type only ends the topic. With a TTL, the topic is open again when the end expires. Errors are those of [Client.Publish]; the code "ended" says that the topic has ended before, and
// not with this Key.
func (c *Client) End(ctx context.Context, m Message) (id event.ID, err error) {
	return c.publish(ctx, m, url.Values{"end": {""}})
}

func (c *Client) publish(ctx context.Context, m Message, query url.Values) (id event.ID, err error) {
	if err := m.check(); err != nil {
		return event.ID{}, err
	}
	if m.Type != "" {
		query.Set("type", m.Type)
	}
	if m.TTL != 0 {
		query.Set("ttl", m.TTL.String())
	}
	target := eventPath(m.Topic)
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	err = c.post(ctx, target, "application/octet-stream", cmp.Or(m.Key, rand.Text()), []byte(m.Data), func(answer []byte) error {
		id, err = parseResult(answer)
		return err
	})
	return id, err
}

// Purge deletes the topic's events, and opens the topic again if it has ended. Its readers get a gap with the reason purged. It returns
// how many events were deleted. It is not repeated after an error; another call deletes the rest. The error is an [*Error] if the server refused it.
func (c *Client) Purge(ctx context.Context, topic string) (deleted uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.base+eventPath(topic), http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := c.send(c.cfg.HTTP, r, "")
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if response.StatusCode != http.StatusOK {
		return 0, refusal(response)
	}
	var purged struct{ Deleted uint64 }
	err = json.NewDecoder(response.Body).Decode(&purged)
	return purged.Deleted, err
}

func eventPath(topic string) string { return "/event/" + url.PathEscape(topic) }

// PublishAll stores messages in their order and returns a result for each. It splits them
// into as few requests as the server allows. A message that is refused does not stop those
// after it. The error is for a request that failed as a whole: the results before that
// request are returned with it. Messages must not have a Key, because keys are by request.
func (c *Client) PublishAll(ctx context.Context, messages []Message) ([]Result, error) {
	results := make([]Result, len(messages))
	var body []byte
	var sent []int // indices of the messages in body
	for i, m := range messages {
		line, err := m.line()
		if err != nil {
			results[i].Err = err
			continue
		}
		if len(sent) == maxLines || len(sent) > 0 && len(body)+len(line) > c.cfg.MaxBody {
			if err := c.publishLines(ctx, body, sent, results); err != nil {
				return results[:sent[0]], err
			}
			body, sent = body[:0], sent[:0]
		}
		body, sent = append(body, line...), append(sent, i)
	}
	if err := c.publishLines(ctx, body, sent, results); err != nil {
		return results[:sent[0]], err
	}
	return results, nil
}

// publishLines sends one request and fills in the results of its messages. Lines that may
// or may not be stored have it sent again, which is harmless for the others.
func (c *Client) publishLines(ctx context.Context, body []byte, sent []int, results []Result) error {
	if len(sent) == 0 {
		return nil
	}
	answered := false
	err := c.post(ctx, "/event", "application/x-ndjson", rand.Text(), body, func(answer []byte) error {
		lines := bytes.Split(bytes.TrimSuffix(answer, []byte{'\n'}), []byte{'\n'})
		if len(lines) != len(sent) {
			return &Error{Status: http.StatusOK, Message: fmt.Sprintf("%d results for %d messages", len(lines), len(sent))}
		}
		answered = true
		var uncertain error
		for n, i := range sent {
			results[i].ID, results[i].Err = parseResult(lines[n])
			if e, ok := errors.AsType[*Error](results[i].Err); ok && (e.Code == "log_unavailable" || e.Code == "nats_refused") {
				uncertain = &Error{Status: http.StatusServiceUnavailable, Code: e.Code, Message: e.Message}
			}
		}
		return uncertain
	})
	if answered {
		return nil // the results have the rest
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusRequestEntityTooLarge {
		return c.publishHalves(ctx, body, sent, results, e)
	}
	return err
}

// publishHalves sends the messages of a request that was too large for the server in two requests. One message alone is refused.
func (c *Client) publishHalves(ctx context.Context, body []byte, sent []int, results []Result, tooLarge error) error {
	if len(sent) == 1 {
		results[sent[0]].Err = tooLarge
		return nil
	}
	first, half := 0, len(sent)/2
	for range half {
		first += bytes.IndexByte(body[first:], '\n') + 1
	}
	if err := c.publishLines(ctx, body[:first], sent[:half], results); err != nil {
		return err
	}
	return c.publishLines(ctx, body[first:], sent[half:], results)
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
	if m.TTL != 0 {
		if _, err := event.NewTTL(m.TTL); err != nil {
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
	var ttl string
	if m.TTL != 0 {
		ttl = m.TTL.String()
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Topic string `json:"topic"`
		Type  string `json:"type,omitempty"`
		Data  string `json:"data"`
		TTL   string `json:"ttl,omitempty"`
	}{m.Topic, m.Type, m.Data, ttl})
	return line.Bytes(), err
}

// post sends the body until accept succeeds on the answer, or a retry is useless.
func (c *Client) post(ctx context.Context, target, contentType, key string, body []byte, accept func(answer []byte) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, keyLife, errors.New("freshet: gave up, because the server soon forgets the idempotency key"))
	defer cancel()
	for attempt, backoff := 1, minBackoff; ; attempt, backoff = attempt+1, min(2*backoff, maxBackoff) {
		answer, err := c.postOnce(ctx, target, contentType, key, body)
		if err == nil {
			err = accept(answer)
		}
		if err == nil || attempt == c.cfg.Attempts || !mayRetry(err) {
			return err
		}
		wait := backoff/2 + mathrand.N(backoff/2) //nolint:gosec // spread, not secret
		if e, ok := errors.AsType[*Error](err); ok {
			wait += e.RetryAfter
		}
		if c.cfg.Retrying != nil {
			c.cfg.Retrying(err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%w; the last of %d attempts: %w", context.Cause(ctx), attempt, err)
		}
	}
}

func (c *Client) postOnce(ctx context.Context, target, contentType, key string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Idempotency-Key", key)
	response, err := c.send(c.cfg.HTTP, r, "")
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

// mayRetry reports whether a retry may succeed.
func mayRetry(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status == http.StatusTooManyRequests || e.Status >= http.StatusBadGateway && e.Status <= http.StatusGatewayTimeout
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted
}
