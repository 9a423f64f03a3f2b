package handlers

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"freshet/event"
	"freshet/eventlog"
	"freshet/stream"

	"github.com/gin-gonic/gin"
)

const (
	// linesFor is how long a publisher may send lines in one request.
	linesFor = time.Hour
	// linesIdle is how long it may send nothing, not even an empty line.
	linesIdle = 5 * time.Minute
	// linger is how long the rest of a body is read after an error.
	linger = time.Second
	// joinBytes is the size at which joined lines become an event before the time is up.
	joinBytes = 4 << 10
)

// linesResult is the response to one event, and the first line of a response.
type linesResult struct {
	ID   *event.ID `json:"id,omitempty"`
	Line uint64    `json:"line"` // the lines up to this one are stored
}

// linesError is the last line of a response that is not complete.
type linesError struct {
	Error problem `json:"error"`
	Line  uint64  `json:"line"`
}

// publishing is a request whose body has lines, which are stored as they arrive.
type publishing struct {
	h     *Handlers
	c     *gin.Context
	topic event.Topic
	typ   event.Type
	ttl   event.TTL
	key   string  // empty: the lines cannot be continued after an error
	join  *string // between the lines of one event; nil: each line is an event
	ends  bool    // the topic ends with the body
	first uint64  // the number of the body's first line

	at      eventlog.Lines // with a key, as far as this request knows
	pending []publishedLine
	size    int // of pending, in bytes
}

// publishedLine is the data of one line.
type publishedLine struct {
	number uint64 // 0: the line is empty
	data   string
}

// bodyEnd is how a body has ended.
type bodyEnd struct {
	err error // nil: it is complete
}

// publishLinesOf serves POST /event/{topic} with NDJSON: each line is a JSON value, and its data is that of a field "data". The response has
// a line at the beginning, then one for each event.
func (h *Handlers) publishLinesOf(c *gin.Context, topic event.Topic, typ event.Type, ttl event.TTL) error {
	p := &publishing{h: h, c: c, topic: topic, typ: typ, ttl: ttl}
	_, p.ends = c.GetQuery("end")
	var valid bool
	if p.join, valid = separatorOf(c, "join"); !valid {
		return &event.InvalidError{Field: "join", Reason: "must be text or lines"}
	}
	var err error
	if p.key, err = idempotencyKey(c); err != nil {
		return err
	}
	if p.first, err = parseLineNumber(c); err != nil {
		return err
	}
	if _, err := event.New(topic, typ, ""); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), linesFor)
	defer cancel()
	if err := p.begin(ctx); errors.Is(err, errNoReader) {
		panic(http.ErrAbortHandler)
	} else if err != nil {
		return err
	}
	err = p.run(ctx)
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(h.streams.Stall())) // for the response's end
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone, or does not read its responses
	}
	return nil
}

func parseLineNumber(c *gin.Context) (uint64, error) {
	text, sent := c.GetQuery("line")
	if !sent {
		return 1, nil
	}
	number, err := strconv.ParseUint(text, 10, 63)
	if err != nil || number == 0 {
		return 0, &event.InvalidError{Field: "line", Reason: "must be the number of the body's first line, from 1"}
	}
	return number, nil
}

// begin finds out where the lines continue, and says so.
func (p *publishing) begin(ctx context.Context) error {
	if p.key != "" {
		if err := p.locate(ctx); err != nil {
			return err
		}
		if p.at.Stored+1 < p.first {
			return &event.InvalidError{Field: "line", Reason: fmt.Sprintf("must be %d or less, because only %d lines with this Idempotency-Key are stored", p.at.Stored+1, p.at.Stored)}
		}
	} else if p.first > 1 {
		return &event.InvalidError{Field: "line", Reason: "needs an Idempotency-Key"}
	} else if seq, err := p.h.log.Ended(ctx, p.topic); err != nil {
		return err
	} else if seq > 0 {
		return eventlog.ErrEnded
	}
	control := http.NewResponseController(p.c.Writer)
	_ = control.EnableFullDuplex()           // HTTP/2 always has it
	_ = control.SetReadDeadline(time.Time{}) // a transport without deadlines has its own
	p.c.Header("Content-Type", event.Lines.ContentType())
	p.c.Header("Cache-Control", "no-store")
	p.c.Header("X-Accel-Buffering", "no")
	p.c.Status(http.StatusOK)
	return p.respond(linesResult{Line: p.at.Stored})
}

// locate asks the log how far the lines are. The log may no longer have lines that this request has stored: they may have expired.
func (p *publishing) locate(ctx context.Context) error {
	at, err := p.h.log.LinesOf(ctx, p.topic, p.key)
	if err == nil {
		at.Stored = max(at.Stored, p.at.Stored)
		p.at = at
	}
	return err
}

// errNoReader: the client is gone, or does not read its responses.
var errNoReader = errors.New("the response cannot be written")

// run stores the lines until the body's end, or the first error, which is the last line of the response. It returns [errNoReader] or nil.
func (p *publishing) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, ended := make(chan publishedLine), make(chan bodyEnd, 1)
	go func() { ended <- bodyEnd{p.read(ctx, lines)} }()
	complete, err := p.gather(ctx, lines, ended)
	if err == nil {
		return nil
	}
	wait := linger // a connection that is closed while the client sends is reset, and the client may not see the response
	if errors.Is(err, errNoReader) {
		wait = 0
	} else {
		_ = p.c.Error(err) // for the request log
		_, problem := problemOf(err)
		p.h.countError(problem.Code)
		err = p.respond(linesError{problem, p.at.Stored})
	}
	cancel()
	_ = http.NewResponseController(p.c.Writer).SetReadDeadline(time.Now().Add(wait))
	if !complete {
		<-ended
	}
	_, _ = io.Copy(io.Discard, p.c.Request.Body)
	return err
}

// gather stores the lines until the read has ended, or the first error. complete reports whether it has taken the result of the read.
func (p *publishing) gather(ctx context.Context, lines <-chan publishedLine, ended <-chan bodyEnd) (complete bool, err error) {
	due, idle := time.NewTimer(0), time.NewTimer(linesIdle)
	defer due.Stop()
	defer idle.Stop()
	due.Stop()
	for {
		select {
		case line := <-lines:
			idle.Reset(linesIdle)
			if line.number == 0 {
				continue
			}
			if len(p.pending) == 0 {
				due.Reset(p.h.cfg.Coalesce)
			}
			p.pending = append(p.pending, line)
			if p.size += len(line.data); p.join == nil || p.size >= joinBytes {
				err = p.store(ctx)
			}
		case <-due.C:
			err = p.store(ctx)
		case end := <-ended:
			return true, cmp.Or(p.finish(ctx, end.err == nil), end.err)
		case <-p.h.streams.Closing():
			return false, cmp.Or(p.store(ctx), stream.ErrDraining)
		case <-idle.C:
			return false, cmp.Or(p.store(ctx), errLines)
		case <-ctx.Done():
			return false, cmp.Or(p.store(context.WithoutCancel(ctx)), errLines)
		}
		if err != nil {
			return false, err
		}
	}
}

// finish stores what is pending after the last line. A body that broke off does not end the topic.
func (p *publishing) finish(ctx context.Context, complete bool) error {
	if !complete || !p.ends {
		return p.store(context.WithoutCancel(ctx))
	}
	return p.append(ctx, true)
}

// store stores the pending lines as one event.
func (p *publishing) store(ctx context.Context) error { return p.append(ctx, false) }

// append stores the pending lines, if there are any, ends the topic if asked to, and says so. Lines that another request with the key has
// stored are left out.
func (p *publishing) append(ctx context.Context, ends bool) error {
	for {
		for len(p.pending) > 0 && p.pending[0].number <= p.at.Stored {
			p.size -= len(p.pending[0].data)
			p.pending = p.pending[1:]
		}
		var last []eventlog.Entry
		number := p.at.Stored
		if len(p.pending) > 0 {
			if p.at.Ended {
				return eventlog.ErrEnded
			}
			entry, err := p.entry()
			if err == nil {
				err = p.allow(ctx)
			}
			if err != nil {
				p.h.publishes.countErrors(1, err)
				return err
			}
			last, number = append(last, entry), p.pending[len(p.pending)-1].number
		}
		var receipt eventlog.Receipt
		switch ctx := context.WithoutCancel(ctx); {
		case ends:
			receipt = p.h.log.End(ctx, p.topic, p.key, p.ttl, last...)
		case last != nil:
			receipt = p.h.log.Append(ctx, last[0])
		default:
			return nil
		}
		if errors.Is(receipt.Err, eventlog.ErrMoved) {
			if err := p.locate(ctx); err != nil {
				return err
			}
			continue
		}
		p.h.publishes.count(receipt.Repeat, receipt.Err)
		if receipt.Err != nil {
			return uncertain(receipt.Err)
		}
		p.at.Stored, p.at.Newest = number, receipt.ID.Seq()
		p.pending, p.size = p.pending[:0], 0
		return p.respond(linesResult{&receipt.ID, number})
	}
}

// entry returns the pending lines as one event.
func (p *publishing) entry() (eventlog.Entry, error) {
	parts := make([]string, len(p.pending))
	for i, line := range p.pending {
		parts[i] = line.data
	}
	separator := ""
	if p.join != nil {
		separator = *p.join
	}
	e, err := event.New(p.topic, p.typ, strings.Join(parts, separator))
	entry := eventlog.Entry{Event: e.WithTTL(p.ttl)}
	if p.key != "" {
		newest := p.at.Newest
		entry.After, entry.Origin = &newest, eventlog.LineOrigin(p.key, p.pending[len(p.pending)-1].number)
	}
	return entry, err
}

// allow waits until the publisher may publish an event.
func (p *publishing) allow(ctx context.Context) error {
	for {
		err := p.h.allowPublish(p.c, 1)
		limited, ok := errors.AsType[*rateError](err)
		if !ok {
			return err
		}
		select {
		case <-time.After(limited.wait):
		case <-ctx.Done():
			return err
		}
	}
}

// respond writes a line of the response. The error is [errNoReader].
func (p *publishing) respond(line any) error {
	control := http.NewResponseController(p.c.Writer)
	_ = control.SetWriteDeadline(time.Now().Add(p.h.streams.Stall()))
	encoder := json.NewEncoder(p.c.Writer)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(line) != nil || control.Flush() != nil {
		return errNoReader
	}
	return nil
}

// read sends the lines of the body, until its end: nil, or an error if the body is not complete. Empty lines keep the request alive, and do
// not count.
func (p *publishing) read(ctx context.Context, lines chan<- publishedLine) error {
	body := bufio.NewReader(p.c.Request.Body)
	for number := p.first - 1; ; {
		text, err := readLine(body, p.h.cfg.MaxBody)
		if err != nil && !errors.Is(err, io.EOF) {
			return bodyError(err)
		}
		line := publishedLine{}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			var errLine error
			if line.data, errLine = lineData(text); errLine != nil {
				return fmt.Errorf("%w: line %d is not a JSON value", errRequest, number+1)
			}
			number++
			line.number = number
		}
		select {
		case lines <- line:
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return nil
		}
	}
}

// lineData returns the data of a line: a string, or any other JSON value as compact text.
func lineData(text []byte) (string, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return "", errRequest
	}
	return dataOf(text)
}

// readLine returns the next line of at most size bytes. With io.EOF, it is the last one, and may be empty.
func readLine(r *bufio.Reader, size int64) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); int64(len(line)) > size {
			return nil, &http.MaxBytesError{Limit: size}
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
