package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/eventlog"
	"freshet/relay"
)

// source is a server whose stream has frames, one after the other. A client that resumes gets those after its ID.
type source struct {
	mu      sync.Mutex
	frames  []frame
	more    chan struct{} // closed and replaced when there are more
	closeAt int           // the stream ends after so many frames; 0: never
	ids     bool          // false: it ignores Last-Event-ID and begins with what comes next
	asked   []string      // the Last-Event-ID of each request
	open    atomic.Int32
	token   string // required in Authorization
}

type frame struct{ id, text string }

func newSource() *source { return &source{more: make(chan struct{}), ids: true} }

// add makes the source send an event; an empty id has none.
func (s *source) add(id, typ, data string) {
	text := "event: " + typ + "\ndata: " + data + "\n\n"
	if id != "" {
		text = "id: " + id + "\n" + text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, frame{id, text})
	close(s.more)
	s.more = make(chan struct{})
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	last := r.Header.Get("Last-Event-ID")
	s.mu.Lock()
	s.asked = append(s.asked, last)
	next := len(s.frames)
	if s.ids {
		next = 1 + slices.IndexFunc(s.frames, func(f frame) bool { return last != "" && f.id == last })
	}
	s.mu.Unlock()
	s.open.Add(1)
	defer s.open.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprint(w, "retry: 10\n\n")
	for sent := 0; ; {
		s.mu.Lock()
		frames, more := s.frames[min(next, len(s.frames)):], s.more
		s.mu.Unlock()
		for _, f := range frames {
			_, _ = fmt.Fprint(w, f.text) // the client may be gone
			next++
			if sent++; sent == s.closeAt {
				return
			}
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *source) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// node is a process that relays.
type node struct {
	log    *eventlog.Log
	store  *eventlog.Store
	relays *relay.Relays
	logged apptest.Buffer
	stop   func()
}

// openLog opens the log until the test ends.
func openLog(t *testing.T, dir string) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// start runs relays on the log until stop is called, or the test ends.
func start(t *testing.T, l *eventlog.Log, name string, sources ...relay.Source) *node {
	t.Helper()
	store, err := l.Store(t.Context())
	must(t, err)
	n := &node{log: l, store: store}
	n.relays, err = relay.New(relay.Config{
		Log: l, Leases: store, Sources: sources, Node: name, MaxEvent: 10_000, Logger: slog.New(slog.NewTextHandler(&n.logged, nil)),
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.relays.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		must(t, <-ended)
	})
	t.Cleanup(n.stop)
	return n
}

// events are the type and data of all events of the log, as "edit a".
func (n *node) events(t *testing.T) (events []string) {
	t.Helper()
	_, err := n.log.Read(t.Context(), 0, event.Patterns{event.All}, 1<<20, func(e event.Event) error {
		events = append(events, e.Type().String()+" "+e.Data())
		return nil
	})
	must(t, err)
	return events
}

func (n *node) wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if err := apptest.Until(t.Context(), holds); err != nil {
		t.Fatalf("waited until %s: %v; states %+v, events %q\n%s", what, err, n.relays.States(), n.events(t), n.logged.String())
	}
}

func (n *node) waitEvents(t *testing.T, want ...string) {
	t.Helper()
	n.wait(t, "the events are stored", func() bool { return len(n.events(t)) >= len(want) })
	if have := n.events(t); !slices.Equal(have, want) {
		t.Fatalf("stored %.300q, want %.300q", have, want)
	}
}

func topic(t *testing.T, name string) event.Topic {
	t.Helper()
	parsed, err := event.ParseTopic(name)
	must(t, err)
	return parsed
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Streams as the real world has them.
func TestARelayNeitherLosesNorRepeats(t *testing.T) {
	for name, ids := range map[string]func(i int) string{
		"numeric IDs": func(i int) string { return fmt.Sprint(i) },
		"JSON IDs": func(i int) string {
			return fmt.Sprintf(`[{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":17000000%02d},{"topic":"codfw","partition":0,"offset":-1}]`, i)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource()
			s.closeAt = 3 // as a source that ends its streams every 15 minutes
			server := httptest.NewServer(s)
			t.Cleanup(server.Close)
			var want []string
			add := func() {
				data := fmt.Sprint("data ", len(want))
				s.add(ids(len(want)), "edit", data)
				want = append(want, "edit "+data)
			}
			for range 4 {
				add()
			}
			dir := t.TempDir()
			from := relay.Source{Topic: topic(t, "wiki"), URL: server.URL + "/stream?all"}
			for range 3 { // the process starts again
				l := openLog(t, dir)
				n := start(t, l, "a", from)
				for range 10 {
					add()
				}
				n.waitEvents(t, want...)
				add() // may be stored or not when the process ends
				n.stop()
				must(t, l.Close())
				add()
			}
			n := start(t, openLog(t, dir), "b", from)
			n.waitEvents(t, want...)
			if state := n.relays.States()[0]; state.Topic != "wiki" || !strings.HasSuffix(state.Source, "/stream") || state.Skipped != 0 {
				t.Errorf("state %+v", state)
			}
		})
	}
}

// Without IDs a source cannot be resumed: each event is stored at most once.
func TestARelayWithoutIDs(t *testing.T) {
	t.Parallel()
	s := newSource()
	s.ids = false
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.add("", "edit", "before")
	n := start(t, openLog(t, t.TempDir()), "a", relay.Source{Topic: topic(t, "wiki"), URL: server.URL})
	n.wait(t, "the source is followed", func() bool { return s.open.Load() == 1 })
	s.add("", "edit", "a")
	s.add("", "message", "a")
	n.waitEvents(t, "edit a", "message a")
}

// Of two nodes one follows the source. When it ends, the other one goes on at once.
func TestOneNodeFollows(t *testing.T) {
	t.Parallel()
	s := newSource()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	l := openLog(t, t.TempDir())
	from := relay.Source{Topic: topic(t, "wiki"), URL: server.URL}
	a := start(t, l, "a", from)
	s.add("1", "edit", "a")
	a.waitEvents(t, "edit a")
	b := start(t, l, "b", from)
	b.wait(t, "the other node stands by", func() bool { return strings.HasPrefix(b.relays.States()[0].Reason, "another node") })
	if got := a.relays.States()[0]; got.State != relay.Live || got.Events != 1 || got.Last.IsZero() || b.relays.States()[0].State != relay.Standby {
		t.Errorf("states %+v and %+v", got, b.relays.States())
	}
	a.stop()
	s.add("2", "edit", "b")
	b.waitEvents(t, "edit a", "edit b")
	if asked := s.requests(); !slices.Equal(asked, []string{"", "1"}) {
		t.Errorf("the source was asked for %q", asked)
	}
}

func TestARelayWithAHeader(t *testing.T) {
	t.Parallel()
	s := newSource()
	s.token = "secret"
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.add("1", "edit", "a")
	l := openLog(t, t.TempDir())
	n := start(t, l, "a",
		relay.Source{Topic: topic(t, "with"), URL: server.URL, Header: http.Header{"Authorization": {"Bearer secret"}}},
		relay.Source{Topic: topic(t, "without"), URL: server.URL, Header: http.Header{"Authorization": {"Bearer other"}}},
	)
	n.waitEvents(t, "edit a")
	n.wait(t, "the other one stops", func() bool { return n.relays.States()[1].State == relay.Stopped })
	if reason := n.relays.States()[1].Reason; !strings.Contains(reason, "401") {
		t.Errorf("stopped because of %q", reason)
	}
	if lines := strings.Count(n.logged.String(), "the relay has stopped"); lines != 1 || strings.Contains(n.logged.String(), "secret") {
		t.Errorf("logged:\n%s", n.logged.String())
	}
}

func TestRelaysThatAreRefused(t *testing.T) {
	for want, sources := range map[string][]relay.Source{
		"a: want a URL": {{Topic: topic(t, "a"), URL: "example.com/stream"}},
		"server's own":  {{Topic: event.TopicStats, URL: "http://example.com"}},
		"two relays":    {{Topic: topic(t, "a"), URL: "http://a.example"}, {Topic: topic(t, "a"), URL: "http://b.example"}},
	} {
		if _, err := relay.New(relay.Config{Sources: sources, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// The zero configuration works.
func TestAConfigWithoutALogger(t *testing.T) {
	relays, err := relay.New(relay.Config{Sources: []relay.Source{{Topic: topic(t, "a"), URL: "http://a.example"}}})
	if err != nil || len(relays.States()) != 1 {
		t.Error(err)
	}
}
