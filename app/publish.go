package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"freshet/client"
	"freshet/config"
	"freshet/event"
)

// batchBytes is how much data one request of the command publish has, without the JSON around it.
const batchBytes = 768 << 10

// publish publishes the lines of standard input. What has arrived while a request was in flight goes into the next one.
func publish(args, environ []string, stdout, stderr io.Writer) error {
	cfg, err := config.ParsePublish(args, environ, stdout)
	if err != nil {
		return usage(err)
	}
	server, err := newRemote(cfg.Server)
	if err != nil {
		return err
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer context.AfterFunc(interrupted, stop)() // a second signal ends the process
	defer stop()

	p := &publisher{cfg: cfg, server: server, stderr: stderr, began: time.Now(), progress: isTerminal(stderr)}
	err = p.run(interrupted, os.Stdin)
	p.summarize()
	switch {
	case err != nil:
		return err
	case interrupted.Err() != nil:
		return &failure{code: exitInterrupted}
	case p.refused > 0:
		return &failure{code: 1}
	}
	return nil
}

// publisher publishes lines and counts them.
type publisher struct {
	cfg      config.Publish
	server   *remote
	stderr   io.Writer
	progress bool // shown, on a terminal
	began    time.Time

	published, refused int
	away               bool // the server does not answer, and the user knows
}

// run publishes until the input ends or a signal arrives. The error says which lines may be lost.
func (p *publisher) run(interrupted context.Context, stdin io.Reader) error {
	// Requests in flight outlive the signal.
	ctx, giveUp := context.WithCancelCause(context.Background())
	defer giveUp(nil)
	c, err := p.server.client(client.Config{Retrying: func(err error, _ time.Duration) {
		_, answered := errors.AsType[*client.Error](err)
		switch {
		case p.published == 0 && !answered: // a wrong URL, probably
			giveUp(err)
		case !p.away:
			p.away = true
			p.tell("%v; trying again", p.server.explain(err))
		}
	}})
	if err != nil {
		return err
	}
	lines := make(chan []line, 16)
	failed := make(chan error, 1)
	go func() { failed <- readLines(stdin, lines) }() // a read of a terminal cannot be interrupted, so it may outlive the command
	for {
		batch, more := nextBatch(interrupted, lines)
		if number, err := p.send(ctx, c, batch); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("stopped at line %d: %w", number, p.server.explain(err))
		}
		if !more {
			break
		}
	}
	if interrupted.Err() != nil {
		return nil
	}
	return <-failed
}

// nextBatch waits for lines, and returns those that have arrived, up to the size of a request. More says that others may follow.
func nextBatch(interrupted context.Context, lines <-chan []line) (batch []line, more bool) {
	select {
	case batch, more = <-lines:
	case <-interrupted.Done():
		return nil, false
	}
	for size := sizeOf(batch); more && size < batchBytes; {
		select {
		case next, open := <-lines:
			if more = open; open {
				batch, size = append(batch, next...), size+sizeOf(next)
			}
		default:
			return batch, more
		}
	}
	return batch, more
}

// send publishes the lines and tells which ones are refused. With an error it returns the number of the first line without a result.
func (p *publisher) send(ctx context.Context, c *client.Client, lines []line) (number int, err error) {
	messages, numbers := make([]client.Message, 0, len(lines)), make([]int, 0, len(lines))
	for _, l := range lines {
		m, err := p.message(l)
		if err != nil {
			p.refuse(l.number, err)
			continue
		}
		messages, numbers = append(messages, m), append(numbers, l.number)
	}
	results, err := c.PublishAll(ctx, messages)
	for i, result := range results {
		if result.Err != nil {
			p.refuse(numbers[i], result.Err)
			continue
		}
		p.published++
	}
	if p.away = p.away && err != nil; p.progress {
		fmt.Fprintf(p.stderr, "\r\x1b[K%s events published", grouped(p.published))
	}
	if err != nil {
		number = numbers[len(results)]
	}
	return number, err
}

// message makes an event of a line.
func (p *publisher) message(l line) (client.Message, error) {
	m := client.Message{Topic: p.cfg.Topic, Type: p.cfg.Type, Data: l.text, TTL: p.cfg.TTL}
	if l.err != nil || !p.cfg.JSON {
		return m, l.err
	}
	if !utf8.ValidString(l.text) { // the decoder would replace the bad bytes
		return m, errors.New("the line is not UTF-8")
	}
	var in struct {
		Topic, Type, TTL *string
		Data             json.RawMessage
	}
	decoder := json.NewDecoder(strings.NewReader(l.text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&in)
	if _, rest := decoder.Token(); err != nil || !errors.Is(rest, io.EOF) || in.Data == nil {
		return m, errors.New(`want one JSON object {"topic","type","data","ttl"}, where all but data may be missing`)
	}
	if in.Topic != nil {
		m.Topic = *in.Topic
	}
	if in.Type != nil {
		m.Type = *in.Type
	}
	if in.TTL != nil {
		ttl, err := event.ParseTTL(*in.TTL)
		if err != nil {
			return m, err
		}
		m.TTL = ttl.Duration()
	}
	if m.Topic == "" {
		return m, errors.New("the line has no topic: name one in the line, or as freshet publish TOPIC --json")
	}
	if in.Data[0] == '"' {
		return m, json.Unmarshal(in.Data, &m.Data)
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, in.Data)
	m.Data = compact.String()
	return m, err
}

func (p *publisher) refuse(number int, err error) {
	p.refused++
	text := strings.TrimPrefix(err.Error(), "freshet: ")
	if refused, ok := errors.AsType[*client.Error](err); ok {
		text = refused.Message
	}
	p.tell("line %d: %s", number, text)
}

// tell writes a line to standard error, in place of the progress.
func (p *publisher) tell(format string, args ...any) {
	start := ""
	if p.progress {
		start = "\r\x1b[K"
	}
	fmt.Fprintf(p.stderr, start+"freshet: "+format+"\n", args...)
}

func (p *publisher) summarize() {
	text := grouped(p.published) + " events published"
	if p.published == 1 {
		text = "1 event published"
	}
	if p.refused > 0 {
		text += ", " + grouped(p.refused) + " refused"
	}
	p.tell("%s, in %.1f s", text, time.Since(p.began).Seconds())
}

// grouped returns the number with commas between thousands.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
