package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/relay"
)

// What a source may send does no harm: the rest arrives.
func TestAHostileSource(t *testing.T) {
	t.Parallel()
	s := newSource()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.add("1", "edit", "a")
	s.add("2", "edit", string(bytes.Repeat([]byte("x"), 100_000))) // above MaxEvent
	s.add("3", "gap", "no JSON")
	s.add("4", strings.Repeat("t", 300), "a long type")
	s.add("5", "\x01", "a control character")
	s.add("6", "edit", "\xff\xfe")
	s.add("7", "drain", "b")
	want := []string{"edit a", "edit \ufffd"}
	for i := range 5000 {
		s.add(fmt.Sprint(100+i), "edit", fmt.Sprint(i))
		want = append(want, fmt.Sprint("edit ", i))
	}
	n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL})
	n.waitEvents(t, want...)
	if state := n.relays.States()[0]; state.Skipped != 4 || state.Events != int64(len(want)) {
		t.Errorf("state %+v", state)
	}
	if lines := strings.Count(n.logged.String(), "skips an event"); lines != 1 {
		t.Errorf("%d lines about skipped events:\n%s", lines, n.logged.String())
	}
}

// An event with an empty ID, as some servers send it, is an event without one.
func TestEmptyIDs(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "id:\ndata: a\n\nid:\ndata: b\n\nid: 1\ndata: c\n\nid:\ndata: d\n\nid:\ndata: e\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL})
	n.waitEvents(t, "message a", "message b", "message c", "message d", "message e")
}

// What a source says of itself is public in the stats, and is in the log of the server: it fills neither.
func TestASourceThatTalksTooMuch(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 50_000)
	gaps := newSource()
	for range 1000 {
		gaps.add("", "gap", `{"reason":"`+long[:1000]+`"}`)
	}
	gaps.add("1", "edit", "a")
	var sources []relay.Source
	for name, handler := range map[string]http.Handler{
		"gaps": gaps,
		"refusal": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprintf(w, `{"error":{"code":"no","message":"%s"}}`, long)
		}),
		"kind": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/"+long) }),
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		sources = append(sources, relay.Source{Topic: topic(t, name), URL: server.URL})
	}
	n := start(t, openLog(t, t.TempDir()), "a", sources...)
	n.wait(t, "the events are stored", func() bool { return slices.Contains(n.events(t), "edit a") })
	n.wait(t, "each source has an answer", func() bool {
		return !slices.ContainsFunc(n.relays.States(), func(s relay.State) bool { return s.Topic != "gaps" && s.Reason == "" })
	})
	for _, s := range n.relays.States() {
		if len(s.Reason) > 1000 {
			t.Errorf("the reason of %s has %d bytes", s.Topic, len(s.Reason))
		}
	}
	if logged := n.logged.String(); strings.Count(logged, "missing events") != 1 || len(logged) > 10_000 {
		t.Errorf("%d lines about gaps, and %d bytes", strings.Count(logged, "missing events"), len(logged))
	}
}

func TestAnIDThatIsTooLong(t *testing.T) {
	t.Parallel()
	s := newSource()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.add("1", "edit", "a")
	s.add(strings.Repeat("9", 5000), "edit", "b")
	n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL})
	n.wait(t, "the relay stops", func() bool { return n.relays.States()[0].State == relay.Stopped })
	n.waitEvents(t, "edit a")
}

// answers is a source whose n-th connection gets the n-th stream. The last one stays open.
type answers struct {
	streams []string
	next    atomic.Int32
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(a.next.Add(1))
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "retry: 10\n\n"+a.streams[min(n, len(a.streams))-1])
	_ = http.NewResponseController(w).Flush()
	if n >= len(a.streams) {
		<-r.Context().Done()
	}
}

// Only the first event of a connection can be a repeat of the last one. Other events with the same ID are different events.
func TestEventsWithOneID(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&answers{streams: []string{
		"id: 1\ndata: a\n\nid: 1\ndata: b\n\ndata: c\n\nid: 2\ndata: d\n\n",
		"id: 2\ndata: d\n\nid: 2\ndata: e\n\nid: 2\ndata: e\n\nid: 1\ndata: f\n\n", // it begins with the event that the relay has
		"data: g\n\nid: 1\ndata: h\n\n",
	}})
	t.Cleanup(server.Close)
	n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL})
	n.waitEvents(t, "message a", "message b", "message c", "message d", "message e", "message e", "message f", "message g", "message h")
}

// The readers of the topic are told of a gap of the source, once. The types gap and end are reserved for this server.
func TestAGapOfTheSource(t *testing.T) {
	t.Parallel()
	source := &answers{streams: []string{
		"event: gap\ndata: {\"reason\":\"expired\"}\nid: 5\n\n",
		"event: gap\ndata: {\"reason\":\"expired\"}\nid: 5\n\nid: 6\ndata: a\n\nevent: end\ndata: b\nid: 7\n\n",
	}}
	server := httptest.NewServer(source)
	t.Cleanup(server.Close)
	n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL})
	n.waitEvents(t, `source-gap {"reason":"expired"}`, "message a", "source-end b")
	n.stop()
	if !strings.Contains(n.logged.String(), "missing events") {
		t.Errorf("logged:\n%s", n.logged.String())
	}
}

// A source that accepts a connection and never answers, or answers and then sends nothing, is asked again.
func TestASilentSource(t *testing.T) {
	t.Parallel()
	var sources []relay.Source
	asked := map[string]*atomic.Int32{}
	for name, answer := range map[string]bool{"answers-nothing": false, "sends-nothing": true} {
		count := new(atomic.Int32)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			count.Add(1)
			if answer {
				w.Header().Set("Content-Type", "text/event-stream")
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		}))
		t.Cleanup(server.Close)
		asked[name] = count
		sources = append(sources, relay.Source{Topic: topic(t, name), URL: server.URL, Silence: 50 * time.Millisecond})
	}
	n := start(t, openLog(t, t.TempDir()), "a", sources...)
	for name, count := range asked {
		n.wait(t, name+" is asked again", func() bool { return count.Load() > 1 })
	}
	if logged := n.logged.String(); strings.Count(logged, "silent") != 2 {
		t.Errorf("logged:\n%s", logged)
	}
}

// An event without an end is read up to a limit, whether it is one line or many.
func TestAnEndlessEvent(t *testing.T) {
	t.Parallel()
	for name, chunk := range map[string]string{
		"a line":  strings.Repeat("x", 1<<20),
		"lines":   strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 1000),
		"comment": ":" + strings.Repeat("x", 1<<20),
	} {
		ended := make(chan int, 10)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for sent := 0; ; sent++ {
				if _, err := io.WriteString(w, chunk); err != nil || sent == 1000 {
					ended <- sent
					return
				}
			}
		}))
		t.Cleanup(server.Close)
		n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL})
		if sent := <-ended; sent > 100 {
			t.Errorf("%s: the relay has read %d MB", name, sent)
		}
		n.wait(t, name, func() bool { return n.relays.States()[0].State == relay.Waiting })
		n.stop()
	}
}

// The host that a source redirects to gets no request, so no secret of a header.
func TestARedirectToAnotherHost(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL, Header: http.Header{"Authorization": {"secret"}}})
	n.wait(t, "the relay stops", func() bool { return n.relays.States()[0].State == relay.Stopped })
	if reason := n.relays.States()[0].Reason; asked.Load() > 0 || !strings.Contains(reason, "redirects to") {
		t.Errorf("%d requests, stopped because of %q", asked.Load(), reason)
	}
}
