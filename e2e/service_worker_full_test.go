//go:build full

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/client"

	"github.com/chromedp/chromedp"

	gocmp "github.com/google/go-cmp/cmp"
)

// A page whose service worker answers each request with fetch(event.request) loses its native EventSource for good when the server is
// killed. The client module goes on, alone and in tabs that share a stream. So does the EventSource if the worker leaves
// /event to the browser, as docs/client.md says.
func TestServiceWorker(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		worker string
		native bool // whether the EventSource comes back
	}{
		"answers all":        {`self.addEventListener('fetch', (event) => event.respondWith(fetch(event.request)));`, false},
		"leaves out streams": {codeOf(t, "docs/client.md", "respondWith"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, address := t.TempDir(), apptest.FreeAddress(t)
			start := func() *apptest.Process {
				cmd, err := apptest.Command(t.Context(), "--listen", address, "--data", dir, "--retry", "100ms-200ms")
				must(t, err)
				s, err := apptest.StartProcess(cmd)
				must(t, err)
				t.Cleanup(s.Kill)
				return s
			}
			s := start()
			browser := openBrowser(t)
			origin := serveWithWorker(t, clientPage(s.URL), c.worker)
			var tabs []context.Context
			for _, role := range []string{"own", "leader", "follower"} {
				tab := openTab(browser, t)
				tabs = append(tabs, tab)
				do(tab, t, chromedp.Navigate(origin))
				eventually(tab, t, `window.connect`)
				evaluate[chromedp.Void](tab, t, `navigator.serviceWorker.register('/worker.js').then(() => navigator.serviceWorker.ready)`)
				eventually(tab, t, `navigator.serviceWorker.controller`)
				evaluate[chromedp.Void](tab, t, fmt.Sprintf(`follow({ topics: ['numbers'], share: %t })`, role != "own"))
				eventually(tab, t, fmt.Sprintf(`s.role === '%s'`, role))
			}
			native := tabs[0]
			evaluate[chromedp.Void](native, t, fmt.Sprintf(`new Promise((opened) => {
				window.native = [];
				window.ev = new EventSource('%s/event?topic=numbers');
				ev.addEventListener('numbers', (e) => native.push(e.data));
				ev.onopen = opened;
			})`, s.URL))
			published := 0
			publish := func() {
				t.Helper()
				_, err := s.Publish(t.Context(), client.Message{Topic: "numbers", Data: strconv.Itoa(published)})
				must(t, err)
				published++
				for _, tab := range tabs {
					eventually(tab, t, fmt.Sprintf(`seen.length >= %d`, published))
				}
			}
			publish()
			for range 2 {
				s.Kill()
				for _, tab := range tabs {
					eventually(tab, t, `s.state === 'reconnecting' && s.detail.reason`)
				}
				s = start()
				publish()
				publish()
			}
			for i, tab := range tabs {
				if diff := gocmp.Diff(numbers(published), evaluate[[]string](tab, t, `seen`)); diff != "" {
					t.Errorf("tab %d, -published +dispatched:\n%s", i, diff)
				}
			}
			if c.native {
				eventually(native, t, fmt.Sprintf(`native.join() === '%s'`, strings.Join(numbers(published), ",")))
			} else if !evaluate[bool](native, t, `ev.readyState === EventSource.CLOSED`) {
				t.Error("the EventSource came back: docs/client.md no longer needs to tell how")
			}
			// A stream that a page closes does not stay open behind its worker: an origin has six connections.
			for _, tab := range tabs {
				evaluate[chromedp.Void](tab, t, `(s.close(), window.ev?.close())`)
			}
			eventuallyHere(t, "the server has no streams", func() bool {
				body, err := s.Get(t.Context(), "/connections")
				must(t, err)
				return bytes.Contains(body, []byte(`"total":0}`))
			})
		})
	}
}

// codeOf returns the code block of the document that contains the word.
func codeOf(t *testing.T, file, word string) string {
	t.Helper()
	for i, block := range strings.Split(read(t, file), "```") {
		_, code, _ := strings.Cut(block, "\n") // without the language
		if i%2 == 1 && strings.Contains(code, word) {
			return code
		}
	}
	t.Fatalf("%s has no code with %s", file, word)
	return ""
}

// serveWithWorker serves a page, and its service worker at /worker.js, until the test ends.
func serveWithWorker(t *testing.T, page, worker string) (origin string) {
	t.Helper()
	mux := http.NewServeMux()
	serve := func(path, contentType, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, body) // the browser may have closed the page
		})
	}
	serve("/{$}", "text/html; charset=utf-8", page)
	serve("/worker.js", "text/javascript", worker+`
self.addEventListener('activate', (event) => event.waitUntil(clients.claim()));`)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
