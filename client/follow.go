package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"freshet/event"
)

// Source is an event stream of any server.
type Source struct {
	URL    string
	Header http.Header // further headers, such as Authorization
	// LastEventID is where to resume: [Event.ID] of the last event that was handled.
	LastEventID string
	// MaxEvent is the largest event in bytes; 0: 1 MiB. A larger one is yielded with TooLong and without data,
	// up to 64 MiB. Beyond that the connection is closed, and opened again after a wait.
	MaxEvent int
	// Silence is how long the source may send nothing, also no answer to the request; then its connection is replaced. 0: as long as it likes.
	Silence time.Duration
	// HTTP sends the requests; nil: a client with the settings of http.DefaultTransport. Its Timeout does not
	// count. Redirects to another host are refused, because that host would get the headers.
	HTTP *http.Client
	// Connected is called when the source has answered with a stream, Disconnected when the stream has ended or could not be opened and
	// the next attempt follows after wait. Both may be nil.
	Connected    func()
	Disconnected func(err error, wait time.Duration)
}

// Follow yields the events of a source until the loop is left, as [Client.Subscribe] does for those of a Freshet
// server: it reconnects and resumes by itself (WHATWG HTML, 9.2.3). The topic of the events is empty.
//
// It ends with an [*Error] if the source refuses the request with 401, 403 or another 4xx but 408, 425 and 429, and without an
// error at status 204.
func Follow(ctx context.Context, s Source) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := follower{yield: yield, lastID: s.LastEventID, disconnected: s.Disconnected, counted: true}
		send, err := s.sender() //nolint:bodyclose // Reader.Close does it
		if err != nil {
			yield(Event{}, err)
			return
		}
		f.open = func(ctx context.Context, lastID string) (*Reader, error) {
			o := opening{
				url: s.URL, header: s.Header, accept: "text/event-stream", lastID: lastID, heartbeat: -1,
				frames: func(body io.Reader) *event.Scanner {
					scanner := event.NewScanner(body, cmp.Or(s.MaxEvent, 1<<20))
					scanner.SkipLongFrames(maxFrame)
					return scanner
				},
				send: send,
			}
			if s.Silence > 0 {
				o.heartbeat = s.Silence * 2 / 5 // a reader waits for two and a half
			}
			r, err := o.open(ctx)
			if err == nil && s.Connected != nil {
				s.Connected()
			}
			return r, err
		}
		f.follow(ctx)
	}
}

// ParseURL returns the URL of an event stream. The error does not contain the text, which may hold a secret.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("want a URL such as https://events.example.com/stream")
	}
	return u, nil
}

// sender returns a function whose errors do not contain the URL, which may hold a secret.
func (s Source) sender() (func(*http.Request) (*http.Response, error), error) {
	if _, err := ParseURL(s.URL); err != nil {
		return nil, fmt.Errorf("client: Source.URL: %w", err)
	}
	streams := http.Client{}
	if s.HTTP != nil {
		streams = *s.HTTP
	}
	streams.Timeout = 0
	streams.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme && r.URL.Scheme != "https":
			return &Error{Status: http.StatusMisdirectedRequest, Message: fmt.Sprintf("the source redirects to %s; follow that URL itself if you trust it", r.URL.Host)}
		case len(via) >= 10:
			return errors.New("ten redirects")
		}
		return nil
	}
	return func(r *http.Request) (*http.Response, error) {
		response, err := streams.Do(r)
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = fmt.Errorf("%s: %w", r.URL.Host, wrapped.Err)
		}
		return response, err
	}, nil
}
