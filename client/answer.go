package client

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"freshet/event"
)

// maxUnstored is how many bytes of an answer may wait to be stored before Write waits.
const maxUnstored = 1 << 20

// stopSegment is the last segment of the topic that stops an answer.
const stopSegment = ".stop"

// Answer is a text that is published piece by piece, such as that of a language model. One goroutine at a time uses it, except for Stopped.
// Pieces that are written at one moment become one event. After a lost connection the answer continues where the log has it, without a loss or
// a repetition.
type Answer struct {
	client  *Client
	target  string // of the requests, without the number of the first line
	key     string
	stopped context.Context //nolint:containedctx // Stopped returns it
	run     sync.WaitGroup
	cancel  context.CancelCauseFunc // ends the requests, and the reading of stop

	changed chan struct{} // holds a token after a change of what mu guards, for the request
	freed   chan struct{} // the same for Write and End

	mu       sync.Mutex
	unstored []string // the pieces after stored, as lines of JSON
	size     int      // of unstored, in bytes
	stored   uint64   // how many pieces the log has
	ended    bool     // End was called
	complete bool     // the log has the end
	err      error    // why the answer cannot be stored

	rest []byte // the beginning of a rune, for the next Write
}

// Answer begins an answer in the topic, which must not have ended. [Answer.Stopped] is canceled once somebody publishes to the topic TOPIC.stop; the token must allow
// to read it. The caller calls End, or cancels ctx to leave the answer without an end.
func (c *Client) Answer(ctx context.Context, topic string) (*Answer, error) {
	if err := (Message{Topic: topic + stopSegment}).check(); err != nil {
		return nil, err
	}
	a := &Answer{
		client: c, target: eventPath(topic) + "?" + url.Values{"end": {""}, "join": {"text"}}.Encode(), key: rand.Text(),
		changed: make(chan struct{}, 1), freed: make(chan struct{}, 1),
	}
	ctx, a.cancel = context.WithCancelCause(ctx)
	stopped, stop := context.WithCancel(ctx)
	a.stopped = stopped
	a.run.Go(func() {
		for e, err := range c.Subscribe(ctx, Subscription{Topics: []string{topic + stopSegment}, Since: "all"}) {
			if err == nil && e.Gap == nil {
				stop()
			}
			return // without the right to read it, nobody can stop the answer
		}
	})
	a.run.Go(func() {
		a.fail(a.send(ctx))
	})
	return a, nil
}

// Stopped is canceled once somebody has asked for the end of the answer, or the context of the answer is done. Then call [Answer.End].
func (a *Answer) Stopped() context.Context { return a.stopped }

// Write adds text. It waits while a mebibyte is not stored yet. The error is an [*Error] if the server refuses the answer, for example because the topic
// has ended, or that of the answer's context.
func (a *Answer) Write(text []byte) (int, error) {
	if err := a.wait(func() bool { return a.size < maxUnstored }); err != nil {
		return 0, err
	}
	whole := append(a.rest, text...)
	n := len(whole) - incomplete(whole)
	a.rest = slices.Clone(whole[n:])
	return len(text), a.add(whole[:n])
}

// add adds a piece. Bytes that are no UTF-8 become U+FFFD.
func (a *Answer) add(piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	line, err := json.Marshal(string(piece))
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.unstored = append(a.unstored, string(line))
	a.size += len(line)
	a.mu.Unlock()
	notify(a.changed)
	return nil
}

// End ends the topic, and returns once all of the answer is stored. The errors are those of Write.
func (a *Answer) End() error {
	if err := a.add(a.rest); err != nil {
		return err
	}
	a.rest = nil
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	notify(a.changed)
	err := a.wait(func() bool { return a.complete })
	a.cancel(errEnded)
	a.run.Wait()
	return err
}

var errEnded = errors.New("the answer has ended")

// incomplete is how many bytes at the text's end are the beginning of a rune.
func incomplete(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait waits until the condition holds, which needs the mutex, or the answer has failed.
func (a *Answer) wait(holds func() bool) error {
	for {
		a.mu.Lock()
		ok, err := holds(), a.err
		a.mu.Unlock()
		if ok || err != nil {
			return err
		}
		<-a.freed
	}
}

func (a *Answer) fail(err error) {
	a.mu.Lock()
	a.err = err
	a.mu.Unlock()
	notify(a.freed)
}

// send sends requests until the answer is complete or refused.
func (a *Answer) send(ctx context.Context) error {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		before := a.position()
		err := a.request(ctx)
		refused, isRefused := errors.AsType[*Error](err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case isRefused && !mayContinue(refused):
			return err
		}
		if a.position() > before {
			backoff = minBackoff
		}
		wait := backoff/2 + mathrand.N(backoff/2) //nolint:gosec // spread, not secret
		if isRefused {
			wait += refused.RetryAfter
		}
		if a.client.cfg.Retrying != nil {
			a.client.cfg.Retrying(err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// mayContinue reports whether another request may succeed. An error in a line of a response has no status.
func mayContinue(refused *Error) bool {
	if refused.Status != 0 {
		return mayRetry(refused)
	}
	return slices.Contains([]string{"draining", "internal", "log_full", "log_unavailable", "nats_refused", "timeout"}, refused.Code)
}

func (a *Answer) position() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stored
}

// request sends what is not stored, and what is written meanwhile, until the answer is complete. Any other end is an error.
func (a *Answer) request(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := a.position()
	body, pieces := io.Pipe()
	defer func() { _ = body.Close() }() // ends write
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s%s&line=%d", a.client.base, a.target, first+1), body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Idempotency-Key", a.key)
	var writing sync.WaitGroup
	defer writing.Wait()
	defer cancel()
	defer func() { _ = body.Close() }()
	writing.Go(func() { _ = pieces.CloseWithError(a.write(ctx, pieces, first)) })
	response, err := a.client.send(a.client.streams, r, "")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // the log has what matters
	if response.StatusCode != http.StatusOK {
		return refusal(response)
	}
	return a.readResults(response.Body)
}

// write sends the pieces after the first ones, and an empty line now and then. It returns nil once all of the answer is sent.
//
// The server counts lines. So a piece that turns out to be stored already, before it was sent here, is replaced by an empty text, which the
// server leaves out.
func (a *Answer) write(ctx context.Context, w io.Writer, sent uint64) error {
	alive := time.NewTicker(attemptTimeout)
	defer alive.Stop()
	for {
		a.mu.Lock()
		var lines []string
		for n := sent; n < a.stored; n++ {
			lines = append(lines, `""`)
		}
		lines = append(lines, a.unstored[max(sent, a.stored)-a.stored:]...)
		ended := a.ended
		a.mu.Unlock()
		for _, line := range lines {
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				return err
			}
			sent++
		}
		if len(lines) > 0 {
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-a.changed:
		case <-alive.C:
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readResults reads the lines of a response. It returns nil if the answer is complete.
func (a *Answer) readResults(body io.Reader) error {
	results := bufio.NewScanner(body)
	var id event.ID
	for results.Scan() {
		var result struct {
			ID    event.ID
			Line  uint64
			Error *Error
		}
		if err := json.Unmarshal(results.Bytes(), &result); err != nil {
			return &Error{Status: http.StatusOK, Message: "the answer is not that of a Freshet server"}
		}
		a.store(result.Line)
		if result.Error != nil {
			return result.Error
		}
		id = result.ID
	}
	if err := results.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	a.complete = a.ended && len(a.unstored) == 0 && !id.IsZero()
	complete := a.complete
	a.mu.Unlock()
	if !complete {
		return io.ErrUnexpectedEOF
	}
	notify(a.freed)
	return nil
}

// store notes that the log has the pieces up to the number.
func (a *Answer) store(number uint64) {
	a.mu.Lock()
	for a.stored < number && len(a.unstored) > 0 {
		a.size -= len(a.unstored[0])
		a.unstored = a.unstored[1:]
		a.stored++
	}
	a.mu.Unlock()
	notify(a.freed)
}
