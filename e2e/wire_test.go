package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"freshet/app/apptest"
)

// wire writes requests and the responses of a real server to a golden file. Names in capital letters stand for parts that differ in each run.
type wire struct {
	*apptest.Server
	t     *testing.T
	ctx   context.Context
	dir   string
	flags []string
	epoch string // with the dash
	text  strings.Builder
	hide  []string // texts and the names that stand for them, in turn
}

// wireHeaders are the response headers that docs/stability.md promises.
var wireHeaders = []string{
	"Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Allow", "Cache-Control",
	"Content-Type", "Freshet-Stream", "Location", "Retry-After", "WWW-Authenticate", "X-Accel-Buffering", "X-Request-Id",
}

// newWire starts a server whose streams send nothing by themselves, except for the counter, unless the flags say otherwise.
func newWire(t *testing.T, flags ...string) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	w := &wire{t: t, ctx: ctx, dir: t.TempDir()}
	w.flags = append([]string{"--node", "node-1", "--heartbeat", "0", "--counter-interval", "10ms", "--max-body", "300B", "--publish-token", "the-publish-token-of-the-wire"}, flags...)
	w.start(apptest.FreeAddress(t))
	var empty struct{ Cursor string }
	must(t, json.Unmarshal([]byte(w.body(w.send("GET", "/history", "", "Authorization", "Bearer "+w.Token))), &empty))
	w.epoch = strings.TrimSuffix(empty.Cursor, "0")
	w.hide = []string{w.Token, "TOKEN", w.epoch, "EPOCH-"}
	return w
}

func (w *wire) start(address string) {
	w.t.Helper()
	w.Server = apptest.Start(w.t, w.dir, address, w.flags...)
	w.Token = "the-publish-token-of-the-wire"
	w.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // the server closes the connection of a stream that it ends
}

// restart makes the server forget the events that it has in memory.
func (w *wire) restart() {
	w.t.Helper()
	w.Stop()
	w.start(w.Addr)
}

// publish stores an event without writing it to the file.
func (w *wire) publish(topic, data string) {
	w.t.Helper()
	_, err := w.Publish(w.ctx, topic, "", data, "")
	must(w.t, err)
}

// section begins a part of the file.
func (w *wire) section(title string) { w.text.WriteString("=== " + title + "\n\n") }

// rewind replaces everything that was written.
func (w *wire) rewind(text string) {
	w.text.Reset()
	w.text.WriteString(text)
}

// send sends a request. Headers are names and values in turn.
func (w *wire) send(method, path, body string, headers ...string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, method, w.URL+path, strings.NewReader(body))
	must(w.t, err)
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	response, err := w.HTTP.Transport.RoundTrip(r) // follows no redirects
	must(w.t, err)
	return response
}

func (w *wire) body(response *http.Response) string {
	w.t.Helper()
	defer func() { _ = response.Body.Close() }() // read to its end
	body, err := io.ReadAll(response.Body)
	must(w.t, err)
	return string(body)
}

// ask writes a request and the whole response to the file. It returns the response's body.
func (w *wire) ask(request, body string, headers ...string) string {
	w.t.Helper()
	response := w.begin(request, body, headers...)
	text := w.body(response)
	w.text.WriteString(text)
	w.blank()
	return text
}

// begin writes a request, and the status and the headers of its response.
func (w *wire) begin(request, body string, headers ...string) *http.Response {
	w.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	response := w.send(method, path, body, headers...)
	w.text.WriteString(request + "\n")
	for i := 0; i < len(headers); i += 2 {
		w.text.WriteString(headers[i] + ": " + headers[i+1] + "\n")
	}
	if body != "" {
		w.text.WriteString("\n" + strings.TrimSuffix(body, "\n") + "\n")
	}
	w.text.WriteString("\n" + response.Status + "\n")
	for _, name := range wireHeaders {
		value := strings.Join(response.Header.Values(name), ", ")
		if made := name == "X-Request-Id" && response.Request.Header.Get(name) == ""; value != "" && !made {
			w.text.WriteString(name + ": " + value + "\n")
		}
	}
	w.text.WriteString("\n")
	return response
}

// wireStream is a response that the file gets piece by piece.
type wireStream struct {
	w    *wire
	id   string
	body *bufio.Reader
	end  func() error
}

func (w *wire) open(request string, headers ...string) *wireStream {
	w.t.Helper()
	response := w.begin(request, "", headers...)
	w.t.Cleanup(func() { _ = response.Body.Close() })
	return &wireStream{w, response.Header.Get("Freshet-Stream"), bufio.NewReader(response.Body), response.Body.Close}
}

// read writes the next n pieces to the file. A piece ends with the line end, or, if that is empty, with any line.
func (s *wireStream) read(n int, end string) {
	s.w.t.Helper()
	for n > 0 {
		line, err := s.body.ReadString('\n')
		if err != nil {
			s.w.t.Fatalf("the stream ends with %v after:\n%s%s", err, &s.w.text, line)
		}
		s.w.text.WriteString(line)
		if line == end || end == "" {
			n--
		}
	}
}

// rest writes what comes until the server ends the stream.
func (s *wireStream) rest() {
	s.w.t.Helper()
	text, err := io.ReadAll(s.body)
	must(s.w.t, err)
	s.w.text.Write(text)
	s.w.blank()
	s.w.section("The server ends the stream")
}

func (s *wireStream) close() {
	s.w.t.Helper()
	s.w.blank()
	must(s.w.t, s.end())
}

// blank ends the text with an empty line.
func (w *wire) blank() {
	if !strings.HasSuffix(w.text.String(), "\n\n") {
		w.text.WriteString("\n")
	}
}

// varying has the parts that differ in each run, and what stands for them.
var varying = []struct {
	text *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`(?m)^retry: \d+$`), "retry: MILLISECONDS"},
	{regexp.MustCompile(`(\\?"retry(?:_ms)?\\?":)\d+`), "${1}MILLISECONDS"},
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`), `"TIME"`},
	{regexp.MustCompile(`("message":")(?:[^"\\]|\\.)*"`), `${1}TEXT"`}, // docs/http-api.md: the message is for people
	{regexp.MustCompile(`(?m)^(Freshet-Stream: ).*$`), "${1}STREAM"},
	{regexp.MustCompile(`(?m)^Retry-After: [1-9]\d*$`), "Retry-After: SECONDS"},
	{regexp.MustCompile(`(error_description=")[^"]*`), "${1}TEXT"},
}

// golden compares what was written with the file.
func (w *wire) golden(name string) {
	w.t.Helper()
	text := strings.NewReplacer(w.hide...).Replace(w.text.String())
	for _, v := range varying {
		text = v.text.ReplaceAllString(text, v.name)
	}
	golden(w.t, "wire/"+name+".golden", text)
}
