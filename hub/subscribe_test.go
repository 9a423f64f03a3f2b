package hub_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"

	"github.com/google/go-cmp/cmp"
)

func TestWhereASubscriberBegins(t *testing.T) {
	log := eventlogtest.NewMemory()
	for i := range 10 {
		log.Publish(t, []string{"a", "b"}[i%2], strconv.Itoa(i+1))
	}
	log.Expire(3)
	h := start(t, log, hub.Config{})
	gap := func(requested string, resumed int, reason string) string {
		return fmt.Sprintf(`{"requested":%q,"first":"10-3","resumed":"10-%d","reason":%q}`, requested, resumed, reason)
	}
	for name, c := range map[string]struct {
		request  hub.Request
		patterns string
		want     string
		cursor   string // before the first read
	}{
		"now":                 {hub.Request{}, ">", "", "10-10"},
		"id":                  {hub.Request{LastEventID: "10-8"}, ">", "9 10", "10-8"},
		"id of the last":      {hub.Request{LastEventID: "10-10"}, ">", "", "10-10"},
		"id beats since":      {hub.Request{LastEventID: "10-8", Since: event.Since{All: true}}, ">", "9 10", "10-8"},
		"since id":            {hub.Request{Since: event.Since{ID: event.NewID(eventlogtest.Epoch, 8)}}, "a", "9", "10-8"},
		"all":                 {hub.Request{Since: event.Since{All: true}}, "a", "3 5 7 9", "10-2"},
		"newest":              {hub.Request{Since: event.Since{Newest: 2}}, "b", "8 10", "10-7"},
		"last":                {hub.Request{Since: event.Since{Last: true}}, ">", "9 10", ""},
		"expired":             {hub.Request{LastEventID: "10-1"}, "a", gap("10-1", 2, "expired") + " 3 5 7 9", "10-1"},
		"just not expired":    {hub.Request{LastEventID: "10-2"}, "a", "3 5 7 9", "10-2"},
		"another epoch":       {hub.Request{LastEventID: "zz-5"}, "b", gap("zz-5", 2, "epoch") + " 4 6 8 10", "10-2"},
		"ahead of the log":    {hub.Request{LastEventID: "10-11"}, ">", gap("10-11", 10, "unknown"), "10-10"},
		"no ID at all":        {hub.Request{LastEventID: "<x>\n"}, ">", `{"requested":"\u003cx\u003e\n","first":"10-3","resumed":"10-10","reason":"unknown"}`, "10-10"},
		"nothing is selected": {hub.Request{LastEventID: "10-1"}, "", "", "10-10"},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.Wake = func() {}
			if c.patterns != "" {
				c.request.Patterns = eventlogtest.Patterns(t, c.patterns)
			}
			s, err := h.Subscribe(t.Context(), c.request)
			must(t, err)
			defer s.Close()
			if got := s.Cursor().String(); got != c.cursor {
				t.Errorf("cursor %s, want %s", got, c.cursor)
			}
			if diff := cmp.Diff(c.want, strings.Join(drain(t, s), " ")); diff != "" {
				t.Error(diff)
			}
			if got := s.Cursor().String(); got != "10-10" {
				t.Errorf("cursor %s at the end", got)
			}
		})
	}
}

// While the log is away, the window serves the newest events, if it has as many.
func TestTheNewestWhileTheLogIsAway(t *testing.T) {
	log := eventlogtest.NewMemory()
	for i := range 10 {
		log.Publish(t, []string{"a", "b"}[i%2], strconv.Itoa(i+1))
	}
	h := start(t, log, hub.Config{})
	away := errors.New("the log is away")
	log.Fail(away)
	for _, c := range []struct {
		newest   int
		patterns []string
		cursor   string // empty: the log's error
	}{
		{1, []string{">"}, "10-9"}, {2, []string{"b"}, "10-7"}, {2, []string{"a"}, "10-6"}, {3, []string{"a", "b"}, "10-7"}, {5, []string{"a"}, "10-0"},
		{6, []string{"a"}, ""}, {1, []string{"none"}, ""},
	} {
		s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, c.patterns...), Since: event.Since{Newest: c.newest}, Wake: func() {}})
		if c.cursor == "" {
			if !errors.Is(err, away) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		must(t, err)
		if got := s.Cursor().String(); got != c.cursor {
			t.Errorf("%+v: cursor %s", c, got)
		}
		s.Close()
	}
}
