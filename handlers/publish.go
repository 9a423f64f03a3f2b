package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
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

// bodyTimeout bounds how long a publisher may take to send its body.
const bodyTimeout = 30 * time.Second

// maxLines bounds the answer to a body of short lines, which is many times as long.
const maxLines = 100_000

// published is the answer to an event that the log has.
type published struct {
	ID    event.ID `json:"id"`
	Topic string   `json:"topic"`
}

// publish serves POST /event/{topic}: the body is the data, as it stands.
func (h *Handlers) publish(c *gin.Context) {
	topic, err := event.ParseTopic(c.Param("topic"))
	if err != nil {
		fail(c, err)
		return
	}
	if err := mayPublish(c, topic); err != nil {
		fail(c, err)
		return
	}
	typ := event.TypeOf(topic)
	if name := cmp.Or(c.Query("type"), c.GetHeader("Event-Type")); name != "" {
		if typ, err = event.ParseType(name); err != nil {
			fail(c, err)
			return
		}
	}
	body, key, err := h.readPublish(c)
	if err != nil {
		fail(c, err)
		return
	}
	e, err := event.New(topic, typ, string(body))
	if err != nil {
		fail(c, err)
		return
	}
	h.answer(c, eventlog.Entry{Event: e, Key: key})
}

// publishMany serves POST /event: one event as JSON, or many as NDJSON.
func (h *Handlers) publishMany(c *gin.Context) {
	if c.Query("type") != "" || c.GetHeader("Event-Type") != "" {
		fail(c, &event.InvalidError{Field: "type", Reason: "belongs into the JSON here, as \"type\""})
		return
	}
	body, key, err := h.readPublish(c)
	if err != nil {
		fail(c, err)
		return
	}
	switch kind, _, _ := mime.ParseMediaType(c.GetHeader("Content-Type")); kind {
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
		h.publishLines(c, body, key)
		return
	}
	e, err := parseEvent(body)
	if err == nil {
		err = mayPublish(c, e.Topic())
	}
	if err != nil {
		fail(c, err)
		return
	}
	h.answer(c, eventlog.Entry{Event: e, Key: key})
}

// answer appends one event and answers with its ID.
func (h *Handlers) answer(c *gin.Context, entry eventlog.Entry) {
	if err := h.allowPublish(c, 1); err != nil {
		fail(c, err)
		return
	}
	// The log is asked to the end even if the publisher goes away.
	receipt := h.log.Append(context.WithoutCancel(c.Request.Context()), entry)
	if receipt.Err != nil {
		fail(c, uncertain(receipt.Err))
		return
	}
	status := http.StatusCreated
	if receipt.Repeat {
		status = http.StatusOK
	}
	c.PureJSON(status, published{receipt.ID, entry.Event.Topic().String()})
}

// uncertain tells a publisher what a log that does not answer means for the event.
func uncertain(err error) error {
	if errors.Is(err, eventlog.ErrUnavailable) {
		return fmt.Errorf("%w: %w", errUncertain, err)
	}
	return err
}

// publishLines appends the lines that are valid, in their order, and answers each line
// with a line: what published holds, or an error.
func (h *Handlers) publishLines(c *gin.Context, body []byte, key string) {
	var (
		entries []eventlog.Entry
		errs    []error // of every line; nil for those in entries
	)
	body = bytes.TrimRight(body, "\r\n")
	if n := bytes.Count(body, []byte{'\n'}) + 1; n > maxLines {
		fail(c, fmt.Errorf("%w: %d lines; send at most %d at once", errBulk, n, maxLines))
		return
	}
	for n, line := range bytes.Split(body, []byte{'\n'}) {
		e, err := parseEvent(line)
		if err == nil {
			err = mayPublish(c, e.Topic())
		}
		if errors.Is(err, auth.ErrUnauthenticated) {
			fail(c, err)
			return
		}
		if errs = append(errs, err); err != nil {
			continue
		}
		entry := eventlog.Entry{Event: e}
		if key != "" {
			entry.Key = key + "\t" + strconv.Itoa(n) // no key that is sent has a tab
		}
		entries = append(entries, entry)
	}
	if err := h.allowPublish(c, len(entries)); err != nil {
		fail(c, err)
		return
	}
	receipts := h.log.AppendAll(context.WithoutCancel(c.Request.Context()), entries)

	var answer bytes.Buffer
	lines := json.NewEncoder(&answer)
	lines.SetEscapeHTML(false)
	for _, err := range errs {
		var result any
		if err == nil {
			receipt, entry := receipts[0], entries[0]
			receipts, entries = receipts[1:], entries[1:]
			result, err = published{receipt.ID, entry.Event.Topic().String()}, uncertain(receipt.Err)
		}
		if err != nil {
			status, p := problemOf(err)
			if status >= http.StatusInternalServerError {
				_ = c.Error(err)
			}
			result = problemBody{p}
		}
		if err := lines.Encode(result); err != nil {
			fail(c, err)
			return
		}
	}
	c.Data(http.StatusOK, "application/x-ndjson", answer.Bytes())
}

// readPublish reads the body and the idempotency key, once the caller is known to be one
// who may publish at all.
func (h *Handlers) readPublish(c *gin.Context) (body []byte, key string, err error) {
	if err := mayPublish(c, event.Topic{}); err != nil {
		return nil, "", err
	}
	key = c.GetHeader("Idempotency-Key")
	if len(key) > 200 || !printableASCII(key) {
		return nil, "", &event.InvalidError{Field: "Idempotency-Key", Reason: "must be at most 200 printable ASCII characters"}
	}
	// A publisher that dawdles is cut off; where there is no deadline, the transport has its own.
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err = io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, h.cfg.MaxBody))
	if err == nil { // else it holds for the rest of the body, which the server still reads
		_ = control.SetReadDeadline(time.Time{})
	}
	var tooLarge *http.MaxBytesError
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errSlow
	} else if err != nil && !errors.As(err, &tooLarge) {
		err = fmt.Errorf("%w: the body did not arrive whole", errRequest)
	}
	return body, key, err
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func mayPublish(c *gin.Context, topic event.Topic) error {
	return auth.FromContext(c.Request.Context()).MayPublish(topic.String())
}

// parseEvent reads {"topic","type","data"}: data a string, or any other JSON, which is
// sent compact; the type is the topic's name if it is left out.
func parseEvent(text []byte) (event.Event, error) {
	if !utf8.Valid(text) { // the decoder would mend it in silence
		return event.Event{}, &event.InvalidError{Field: "data", Reason: "must be UTF-8"}
	}
	var in struct {
		Topic string          `json:"topic"`
		Type  *string         `json:"type"`
		Data  json.RawMessage `json:"data"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		why := "" // what the decoder says of anything else is for programmers in Go
		if text, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			why = ": no field " + text
		}
		return event.Event{}, fmt.Errorf(`%w%s: expected one JSON object {"topic","type","data"}; to send text as it stands, POST it to /event/{topic}`, errRequest, why)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return event.Event{}, fmt.Errorf("%w: more than one JSON value; send many as NDJSON with Content-Type: application/x-ndjson", errRequest)
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
	data, err := dataOf(in.Data)
	if err != nil {
		return event.Event{}, err
	}
	return event.New(topic, typ, data)
}

func dataOf(raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", &event.InvalidError{Field: "data", Reason: "is missing"}
	}
	if raw[0] == '"' {
		if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 { // the decoder has seen that it is well-formed
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
