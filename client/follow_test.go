package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/client"

	"github.com/google/go-cmp/cmp"
)

func redirect(to string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func TestFollow(t *testing.T) {
	for name, c := range map[string]struct {
		answers []func(http.ResponseWriter, *http.Request)
		source  client.Source
		events  []client.Event
		asked   []string
		err     string
	}{
		"resumes": {
			source:  client.Source{LastEventID: "[{\"offset\":1}]"},
			answers: []func(http.ResponseWriter, *http.Request){stream("retry: 10000\nid: 7\nevent: edit\ndata: a\n\n"), stream("data: b\n\n")},
			events:  []client.Event{{ID: "7", OwnID: true, Type: "edit", Data: "a"}, {ID: "7", Type: "message", Data: "b"}},
			asked:   []string{"0s last=[{\"offset\":1}]", "10s last=7", "20s last=7"},
		},
		"an empty ID is no event's": {
			answers: []func(http.ResponseWriter, *http.Request){stream("retry: 1000\nid: 7\ndata: a\n\nid:\ndata: b\n\nid\ndata: c\n\n")},
			events:  []client.Event{{ID: "7", OwnID: true, Type: "message", Data: "a"}, {ID: "7", Type: "message", Data: "b"}, {ID: "7", Type: "message", Data: "c"}},
			asked:   []string{"0s", "1s last=7"},
		},
		"skips what is too long": {
			source:  client.Source{MaxEvent: 50},
			answers: []func(http.ResponseWriter, *http.Request){stream("retry: 1000\n\nid: 1\ndata: " + strings.Repeat("x", 60) + "\n\nid: 2\ndata: b\n\n")},
			events:  []client.Event{{ID: "1", OwnID: true, Type: "message", TooLong: true}, {ID: "2", OwnID: true, Type: "message", Data: "b"}},
			asked:   []string{"0s", "1s last=2"},
		},
		"ends at a refusal": {
			answers: []func(http.ResponseWriter, *http.Request){stream("retry: 1000\n\n"), status(http.StatusUnauthorized)},
			asked:   []string{"0s", "1s"}, err: "freshet: 401 code: no",
		},
		"waits out an outage": {
			answers: []func(http.ResponseWriter, *http.Request){stream("retry: 1000\n\n"), status(http.StatusBadGateway), status(http.StatusServiceUnavailable, "40")},
			asked:   []string{"0s", "1s", "2s", "42s"},
		},
		"replaces a silent connection": {
			source:  client.Source{Silence: 20 * time.Second},
			answers: []func(http.ResponseWriter, *http.Request){hanging("retry: 10000\nid: 1\n\n")},
			asked:   []string{"0s", "30s last=1"},
		},
		"follows a redirect of the host": {
			answers: []func(http.ResponseWriter, *http.Request){redirect("/elsewhere"), stream("retry: 1000\ndata: a\n\n")},
			events:  []client.Event{{Type: "message", Data: "a"}},
			asked:   []string{"0s", "0s", "1s"},
		},
		"refuses a redirect to another host": {
			answers: []func(http.ResponseWriter, *http.Request){redirect("http://other.test/stream")},
			asked:   []string{"0s"}, err: "source.test: freshet: 421 the source redirects to other.test; follow that URL itself if you trust it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers, began: time.Now()}
				var closeAll func()
				c.source.URL = "http://source.test/stream"
				c.source.HTTP, closeAll = serve(t, s.ServeHTTP)
				defer closeAll()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var events []client.Event
				var last error
				for e, err := range client.Follow(ctx, c.source) {
					if last = err; err == nil {
						events = append(events, e)
					}
				}
				if diff := cmp.Diff(c.events, events); diff != "" {
					t.Error(diff)
				}
				if (c.err == "") != (last == nil) || last != nil && last.Error() != c.err {
					t.Errorf("ended with %v, want %q", last, c.err)
				}
				checkAsked(t, c.asked, s.asked)
			})
		})
	}
}

// A URL may hold a secret, so no error repeats it.
func TestFollowRefusesABadURL(t *testing.T) {
	for _, url := range []string{"", "source.test/secret", "ftp://secret@source.test", "http://secret\n"} {
		for _, err := range client.Follow(t.Context(), client.Source{URL: url}) {
			var refused *client.Error
			if err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v", url, err)
			}
		}
	}
}
