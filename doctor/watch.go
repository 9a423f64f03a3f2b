package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"freshet/event"
)

const (
	// quietTopic has no events: of its stream only the opening and heartbeats arrive.
	quietTopic = "freshet-doctor"
	// maxFrame and maxKept bound the memory for streams of unknown servers.
	maxFrame = 1 << 20
	maxKept  = 10_000
	// holds is a wait that readers notice.
	holds = 500 * time.Millisecond
	// heartbeatTime is longer than Freshet's default.
	heartbeatTime = 16 * time.Second
)

// frame is an event or cursor, and when it arrived.
type frame struct {
	event.Frame
	at time.Duration
}

// watched is what arrived of a stream. Times are since the request was sent.
type watched struct {
	open    bool // status 200
	status  int
	header  http.Header
	head    time.Duration   // the headers
	reads   []time.Duration // pieces of the body
	frames  []frame
	ended   time.Duration // 0: it was open until the time was over
	endless bool          // it broke, without the end that HTTP has
	failed  error         // there was no response
}

// watch reads the stream for Config.For. Without a URL there is nothing to watch.
func (x *examination) watch(ctx context.Context, u *url.URL, header http.Header) (w watched) {
	if u == nil {
		return w
	}
	ctx, cancel := context.WithTimeout(ctx, x.cfg.For)
	defer cancel()
	begun := time.Now()
	r, err := x.request(ctx, http.MethodGet, u, header)
	if err != nil {
		w.failed = err
		return w
	}
	response, err := x.http.Do(r)
	w.head = time.Since(begun)
	if err != nil {
		w.failed = err
		return w
	}
	defer func() { _ = response.Body.Close() }() // nothing can be done about it
	w.header, w.status, w.open = response.Header, response.StatusCode, response.StatusCode == http.StatusOK
	if !w.open {
		return w
	}
	body := timed{response.Body, begun, &w.reads}
	if w.header.Get("Content-Encoding") != "" {
		_, err = io.Copy(io.Discard, body)
	} else {
		frames := event.NewScanner(body, maxFrame)
		frames.SkipLongFrames(64 * maxFrame)
		for frames.Scan() {
			if len(w.frames) < maxKept {
				f := frame{frames.Frame(), time.Since(begun)}
				if f.Data = strings.Clone(f.Data[:min(len(f.Data), 256)]); len(w.reads) > 0 {
					f.at = w.reads[len(w.reads)-1]
				}
				w.frames = append(w.frames, f)
			}
		}
		err = frames.Err()
	}
	if ctx.Err() == nil {
		w.ended, w.endless = time.Since(begun), err != nil && !errors.Is(err, io.EOF)
	}
	return w
}

// timed notes when pieces arrive.
type timed struct {
	io.Reader
	begun time.Time
	reads *[]time.Duration
}

func (t timed) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if n > 0 && len(*t.reads) < maxKept {
		*t.reads = append(*t.reads, time.Since(t.begun))
	}
	return n, err
}

// last is the last frame with data.
func (w watched) last() (last event.Frame) {
	for _, f := range w.frames {
		if f.HasData {
			last = f.Frame
		}
	}
	return last
}

// silence is the longest time without a byte, up to the end.
func (w watched) silence(end time.Duration) (longest time.Duration) {
	before := w.head
	for _, at := range append(w.reads, end) {
		longest = max(longest, at-before)
		before = at
	}
	return longest
}

func (x *examination) firstByte(w watched) {
	switch {
	case !w.open:
	case len(w.reads) == 0 && x.report.Freshet:
		x.add("first-byte", Fail, fmt.Sprintf("the headers arrived after %s, but no byte of the stream in %s: something on the way holds it back", short(w.head), short(x.cfg.For)), x.advise(buffering)...)
	case len(w.reads) == 0:
		x.add("first-byte", Warn, fmt.Sprintf("the headers arrived after %s, but no byte in %s: the stream is quiet, or held back; publish meanwhile, or use a longer --for", short(w.head), short(x.cfg.For)), x.advise(buffering)...)
	case w.head > 2*time.Second:
		x.add("first-byte", Warn, fmt.Sprintf("the headers took %s: the server or a proxy is slow, or wakes up first", short(w.head)))
	case x.report.Freshet && w.reads[0]-w.head > 2*time.Second:
		x.add("first-byte", Fail, fmt.Sprintf("the headers arrived after %s, but the first byte after %s: something on the way holds it back", short(w.head), short(w.reads[0])), x.advise(buffering)...)
	default:
		x.add("first-byte", OK, fmt.Sprintf("headers after %s, the first byte after %s", short(w.head), short(w.reads[0])))
	}
}

// delivery checks the rhythm of the counter.
func (x *examination) delivery(w watched) {
	if !w.open {
		x.add("delivery", Skip, "the stream of the counter did not open: "+w.why())
		return
	}
	var at []time.Duration
	for _, f := range w.frames {
		switch {
		case f.Type == "busy" && x.report.Freshet:
			x.add("delivery", Fail, "the server opens no stream now, because it is full or stops: "+f.Data)
			return
		case f.HasData:
			at = append(at, f.at)
		}
	}
	if !x.report.Freshet {
		x.add("delivery", Skip, fmt.Sprintf("%s in %s; only Freshet's topic counter has a rhythm that shows whether they were held back", number(len(at), "event"), short(x.cfg.For)))
		return
	}
	if len(at) == 0 && len(w.reads) == 0 {
		return // first-byte has said it
	}
	if len(at) < 3 && w.ended > 0 {
		x.add("delivery", Skip, fmt.Sprintf("the stream ended after %s, with %s", short(w.ended), number(len(at), "event")))
		return
	}
	if len(at) < 3 {
		x.add("delivery", Fail, fmt.Sprintf("only %s of the counter in %s: something on the way holds them back, unless the server's --counter-interval is not 1s", number(len(at), "event"), short(x.cfg.For)), x.advise(buffering)...)
		return
	}
	if bursts, apart := burstsOf(at); apart >= holds && len(at)-bursts >= max(3, len(at)/3) {
		x.add("delivery", Fail, fmt.Sprintf("%s of the counter arrived in %s, up to %s apart: something on the way holds them back", number(len(at), "event"), number(bursts, "burst"), short(apart)), x.advise(buffering)...)
		return
	}
	x.add("delivery", OK, fmt.Sprintf("%s of the counter arrived one by one", number(len(at), "event")))
}

// burstsOf counts the groups of events that arrived together, and the longest time between two groups. The counter's n-th event is due
// after n intervals and never arrives before, so the one that was held the shortest tells the interval.
func burstsOf(at []time.Duration) (bursts int, apart time.Duration) {
	interval := at[0]
	for i, t := range at {
		interval = min(interval, t/time.Duration(i+1))
	}
	bursts, apart = 1, at[0]
	for i, t := range at[1:] {
		if gap := t - at[i]; gap > interval/4 {
			bursts++
			apart = max(apart, gap)
		}
	}
	return bursts, apart
}

// why says why there is no stream.
func (w watched) why() string {
	if w.failed != nil {
		return reason(w.failed)
	}
	return fmt.Sprintf("status %d", w.status)
}

// compression compares the stream that a browser asks for with the plain one.
func (x *examination) compression(plain, w watched) {
	encoding := w.header.Get("Content-Encoding")
	switch {
	case !w.open && w.failed != nil && plain.open:
		x.add("compression", Fail, fmt.Sprintf("with a browser's Accept-Encoding, nothing arrived in %s: compression holds the stream back", short(x.cfg.For)), x.advise(compressing)...)
	case !w.open:
		x.add("compression", Skip, "the stream with a browser's Accept-Encoding did not open: "+w.why())
	case encoding == "":
		x.add("compression", OK, "the stream is not compressed")
	case len(plain.reads) > 0 && len(w.reads) == 0 || w.silence(x.end(w)) > 2*plain.silence(x.end(plain))+2*holds:
		x.add("compression", Fail, fmt.Sprintf("compressed with %s, the stream is silent for up to %s, and plain for up to %s: compression holds events back", encoding, short(w.silence(x.end(w))), short(plain.silence(x.end(plain)))), x.advise(compressing)...)
	default:
		x.add("compression", Warn, "the stream is compressed with "+encoding+": events arrive at once now, but compression gains little, and may hold them back", x.advise(compressing)...)
	}
}

// end is when the watching ended.
func (x *examination) end(w watched) time.Duration {
	if w.ended > 0 {
		return w.ended
	}
	return x.cfg.For
}

// heartbeats checks the quiet stream.
func (x *examination) heartbeats(w watched) {
	if !x.report.Freshet {
		return
	}
	if !w.open {
		x.add("heartbeats", Skip, "the stream of the topic "+quietTopic+", which has no events, did not open: "+w.why())
		return
	}
	var at time.Duration
	n := 0
	for _, f := range w.frames {
		if !f.HasData && f.HasID && !f.HasRetry {
			n++
			at = f.at
		}
	}
	switch {
	case n > 0:
		x.add("heartbeats", OK, fmt.Sprintf("%s on a quiet stream, the last after %s", number(n, "heartbeat"), short(at)))
	case w.ended > 0:
		x.add("heartbeats", Skip, fmt.Sprintf("the quiet stream ended after %s, before a heartbeat", short(w.ended)))
	case x.cfg.For < heartbeatTime:
		x.add("heartbeats", Skip, fmt.Sprintf("none in %s, and the default is one in 15 s; use --for 20s or more", short(x.cfg.For)))
	default:
		x.add("heartbeats", Warn, fmt.Sprintf("none in %s on a quiet stream: proxies close silent streams, most after 60 s; check --heartbeat of the server", short(x.cfg.For)))
	}
}

// timeouts says whether and after how long streams ended. A stream with events that ends has met a limit of its duration; a quiet one
// alone, a limit of silence.
func (x *examination) timeouts(steady, quiet watched) {
	for _, w := range []watched{steady, quiet} {
		if t := w.last().Type; w.ended > 0 && x.report.Freshet && (t == "drain" || t == "auth-expired" || t == "end" || t == "busy") {
			x.add("time-out", Warn, fmt.Sprintf("the server ended the stream after %s, with the event %s; examine it again", short(w.ended), t))
			return
		}
	}
	how := map[bool]string{true: "was cut off", false: "ended"}
	switch {
	case !steady.open && !quiet.open:
		x.add("time-out", Skip, "no stream opened")
	case steady.ended > 0 && x.report.Freshet:
		x.add("time-out", Fail, fmt.Sprintf("a stream with an event each second %s after %s%s", how[steady.endless], short(steady.ended), usual(steady.ended)), x.advise(duration, usualAt(steady.ended)...)...)
	case steady.ended > 0:
		x.add("time-out", Warn, fmt.Sprintf("the stream %s after %s%s: by the server, or by a limit on the way", how[steady.endless], short(steady.ended), usual(steady.ended)), x.advise(idle, usualAt(steady.ended)...)...)
	case quiet.ended > 0:
		x.add("time-out", Fail, fmt.Sprintf("a quiet stream %s after %s%s; heartbeats have to be more frequent than that (--heartbeat of the server), or the time-out longer", how[quiet.endless], short(quiet.ended), usual(quiet.ended)), x.advise(idle, usualAt(quiet.ended)...)...)
	default:
		x.add("time-out", OK, fmt.Sprintf("streams stayed open for %s; --for 130s also finds the longer default time-outs of proxies", short(x.cfg.For)))
	}
}
