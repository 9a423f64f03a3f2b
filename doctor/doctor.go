// Package doctor finds what breaks an event stream between a server and its readers.
//
//   - [Examine] sends only requests that browsers send, publishes nothing, and follows redirects.
//   - A check is one [Finding]. A check that needs the result of a failed one is left out.
//   - Examine takes Config.For, and at most 40 seconds more if the server is slow to answer. It opens at most six streams
//     at a time, and closes them all before it returns.
//   - Freshet is examined in full: its topic counter has a steady rhythm, and a gap shows which last event ID arrived.
//     For other servers, the checks that need these are left out.
//   - The token is sent only to the host of Config.URL, and over TLS only after the certificate was verified. Findings contain text
//     of the server: remove control characters before you print it.
package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says what to examine.
type Config struct {
	URL    string         // of an event stream, or of a Freshet server: without a path, its stream is /event
	Token  string         // for the header Authorization; empty: none
	Origin string         // of a page that reads the stream; empty: CORS is not examined
	For    time.Duration  // how long to watch streams; 0: 20 s
	Roots  *x509.CertPool // authorities of certificates; nil: the system's
	// Dial connects; nil: over the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Report gets each finding as soon as it is known; nil: only the report has them.
	Report func(Finding)
}

// Result says how a check went.
type Result string

// The results.
const (
	OK   Result = "ok"
	Warn Result = "warn" // streams work, but not for everyone or not at their best
	Fail Result = "fail" // streams break
	Skip Result = "skip" // left out
)

// Finding is the result of one check.
type Finding struct {
	Check  string   `json:"check"` // such as "delivery"
	Result Result   `json:"result"`
	Seen   string   `json:"seen"`             // a sentence about what was seen
	Advice []Advice `json:"advice,omitempty"` // what may cause it, the likeliest first
}

// Advice is what to change, if this program or service is the cause.
type Advice struct {
	At     string `json:"at"` // such as "nginx"
	Change string `json:"change"`
}

// Report has all findings.
type Report struct {
	URL      string    `json:"url"`     // without credentials
	OK       bool      `json:"ok"`      // no check failed
	Freshet  bool      `json:"freshet"` // false: an unknown server, and some checks are left out
	Findings []Finding `json:"findings"`
}

const (
	// answerTime is how long a server may take until it answers. A browser waits longer, but its user does not.
	answerTime = 10 * time.Second
	// maxRedirects is less than browsers follow.
	maxRedirects = 5
	eventStream  = "text/event-stream"
)

// Examine examines the stream. The error is for a URL that is not one, or for a ctx that has ended.
func Examine(ctx context.Context, cfg Config) (Report, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return Report{}, errors.New("doctor: Config.URL: want a URL such as https://events.example.org/event")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/event"
	}
	u.Fragment = ""
	cfg.For = cmp.Or(cfg.For, 20*time.Second)
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	transport := &http.Transport{
		DialContext: cfg.Dial, TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, DisableCompression: true, // a browser's encodings are a check of its own
	}
	defer transport.CloseIdleConnections()
	x := &examination{cfg: cfg, url: u, report: Report{OK: true}, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	x.run(ctx)
	x.report.URL = redacted(x.url)
	return x.report, ctx.Err()
}

// examination is one call of Examine.
type examination struct {
	cfg     Config
	url     *url.URL
	http    *http.Client
	proxies []string // that named themselves
	report  Report
}

func (x *examination) run(ctx context.Context) {
	for range maxRedirects + 1 {
		if !x.network(ctx) {
			return
		}
		target, good := x.answer(ctx)
		if good {
			x.streams(ctx)
		}
		if target == nil || ctx.Err() != nil {
			return
		}
		if target.Hostname() != x.url.Hostname() || target.Scheme == "http" && x.url.Scheme == "https" {
			x.cfg.Token = ""
		}
		x.url = target
	}
	x.add("redirect", Fail, "more than "+number(maxRedirects, "redirect"))
}

// streams has the checks that need a stream. They run at the same time, and are reported in a fixed order.
func (x *examination) streams(ctx context.Context) {
	events, quiet := x.url, (*url.URL)(nil)
	if x.report.Freshet {
		events, quiet = x.topic("counter"), x.topic(quietTopic)
	}
	accept := http.Header{"Accept": {eventStream}}
	steady := async(func() watched { return x.watch(ctx, events, accept) })
	compressed := async(func() watched {
		return x.watch(ctx, events, with(accept, "Accept-Encoding", "gzip, deflate, br, zstd"))
	})
	silent := async(func() watched { return x.watch(ctx, quiet, accept) })
	resumed := async(func() Finding { return x.resume(ctx) })
	allowed := async(func() []Finding { return x.cors(ctx) })

	findings := <-allowed
	first := <-resumed
	with, raw, still := <-steady, <-compressed, <-silent
	if ctx.Err() != nil {
		return
	}
	for _, f := range findings {
		x.add(f.Check, f.Result, f.Seen, f.Advice...)
	}
	if first.Check == "" {
		first = x.resumeElsewhere(ctx, with)
	}
	x.add(first.Check, first.Result, first.Seen, first.Advice...)
	x.firstByte(with)
	x.delivery(with)
	x.compression(with, raw)
	x.heartbeats(still)
	x.timeouts(with, still)
}

// async runs the function and sends its result.
func async[T any](f func() T) <-chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return result
}

func (x *examination) add(check string, result Result, seen string, advice ...Advice) {
	f := Finding{check, result, seen, slices.Clone(advice)}
	if result == Fail {
		x.report.OK = false
	}
	x.report.Findings = append(x.report.Findings, f)
	if x.cfg.Report != nil {
		x.cfg.Report(f)
	}
}

// topic is the URL of a topic of a Freshet server, with the ticket if there is one.
func (x *examination) topic(name string) *url.URL {
	u := *x.url
	prefix, _, _ := cutLast(u.Path, "/event")
	u.Path, u.RawPath = prefix+"/event", ""
	query := url.Values{"topic": {name}}
	if ticket := x.url.Query().Get("ticket"); ticket != "" {
		query.Set("ticket", ticket)
	}
	u.RawQuery = query.Encode()
	return &u
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// redacted is the URL without the values of its query, because tickets and tokens of other servers are there.
func redacted(u *url.URL) string {
	copied := *u
	query := copied.Query()
	for name := range query {
		if name != "topic" && name != "since" {
			query.Set(name, "…")
		}
	}
	copied.RawQuery = strings.ReplaceAll(query.Encode(), url.QueryEscape("…"), "…")
	return copied.String()
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}
