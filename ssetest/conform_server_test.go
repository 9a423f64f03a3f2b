package ssetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// newlines makes the one line end of lines that browsers see.
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// board is an endpoint that conforms, but for one defect.
type board struct {
	defect string

	mu      sync.Mutex
	changed chan struct{} // closed at the next event
	events  []string      // the data; their number is the ID
	readers int
}

func newBoard(defect string) *board { return &board{defect: defect, changed: make(chan struct{})} }

func (b *board) has(defect string) bool { return b.defect == defect }

func (b *board) publish(_ context.Context, data string) error {
	if data == "" && b.has("empty refused") {
		return errors.New("no data")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, data)
	if n := len(b.events); b.has("order") && strings.HasSuffix(data, " 7") {
		b.events[n-1], b.events[n-2] = b.events[n-2], b.events[n-1]
	}
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *board) open(context.Context) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readers, nil
}

func (b *board) join(by int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers += by
}

// after returns the events after the cursor, and what tells that there are more.
func (b *board) after(cursor int) ([]string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events[min(cursor, len(b.events)):]), b.changed
}

func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	switch {
	case b.has("status"):
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.Method == http.MethodOptions && !b.has("no preflight"):
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Headers", "Authorization, Last-Event-ID")
		return
	case r.URL.Path == "/busy":
		b.refuse(w)
		return
	}
	h.Set("Content-Type", "text/event-stream")
	h.Set("Access-Control-Allow-Origin", "https://page.example")
	h.Set("Access-Control-Allow-Credentials", "true")
	switch b.defect {
	case "type":
		h.Set("Content-Type", "text/plain")
	case "charset":
		h.Set("Content-Type", "text/event-stream; charset=latin1")
	case "length":
		h.Set("Content-Length", "1000000")
	case "no cors":
		h.Del("Access-Control-Allow-Origin")
	case "two origins":
		h.Add("Access-Control-Allow-Origin", "https://page.example")
	case "any origin":
		h.Set("Access-Control-Allow-Origin", "*")
	case "no credentials":
		h.Del("Access-Control-Allow-Credentials")
	case "other origin":
		h.Set("Access-Control-Allow-Origin", "https://other.example")
	case "late headers":
		<-r.Context().Done()
		return
	}
	all, _ := b.after(0)
	cursor := len(all)
	if id := r.Header.Get("Last-Event-ID"); id != "" && !b.has("does not resume") {
		n, err := strconv.Atoi(id)
		if err != nil && b.has("unknown id") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err == nil {
			cursor = n + map[string]int{"repeats": -1, "hole": 1}[b.defect]
		}
		if n == len(all) && b.has("repeats all") {
			cursor = 0
		}
	}
	b.join(1)
	if b.has("forgets") {
		defer b.join(0)
	} else {
		defer b.join(-1)
	}
	b.stream(w, r, cursor)
}

// stream writes the events after the cursor until the reader has gone.
func (b *board) stream(w http.ResponseWriter, r *http.Request, cursor int) {
	if !b.has("no retry") {
		_, _ = fmt.Fprint(w, "retry: 1000\n\n")
	}
	w.(http.Flusher).Flush()
	beat := time.NewTicker(20 * time.Millisecond)
	defer beat.Stop()
	missed := make(chan struct{})
	close(missed)
	for changed := (<-chan struct{})(missed); ; {
		select {
		case <-changed:
			var events []string
			for events, changed = b.after(cursor); len(events) > 0; events = events[1:] {
				cursor++
				_, _ = fmt.Fprint(w, b.frame(events[0], cursor))
			}
		case <-beat.C:
			if !b.has("silent") {
				_, _ = fmt.Fprint(w, ":\n\n")
			}
		case <-r.Context().Done():
			return
		}
		w.(http.Flusher).Flush()
	}
}

func (b *board) frame(data string, n int) string {
	id, space, typ := strconv.Itoa(n), " ", "news"
	switch b.defect {
	case "raw":
		return fmt.Sprintf("event: news\ndata: %s\nid: %s\n\n", data, id)
	case "raw CR":
		return fmt.Sprintf("event: news\ndata: %s\nid: %s\n\n", strings.ReplaceAll(data, "\n", "\ndata: "), id)
	case "escaped CR":
		data = strings.ReplaceAll(data, "\r", `\r`)
	case "no space":
		space = ""
	case "latin1":
		data = strings.ReplaceAll(data, "ö", "\xf6")
	case "no type":
		typ = "message"
	case "short":
		data = data[:min(len(data), 1000)]
	case "one id":
		id = "1"
	case "no id":
		return fmt.Sprintf("event: news\ndata: %s\n\n", data)
	case "no empty data":
		if data == "" {
			return "event: news\n\n"
		}
	}
	lines := strings.ReplaceAll(newlines.Replace(data), "\n", "\ndata:"+space)
	return fmt.Sprintf("event: %s\ndata:%s%s\nid: %s\n\n", typ, space, lines, id)
}

func (b *board) refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	switch b.defect {
	case "busy 503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "busy without retry":
		_, _ = fmt.Fprint(w, ":\n\n")
	default:
		_, _ = fmt.Fprint(w, "retry: 10000\n\n")
	}
}
