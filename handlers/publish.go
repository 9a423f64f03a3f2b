package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"

	"github.com/gin-gonic/gin"
)

// bodyTimeout is how long a publisher may take to send its body.
const bodyTimeout = 30 * time.Second

// maxLines bounds the response, which is many times longer than a body of short lines.
const maxLines = 100_000

// published is the response for a stored event.
type published struct {
	ID    event.ID `json:"id"`
	Topic string   `json:"topic"`
}

// purged is the response to a purge.
type purged struct {
	ID      *event.ID `json:"id,omitempty"` // of the gap that readers get; missing if there were no events
	Topic   string    `json:"topic"`
	Deleted uint64    `json:"deleted"`
}

// publish serves POST /event/{topic}: the body is the data, unchanged.
func (h *Handlers) publish(c *gin.Context) error {
	if err := h.authenticateTicket(c); err != nil {
		return err
	}
	topic, err := event.ParseTopic(c.Param("topic"))
	if err == nil {
		err = mayPublish(c, topic)
	}
	if err != nil {
		return err
	}
	ttl, err := parseTTL(cmp.Or(c.Query("ttl"), c.GetHeader("Event-TTL")))
	if err != nil {
		return err
	}
	if h.hasCloudEvents(c) {
		return h.publishCloudEvents(c, topic, ttl)
	}
	typ, typed := event.TypeOf(topic), cmp.Or(c.Query("type"), c.GetHeader("Event-Type"))
	if typed != "" {
		if typ, err = event.ParseType(typed); err != nil {
			return err
		}
	}
	if hasLines(c) {
		return h.publishLinesOf(c, topic, typ, ttl)
	}
	if c.Query("join") != "" {
		return &event.InvalidError{Field: "join", Reason: "is for lines: send them with Content-Type: application/x-ndjson"}
	}
	if c.Query("line") != "" {
		return &event.InvalidError{Field: "line", Reason: "is for lines: send them with Content-Type: application/x-ndjson"}
	}
	body, key, err := h.readPublish(c)
	if err != nil {
		return err
	}
	e, err := event.New(topic, typ, string(body))
	e = e.WithTTL(ttl)
	entry := eventlog.Entry{Event: e, Key: key}
	if _, ends := c.GetQuery("end"); !ends {
		return h.publishOne(c, topic, err, func(ctx context.Context) eventlog.Receipt { return h.log.Append(ctx, entry) })
	}
	var last []eventlog.Entry
	if len(body) > 0 || typed != "" {
		last = append(last, eventlog.Entry{Event: e})
	}
	return h.publishOne(c, topic, err, func(ctx context.Context) eventlog.Receipt { return h.log.End(ctx, topic, key, ttl, last...) })
}

// purge serves DELETE /event/{topic}.
func (h *Handlers) purge(c *gin.Context) error {
	topic, err := event.ParseTopic(c.Param("topic"))
	if err == nil && topic.Reserved() {
		err = &event.InvalidError{Field: "topic", Reason: fmt.Sprintf("%q is reserved for the server's own events", topic)}
	}
	if err == nil {
		err = mayPublish(c, topic)
	}
	if err == nil {
		err = h.allowPublish(c, 1)
	}
	if err != nil {
		return err
	}
	id, deleted, err := h.log.Purge(context.WithoutCancel(c.Request.Context()), topic)
	if err != nil {
		return err
	}
	response := purged{Topic: topic.String(), Deleted: deleted}
	if !id.IsZero() {
		response.ID = &id
	}
	c.PureJSON(http.StatusOK, response)
	return nil
}

// publishMany serves POST /event: one event as JSON, or many as NDJSON.
func (h *Handlers) publishMany(c *gin.Context) error {
	if h.hasCloudEvents(c) {
		return fmt.Errorf("%w: a CloudEvent has no topic; send it to /event/{topic}", errRequest)
	}
	if c.Query("type") != "" || c.GetHeader("Event-Type") != "" {
		return &event.InvalidError{Field: "type", Reason: `must be a field of the JSON here: {"topic","type","data"}`}
	}
	if c.Query("ttl") != "" || c.GetHeader("Event-TTL") != "" {
		return &event.InvalidError{Field: "ttl", Reason: `must be a field of the JSON here: {"topic","data","ttl"}`}
	}
	body, key, err := h.readPublish(c)
	if err != nil {
		return err
	}
	if hasLines(c) {
		return h.publishLines(c, body, key)
	}
	e, err := parsePublishable(c, body)
	return h.publishOne(c, e.Topic(), err, func(ctx context.Context) eventlog.Receipt {
		return h.log.Append(ctx, eventlog.Entry{Event: e, Key: key})
	})
}

// publishOne calls store, unless there was an error, and sends the ID that it returns.
func (h *Handlers) publishOne(c *gin.Context, topic event.Topic, err error, store func(context.Context) eventlog.Receipt) error {
	if err == nil {
		err = h.allowPublish(c, 1)
	}
	if err != nil {
		h.publishes.countErrors(1, err)
		return err
	}
	receipt := store(context.WithoutCancel(c.Request.Context())) // goes on if the publisher disconnects
	h.publishes.count(receipt.Repeat, receipt.Err)
	if receipt.Err != nil {
		return uncertain(receipt.Err)
	}
	status := http.StatusCreated
	if receipt.Repeat {
		status = http.StatusOK
	}
	c.PureJSON(status, published{receipt.ID, topic.String()})
	return nil
}

// uncertain makes an unavailable log errUncertain: the log may have stored the event.
func uncertain(err error) error {
	if errors.Is(err, eventlog.ErrUnavailable) {
		return fmt.Errorf("%w: %w", errUncertain, err)
	}
	return err
}

// publishLines appends the valid lines in order, and responds to each line with a line: published or an error.
func (h *Handlers) publishLines(c *gin.Context, body []byte, key string) error {
	var (
		entries []eventlog.Entry
		errs    []error // one for each line; nil for the lines in entries
	)
	body = bytes.TrimRight(body, "\r\n")
	if n := bytes.Count(body, []byte{'\n'}) + 1; n > maxLines {
		return fmt.Errorf("%w: %d lines; send at most %d in one request", errBulk, n, maxLines)
	}
	for n, line := range bytes.Split(body, []byte{'\n'}) {
		e, err := parsePublishable(c, line)
		if errors.Is(err, auth.ErrUnauthenticated) {
			return err
		}
		if errs = append(errs, err); err != nil {
			continue
		}
		entry := eventlog.Entry{Event: e}
		if key != "" {
			entry.Key = key + "\t" + strconv.Itoa(n) // a key of a client has no tab, so the lines' keys are unique
		}
		entries = append(entries, entry)
	}
	if err := h.allowPublish(c, len(entries)); err != nil {
		h.publishes.countErrors(len(errs), err) // the invalid lines too
		return err
	}
	receipts := h.log.AppendAll(context.WithoutCancel(c.Request.Context()), entries)

	var response bytes.Buffer
	lines := json.NewEncoder(&response)
	lines.SetEscapeHTML(false)
	for _, err := range errs {
		var result any
		repeat := false
		if err == nil {
			receipt, entry := receipts[0], entries[0]
			receipts, entries = receipts[1:], entries[1:]
			result, err = published{receipt.ID, entry.Event.Topic().String()}, uncertain(receipt.Err)
			repeat = receipt.Repeat
		}
		h.publishes.count(repeat, err)
		if err != nil {
			status, p := problemOf(err)
			if status >= http.StatusInternalServerError {
				_ = c.Error(err)
			}
			result = problemBody{p}
		}
		if err := lines.Encode(result); err != nil {
			return err
		}
	}
	c.Data(http.StatusOK, event.Lines.ContentType(), response.Bytes())
	return nil
}

// readPublish reads the body and the idempotency key. It refuses callers without any right to publish first.
func (h *Handlers) readPublish(c *gin.Context) (body []byte, key string, err error) {
	if err := mayPublish(c, event.Topic{}); err != nil {
		return nil, "", err
	}
	if key, err = idempotencyKey(c); err != nil {
		return nil, "", err
	}
	body, err = readBody(c, h.cfg.MaxBody)
	return body, key, err
}

func idempotencyKey(c *gin.Context) (string, error) {
	key := c.GetHeader("Idempotency-Key")
	if len(key) > 200 || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", &event.InvalidError{Field: "Idempotency-Key", Reason: "must be at most 200 printable ASCII characters"}
	}
	return key, nil
}

// hasLines reports whether the body is NDJSON.
func hasLines(c *gin.Context) bool {
	kind := mediaType(c)
	return kind == "application/x-ndjson" || kind == "application/ndjson" || kind == "application/jsonl"
}

// readBody reads a body of at most size bytes. Its deadline stops a slow client; a transport without deadlines has its own.
func readBody(c *gin.Context, size int64) ([]byte, error) {
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, size))
	if err == nil { // else the deadline is also for the rest of the body, which net/http reads
		_ = control.SetReadDeadline(time.Time{})
	}
	return body, bodyError(err)
}

// bodyError is the error for a body that did not arrive as a whole; nil for nil.
func bodyError(err error) error {
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil || tooLarge:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	}
	return fmt.Errorf("%w: the body is incomplete; send it again", errRequest)
}

func mayPublish(c *gin.Context, topic event.Topic) error {
	return auth.FromContext(c.Request.Context()).MayPublish(topic.String())
}

// parsePublishable parses an event that the caller may publish.
func parsePublishable(c *gin.Context, text []byte) (event.Event, error) {
	e, err := parseEvent(text)
	if err == nil {
		err = mayPublish(c, e.Topic())
	}
	return e, err
}

// parseTTL parses the time that a publisher gives; empty: none.
func parseTTL(text string) (event.TTL, error) {
	if text == "" {
		return event.TTL{}, nil
	}
	return event.ParseTTL(text)
}

// parseEvent parses {"topic","type","data","ttl"}. Data is a string, or any other JSON, which becomes compact JSON text. The
// default type is the topic's name, and the TTL may be missing.
func parseEvent(text []byte) (event.Event, error) {
	if !utf8.Valid(text) { // the decoder would replace the bad bytes
		return event.Event{}, &event.InvalidError{Field: "data", Reason: "must be UTF-8"}
	}
	var in struct {
		Topic string          `json:"topic"`
		Type  *string         `json:"type"`
		Data  json.RawMessage `json:"data"`
		TTL   *string         `json:"ttl"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		why := "" // the decoder's other errors speak of Go types
		if text, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			why = ": unknown field " + text
		} else if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			why = fmt.Sprintf(": %q must be a string", wrong.Field)
		}
		return event.Event{}, fmt.Errorf(`%w%s: send one JSON object {"topic","type","data","ttl"}, or POST plain text to /event/{topic}`, errRequest, why)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return event.Event{}, fmt.Errorf("%w: it has more than one JSON value; to publish many events, send NDJSON with Content-Type: application/x-ndjson", errRequest)
	}
	topic, err := event.ParseTopic(in.Topic)
	if err != nil {
		return event.Event{}, err
	}
	typ := event.TypeOf(topic)
	if in.Type != nil {
		if typ, err = event.ParseType(*in.Type); err != nil {
			return event.Event{}, err
		}
	}
	var ttl event.TTL
	if in.TTL != nil {
		if ttl, err = event.ParseTTL(*in.TTL); err != nil {
			return event.Event{}, err
		}
	}
	data, err := dataOf(in.Data)
	if err != nil {
		return event.Event{}, err
	}
	e, err := event.New(topic, typ, data)
	return e.WithTTL(ttl), err
}

func dataOf(raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", &event.InvalidError{Field: "data", Reason: "is missing"}
	}
	if raw[0] == '"' {
		if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 { // valid, because the decoder has accepted it
			return string(plain), nil
		}
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, raw)
	return compact.String(), err
}
