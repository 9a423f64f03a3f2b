package handlers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"freshet/event"
	"freshet/eventlog"

	"github.com/gin-gonic/gin"
)

// Media types of CloudEvents 1.0.2, HTTP binding, sections 3.2 and 3.3. Any other type is the type of an event's data (section 3.1).
const (
	structuredCloudEvent = "application/cloudevents+json"
	batchOfCloudEvents   = "application/cloudevents-batch+json"
)

// cloudEvent is what Freshet takes of a CloudEvent. Its fields are not checked yet.
type cloudEvent struct{ specversion, id, source, typ, data string }

// hasCloudEvents reports whether the request has CloudEvents, and the server takes them.
func (h *Handlers) hasCloudEvents(c *gin.Context) bool {
	if !h.cfg.CloudEvents {
		return false
	}
	binary := c.GetHeader("Ce-Specversion") + c.GetHeader("Ce-Id") + c.GetHeader("Ce-Source") + c.GetHeader("Ce-Type")
	return binary != "" || strings.HasPrefix(mediaType(c), "application/cloudevents")
}

// mediaType is that of the body, without parameters.
func mediaType(c *gin.Context) string {
	kind, _, _ := strings.Cut(c.GetHeader("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// publishCloudEvents serves POST /event/{topic} for CloudEvents.
func (h *Handlers) publishCloudEvents(c *gin.Context, topic event.Topic, ttl event.TTL) error {
	for _, name := range []string{"type", "end", "join", "line"} {
		if _, sent := c.GetQuery(name); sent {
			return fmt.Errorf("%w: parameter %q is not for CloudEvents; leave it out", errRequest, name)
		}
	}
	for _, name := range []string{"Event-Type", "Idempotency-Key"} { // the CloudEvent has its own
		if c.GetHeader(name) != "" {
			return fmt.Errorf("%w: the header %s is not for CloudEvents; leave it out", errRequest, name)
		}
	}
	body, err := readBody(c, h.cfg.MaxBody)
	if err != nil {
		return err
	}
	var e cloudEvent
	switch kind := mediaType(c); {
	case kind == batchOfCloudEvents:
		return h.publishBatch(c, topic, ttl, body)
	case kind == structuredCloudEvent:
		e, err = parseCloudEvent(body)
	case strings.HasPrefix(kind, "application/cloudevents"):
		return errEventFormat
	default:
		e, err = binaryCloudEvent(c, body)
	}
	var entry eventlog.Entry
	if err == nil {
		entry, err = e.entry(topic, ttl)
	}
	return h.publishOne(c, topic, err, func(ctx context.Context) eventlog.Receipt { return h.log.Append(ctx, entry) })
}

// publishBatch stores all events of a batch, or none if one is not valid: its sender looks at the status only.
func (h *Handlers) publishBatch(c *gin.Context, topic event.Topic, ttl event.TTL, body []byte) error {
	var batch []json.RawMessage
	if json.Unmarshal(body, &batch) != nil || batch == nil {
		return fmt.Errorf("%w: send a batch of CloudEvents as a JSON array", errRequest)
	}
	if len(batch) > maxLines {
		return fmt.Errorf("%w: %d CloudEvents; send at most %d in one request", errBulk, len(batch), maxLines)
	}
	var (
		entries = make([]eventlog.Entry, len(batch))
		err     error
	)
	for i, text := range batch {
		var e cloudEvent
		if e, err = parseCloudEvent(text); err == nil {
			entries[i], err = e.entry(topic, ttl)
		}
		if err != nil {
			err = inBatch(err, i)
			break
		}
	}
	if err == nil {
		err = h.allowPublish(c, len(entries))
	}
	if err != nil {
		h.publishes.countErrors(len(entries), err)
		return err
	}
	response := make([]published, len(entries))
	for i, receipt := range h.log.AppendAll(context.WithoutCancel(c.Request.Context()), entries) {
		h.publishes.count(receipt.Repeat, receipt.Err)
		if receipt.Err != nil && err == nil {
			err = uncertain(receipt.Err)
		}
		response[i] = published{receipt.ID, topic.String()}
	}
	if err != nil { // when the sender repeats the batch, what is stored already is not stored again
		return err
	}
	c.PureJSON(http.StatusOK, response)
	return nil
}

// inBatch says which event of a batch is not valid.
func inBatch(err error, i int) error {
	if invalid, ok := errors.AsType[*event.InvalidError](err); ok {
		return &event.InvalidError{Field: invalid.Field, Reason: fmt.Sprintf("%s, in CloudEvent %d of the batch", invalid.Reason, i+1)}
	}
	return fmt.Errorf("%w, in CloudEvent %d of the batch", err, i+1)
}

// entry returns what the log stores of the CloudEvent.
func (e cloudEvent) entry(topic event.Topic, ttl event.TTL) (eventlog.Entry, error) {
	for _, attribute := range []struct{ name, value string }{{"specversion", e.specversion}, {"id", e.id}, {"source", e.source}, {"type", e.typ}} {
		if attribute.value == "" {
			return eventlog.Entry{}, fmt.Errorf("%w: the CloudEvent has no %s; specversion, id, source and type are required", errRequest, attribute.name)
		}
	}
	if e.specversion != "1.0" {
		return eventlog.Entry{}, fmt.Errorf("%w: the specversion of the CloudEvent is %.20q; send specversion 1.0", errRequest, e.specversion)
	}
	typ, err := event.ParseType(e.typ)
	if err != nil {
		return eventlog.Entry{}, err
	}
	stored, err := event.New(topic, typ, e.data)
	// Source and id identify the event. Both may be long, and have any characters. A key of another client has no tab.
	sum := sha256.Sum256([]byte(e.source + "\x00" + e.id))
	return eventlog.Entry{Event: stored.WithTTL(ttl), Key: "cloudevent\t" + base64.RawURLEncoding.EncodeToString(sum[:])}, err
}

// binaryCloudEvent returns the CloudEvent whose attributes are headers, and whose data is the body.
func binaryCloudEvent(c *gin.Context, body []byte) (e cloudEvent, err error) {
	for _, attribute := range []struct {
		name, header string
		value        *string
	}{
		{"ce-specversion", c.GetHeader("Ce-Specversion"), &e.specversion},
		{"ce-id", c.GetHeader("Ce-Id"), &e.id},
		{"ce-source", c.GetHeader("Ce-Source"), &e.source},
		{"ce-type", c.GetHeader("Ce-Type"), &e.typ},
	} {
		var ok bool
		if *attribute.value, ok = attributeOf(attribute.header); !ok {
			return cloudEvent{}, fmt.Errorf("%w: the header %s is not UTF-8; percent-encode its value as UTF-8, such as %%20 for a space", errRequest, attribute.name)
		}
	}
	e.data = string(body)
	return e, nil
}

// attributeOf decodes the value of a header: HTTP binding, section 3.1.3.2. It reports whether the result is UTF-8.
func attributeOf(header string) (value string, ok bool) {
	value = percentDecoded(unquoted(header))
	return value, utf8.ValidString(value)
}

// unquoted returns the text within quotes, which senders of earlier versions of CloudEvents write.
func unquoted(text string) string {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return text
	}
	var plain []byte
	for text = text[1 : len(text)-1]; text != ""; text = text[1:] {
		if text[0] == '\\' && len(text) > 1 {
			text = text[1:]
		}
		plain = append(plain, text[0])
	}
	return string(plain)
}

// percentDecoded decodes what is percent-encoded. The SDK for Go does not encode a percent sign, so one that encodes nothing stands for itself.
func percentDecoded(text string) string {
	var plain []byte
	for ; text != ""; text = text[1:] {
		c := text[0]
		if c == '%' && len(text) > 2 {
			if encoded, err := hex.DecodeString(text[1:3]); err == nil {
				c, text = encoded[0], text[2:]
			}
		}
		plain = append(plain, c)
	}
	return string(plain)
}

// parseCloudEvent parses the JSON format of CloudEvents 1.0.2. Names of members are exact, so it is not decoded into a struct.
func parseCloudEvent(text []byte) (e cloudEvent, err error) {
	var members map[string]json.RawMessage
	if !utf8.Valid(text) || json.Unmarshal(text, &members) != nil || members == nil {
		return cloudEvent{}, fmt.Errorf("%w: send a CloudEvent as a JSON object in UTF-8", errRequest)
	}
	var contentType, encoded string
	for name, value := range map[string]*string{
		"specversion": &e.specversion, "id": &e.id, "source": &e.source, "type": &e.typ, "datacontenttype": &contentType, "data_base64": &encoded,
	} {
		if member := members[name]; member != nil && json.Unmarshal(member, value) != nil {
			return cloudEvent{}, fmt.Errorf("%w: %s of the CloudEvent must be a string", errRequest, name)
		}
	}
	data, hasData := members["data"]
	switch {
	case hasData && encoded != "":
		return cloudEvent{}, fmt.Errorf("%w: the CloudEvent has data and data_base64; send one of them", errRequest)
	case encoded != "":
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return cloudEvent{}, fmt.Errorf("%w: data_base64 of the CloudEvent is not Base64", errRequest)
		}
		e.data = string(decoded)
	case hasData && isJSON(contentType): // a string too is JSON, as it would be in a body
		var compact bytes.Buffer
		err = json.Compact(&compact, data)
		e.data = compact.String()
	case hasData:
		e.data, err = dataOf(data)
	}
	return e, err
}

// isJSON reports whether data of the type is JSON: JSON format, section 3.1. It is if there is no type.
func isJSON(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return contentType == "" || strings.HasSuffix(kind, "/json") || strings.HasSuffix(kind, "+json")
}
