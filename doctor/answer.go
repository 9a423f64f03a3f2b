package doctor

import (
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

// unknownParameter is a query that Freshet answers at once, with an error: so it is known, and so are the proxies, also if something
// holds streams back.
const unknownParameter = "freshet_doctor"

// answered is a response whose body was closed, or the error instead.
type answered struct {
	*http.Response
	err  error
	sent time.Time
	took time.Duration // until the headers
	body []byte        // of an error
}

// ask sends the request and closes the response.
func (x *examination) ask(ctx context.Context, method string, u *url.URL, header http.Header) answered {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	a := answered{sent: time.Now()}
	r, err := x.request(ctx, method, u, header)
	if err != nil {
		a.err = err
		return a
	}
	a.Response, a.err = x.http.Do(r) //nolint:bodyclose // closed below
	a.took = time.Since(a.sent)
	if a.err != nil {
		return a
	}
	if a.StatusCode >= http.StatusBadRequest {
		a.body, _ = io.ReadAll(io.LimitReader(a.Body, 64<<10)) // the status says enough
	}
	_ = a.Body.Close() // a stream has no end to read to
	return a
}

func (x *examination) request(ctx context.Context, method string, u *url.URL, header http.Header) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header = header.Clone()
	if x.cfg.Token != "" && method == http.MethodGet { // a preflight has no credentials
		r.Header.Set("Authorization", "Bearer "+x.cfg.Token)
	}
	return r, nil
}

// answer checks the response's head. It returns the target of a redirect, or whether there is a stream to watch.
func (x *examination) answer(ctx context.Context) (target *url.URL, good bool) {
	misspelt := *x.url
	query := misspelt.Query()
	query.Set(unknownParameter, "1")
	misspelt.RawQuery = query.Encode()
	known := async(func() answered { return x.ask(ctx, http.MethodGet, &misspelt, http.Header{}) })
	stream := x.ask(ctx, http.MethodGet, x.url, http.Header{"Accept": {eventStream}})
	other := <-known
	if ctx.Err() != nil {
		return nil, false
	}
	x.report.Freshet = other.err == nil && other.StatusCode == http.StatusBadRequest && codeOf(other.body) == "unknown_parameter"
	for _, a := range []answered{other, stream} {
		if a.err == nil {
			x.identify(a.Header)
		}
	}
	if len(x.proxies) > 0 {
		x.add("proxy", OK, "names itself: "+strings.Join(x.proxies, ", "))
	}
	if stream.err != nil {
		x.silent(stream, other)
		return nil, false
	}
	if stream.StatusCode/100 == 3 && stream.Header.Get("Location") != "" {
		target, err := stream.Location()
		if err != nil || target.Scheme != "http" && target.Scheme != "https" {
			x.add("redirect", Fail, fmt.Sprintf("status %d leads to %q, which is no URL", stream.StatusCode, stream.Header.Get("Location")))
			return nil, false
		}
		x.add("redirect", Warn, fmt.Sprintf("status %d leads to %s; use that URL in pages, because browsers follow the redirect at each reconnect", stream.StatusCode, redacted(target)))
		return target, false
	}
	x.version(stream)
	if !x.status(stream) {
		return nil, false
	}
	good = x.headers(stream)
	x.clock(stream)
	return nil, good
}

// codeOf is the code of an error of Freshet; empty if the body is not one.
func codeOf(body []byte) string {
	return errorOf(body).Code
}

type errorBody struct{ Code, Message string }

func errorOf(body []byte) errorBody {
	var answer struct{ Error errorBody }
	_ = json.Unmarshal(body, &answer) // a proxy answers with HTML
	return answer.Error
}

// silent says why there was no response at all.
func (x *examination) silent(stream, other answered) {
	switch {
	case !errors.Is(stream.err, context.DeadlineExceeded):
		x.add("status", Fail, "the request fails: "+reason(stream.err))
	case x.report.Freshet:
		x.add("first-byte", Fail, fmt.Sprintf("the server answers other requests, but of the stream nothing arrived in %s: something on the way holds it back until it ends", short(answerTime)), x.advise(buffering)...)
	case other.err == nil:
		x.add("first-byte", Fail, fmt.Sprintf("no headers arrived in %s, but another request was answered: something holds the stream back, or the server sends no headers before the first event", short(answerTime)), x.advise(buffering)...)
	default:
		x.add("first-byte", Fail, fmt.Sprintf("no headers arrived in %s: something holds the stream back, the server sends no headers before the first event, or it hangs", short(answerTime)), x.advise(buffering)...)
	}
}

func (x *examination) version(a answered) {
	const six = ": a browser opens only six connections to a server, for all its tabs together, and each stream needs one"
	switch {
	case a.ProtoMajor >= 2:
		x.add("http", OK, "HTTP/2: a browser's tabs share one connection")
	case x.url.Scheme == "http":
		x.add("http", Warn, a.Proto+six+"; browsers speak HTTP/2 only over TLS")
	default:
		x.add("http", Warn, a.Proto+six, x.advise(http2)...)
	}
}

func (x *examination) status(a answered) bool {
	said := ""
	if message := errorOf(a.body).Message; message != "" {
		said = ": " + message
	}
	const stops = "a browser's EventSource stops for good; "
	seen := fmt.Sprintf("status %d", a.StatusCode)
	switch a.StatusCode {
	case http.StatusOK:
		x.add("status", OK, seen)
		return true
	case http.StatusNoContent:
		x.add("status", Fail, seen+": the topics have ended, or nothing is there; "+stops+"examine another topic")
	case http.StatusUnauthorized, http.StatusForbidden:
		hint := "use --token, --token-file or FRESHET_TOKEN, or a URL with a ticket"
		if x.cfg.Token != "" {
			hint = "check the token"
		}
		x.add("status", Fail, seen+said+"; "+stops+hint)
	case http.StatusNotFound:
		x.add("status", Fail, seen+said+"; "+stops+"name the stream's whole URL, such as https://events.example.org/event")
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		x.add("status", Fail, seen+said+"; "+stops+"check that the server runs and is not full, and let the proxy answer with the event busy, as the files in deploy/ do")
	default:
		x.add("status", Fail, seen+said+"; "+stops+"examine the URL that pages use")
	}
	return false
}

// headers checks what a browser, a proxy or a cache could misread.
func (x *examination) headers(a answered) bool {
	h, good := a.Header, true
	if err := CheckType(h); err != nil {
		x.add("headers", Fail, err.Error()+"; check that the URL is the stream's, and that no proxy answers for it")
		return false
	}
	if hit := cacheHit(h); hit != "" {
		good = false
		x.add("headers", Fail, "the response is from a cache ("+hit+")", x.advise(cached)...)
	}
	if err := CheckLength(a.Response); err != nil {
		good = false
		x.add("headers", Fail, err.Error(), x.advise(buffering)...)
	}
	cache := h.Get("Cache-Control")
	if !strings.Contains(cache, "no-store") && !strings.Contains(cache, "no-cache") {
		good = false
		x.add("headers", Warn, fmt.Sprintf("Cache-Control is %q: a cache may keep the stream; let the server send no-cache, no-store, no-transform", cache))
	}
	if good {
		seen := "Content-Type and Cache-Control suit a stream"
		if buffer := h.Get("X-Accel-Buffering"); buffer != "" {
			seen += ", X-Accel-Buffering is " + buffer
		}
		x.add("headers", OK, seen)
	}
	return true
}

// cacheHit is the header that says that a cache has answered.
func cacheHit(h http.Header) string {
	for _, name := range []string{"CF-Cache-Status", "X-Cache", "X-Cache-Status", "X-Proxy-Cache"} {
		if strings.Contains(strings.ToUpper(h.Get(name)), "HIT") {
			return name + ": " + h.Get(name)
		}
	}
	if age, err := strconv.Atoi(h.Get("Age")); err == nil && age > 0 {
		return "Age: " + h.Get("Age")
	}
	return ""
}

// clock compares the clocks, because the times of JSON web tokens depend on them.
func (x *examination) clock(a answered) {
	date, err := http.ParseTime(a.Header.Get("Date"))
	if err != nil {
		x.add("clock", Skip, "the server sends no Date")
		return
	}
	// The server has rounded down to a second.
	ahead := date.Add(time.Second / 2).Sub(a.sent.Add(a.took / 2))
	const seconds = 5 * time.Second
	switch {
	case ahead > seconds:
		x.add("clock", Warn, fmt.Sprintf("the server's or proxy's clock is %s ahead of this machine's: tokens expire at wrong times; synchronise the clocks", short(ahead)))
	case ahead < -seconds:
		x.add("clock", Warn, fmt.Sprintf("the server's or proxy's clock is %s behind this machine's: tokens expire at wrong times; synchronise the clocks", short(-ahead)))
	default:
		x.add("clock", OK, "the clocks agree")
	}
}
