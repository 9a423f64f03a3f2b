package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config configures a [Client].
type Config struct {
	// URL is the server's, such as https://events.example.com. A path is kept as a prefix.
	URL string
	// Token goes into the header Authorization: a publish token or a JSON web token. Empty:
	// requests are anonymous.
	Token string
	// TokenFunc replaces Token for tokens that expire. It is called for each request, so it
	// caches what is slow to get.
	TokenFunc func(context.Context) (string, error)
	// HTTP sends the requests; nil: a client of its own with http.DefaultTransport's settings.
	// Its Timeout is for publishing; streams have none.
	HTTP *http.Client
	// Attempts limits how often a publish is sent; 0: until the context ends.
	Attempts int
	// Retrying is called when a publish has failed and is sent again after wait. It may be nil.
	Retrying func(err error, wait time.Duration)
	// MaxBody is the largest request of PublishAll in bytes; 0: 1 MiB, the server's default.
	MaxBody int
}

// Client talks to one server. Make one with [New].
type Client struct {
	cfg     Config
	base    string       // without a slash at its end
	streams *http.Client // without a timeout
}

// New returns a client. It does not connect yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("client: Config.URL is %q, want a URL like https://events.example.com", cfg.URL)
	}
	if cfg.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nothing else is documented
		transport.MaxIdleConnsPerHost = transport.MaxIdleConns
		cfg.HTTP = &http.Client{Transport: transport}
	}
	streams := *cfg.HTTP
	streams.Timeout = 0
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 1<<20)
	return &Client{cfg: cfg, base: strings.TrimRight(base.String(), "/"), streams: &streams}, nil
}

// Error is an answer of the server that refuses a request, or one message of many.
type Error struct {
	Status     int           // the HTTP status; 0 for one message of PublishAll
	Code       string        // such as rate_limited; empty if a proxy answered
	Message    string        // for people
	RetryAfter time.Duration // 0: the server does not say when to retry
}

func (e *Error) Error() string {
	text := e.Message
	if e.Code != "" {
		text = e.Code + ": " + text
	}
	if e.Status != 0 {
		text = strconv.Itoa(e.Status) + " " + text
	}
	return "freshet: " + text
}

// send sends the request with the token, unless it has a ticket. The error does not contain
// the URL, which may contain the ticket.
func (c *Client) send(client *http.Client, r *http.Request, ticket string) (*http.Response, error) {
	token := c.cfg.Token
	if ticket == "" && c.cfg.TokenFunc != nil {
		var err error
		if token, err = c.cfg.TokenFunc(r.Context()); err != nil {
			return nil, fmt.Errorf("get a token: %w", err)
		}
	}
	if ticket == "" && token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(r)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("freshet: %s: %w", r.URL.Host, wrapped.Err)
	}
	return response, err
}

// refusal reads the answer as an error.
func refusal(response *http.Response) *Error {
	e := &Error{Status: response.StatusCode, Message: http.StatusText(response.StatusCode)}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = min(time.Duration(seconds), 24*60*60) * time.Second
	}
	var answer struct {
		Error struct{ Code, Message string }
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // a broken answer keeps its status
	if json.Unmarshal(body, &answer) == nil {
		e.Code, e.Message = answer.Error.Code, cmp.Or(answer.Error.Message, e.Message)
	}
	return e
}
