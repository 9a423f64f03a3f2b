package ssetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"freshet/doctor"
	"freshet/event"
)

// firstTry is how long the first event may take before another is published: see [endpoint.subscribe].
const firstTry = 100 * time.Millisecond

// endpoint is what is checked.
type endpoint struct {
	Conformance
	url  string
	shut bool // the stream does not open
}

// connection is one open stream of the endpoint.
type connection struct {
	*endpoint
	*http.Response
	frames *frames
	raw    *arrivals
	close  func()
}

// get sends a request for the stream. The caller closes the body. The headers are pairs of name and value.
func (e *endpoint) get(ctx context.Context, url string, headers ...string) (*http.Response, context.CancelFunc, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header = e.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	return e.do(accepting(r, headers))
}

// do waits for the headers for as long as the patience lasts. The stream itself may last longer.
func (e *endpoint) do(r *http.Request) (*http.Response, context.CancelFunc, error) {
	ctx, cancel := context.WithCancel(r.Context())
	late := time.AfterFunc(e.Patience, cancel)
	response, err := e.Client.Do(r.WithContext(ctx))
	if !late.Stop() {
		err = fmt.Errorf("no headers arrived within %v: send them before the first event", e.Patience)
	}
	if err != nil {
		if response != nil {
			_ = response.Body.Close() // it came too late
		}
		cancel()
		return nil, nil, err
	}
	return response, cancel, nil
}

// open opens a stream. It has to be one.
func (e *endpoint) open(ctx context.Context, headers ...string) (*connection, error) {
	response, cancel, err := e.get(ctx, e.url, headers...)
	if err != nil {
		return nil, err
	}
	raw := &arrivals{r: response.Body}
	c := &connection{endpoint: e, Response: response, frames: newFrames(raw), raw: raw, close: func() {
		cancel()
		_ = response.Body.Close() // it is not read to its end
	}}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: a browser's EventSource stops for good at any status but 200", response.StatusCode)
	} else {
		err = doctor.CheckType(response.Header)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// subscribe opens a stream and waits until events arrive. An endpoint may send its headers a moment before it subscribes the reader, so
// one event may not be enough.
func (e *endpoint) subscribe(ctx context.Context, headers ...string) (*connection, error) {
	if e.Publish == nil {
		return nil, skipped("Publish is not set")
	}
	c, err := e.open(ctx, headers...)
	if err != nil {
		return nil, err
	}
	for wait := firstTry; ; wait *= 2 {
		mark := marker()
		if err = e.publish(ctx, mark); err == nil {
			_, err = c.find(ctx, mark, min(wait, e.Patience))
		}
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, errMissing) || wait >= e.Patience {
			c.close()
			return nil, err
		}
	}
}

func (e *endpoint) publish(ctx context.Context, data string) error {
	if err := e.Publish(ctx, data); err != nil {
		return fmt.Errorf("publishing failed: %w", err)
	}
	return nil
}

// marker is a text that makes an event recognisable among others, of other readers or of the past.
func marker() string { return "conform-" + rand.Text() }

var errMissing = errors.New("a published event did not arrive")

// find reads until an event that contains the marker, and returns the published data. Everything else is skipped.
func (c *connection) find(ctx context.Context, mark string, wait time.Duration) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		f, err := c.frames.next(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return found{}, fmt.Errorf("%w within %v", errMissing, wait)
		case errors.Is(err, io.EOF):
			return found{}, errors.New("the stream ended before a published event")
		case err != nil:
			return found{}, fmt.Errorf("the stream broke: %w", err)
		case !f.HasData:
			continue
		}
		data, ok := c.Unwrap(f)
		if !ok {
			data = f.Data
		}
		if strings.Contains(data, mark) {
			return found{f, data, ok}, nil
		}
	}
}

// found is an event with a marker.
type found struct {
	event.Frame
	data    string // as it was published
	asTyped bool   // the event has its type, or its envelope
}

// exchange publishes data with a marker, and returns the event.
func (c *connection) exchange(ctx context.Context, mark, data string) (found, error) {
	if err := c.publish(ctx, data); err != nil {
		return found{}, err
	}
	return c.find(ctx, mark, c.Patience)
}

// arrivals passes a body on, and remembers what has arrived and when.
type arrivals struct {
	r io.Reader

	mu   sync.Mutex
	text bytes.Buffer
	last time.Time
}

// maxText bounds what is remembered.
const maxText = 1 << 20

func (a *arrivals) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > 0 {
		a.last = time.Now()
		a.text.Write(p[:min(n, maxText-min(a.text.Len(), maxText))])
	}
	return n, err
}

// arrived returns the text until now, and when its end came.
func (a *arrivals) arrived() (string, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String(), a.last
}
