package main // it runs main

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"testing"

	"freshet/app/apptest"
	"freshet/app/apptest/browser"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

const markup = `<img src="x" onerror="document.title = 'attacked'">`

// All pages of a room show the same messages, each once: after the program was killed, after a message was sent again, and after a reload.
func TestChat(t *testing.T) {
	chromium := browser.New()
	t.Cleanup(func() {
		if err := chromium.End(); err != nil {
			t.Errorf("end the browser: %v", err)
		}
	})
	mia, jo := chromium.Open(t), chromium.Open(t)
	args := []string{"-listen", apptest.FreeAddress(t), "-data", t.TempDir()}
	program := apptest.StartProgram(t, args...)
	enter(mia, t, program.URL+"/", "Mia")
	enter(jo, t, program.URL+"/rooms/lobby", "Jo")

	write(mia, t, "hello")
	browser.Eventually(jo, t, shown+`.length === 1`)
	write(jo, t, markup)
	browser.Eventually(mia, t, shown+`.length === 2`)
	program.Kill()
	write(mia, t, "still there?")
	browser.Eventually(mia, t, `document.querySelector('#problem').textContent.startsWith('Not sent: ') && document.querySelector('[name="text"]').value === 'still there?'`)
	program = apptest.StartProgram(t, args...)
	again := url.Values{"name": {"Jo"}, "text": {"yes"}, "key": {"17"}}
	for range 2 { // as if the first response had been lost
		if status := post(t, program.URL+"/rooms/lobby", again); status != http.StatusNoContent {
			t.Errorf("a message was answered %d", status)
		}
	}
	press(mia, t)

	want := []string{"Mia: hello", "Jo: " + markup, "Jo: yes", "Mia: still there?"}
	for _, tab := range []context.Context{mia, jo} {
		browser.Eventually(tab, t, shown+`.length >= 4`)
		compare(tab, t, want)
	}
	browser.Do(jo, t, chromedp.Reload())
	browser.Eventually(jo, t, shown+`.length >= 4`)
	compare(jo, t, want)
	if title := browser.Evaluate[string](jo, t, `document.title`); title != "lobby – chat" {
		t.Errorf("the title became %q", title)
	}
	enter(jo, t, program.URL+"/rooms/garden", "Jo")
	compare(jo, t, nil)
	if err := program.Interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

func TestBadMessagesAndRooms(t *testing.T) {
	program := apptest.StartProgram(t, "-listen", apptest.FreeAddress(t), "-data", t.TempDir())
	good := url.Values{"name": {"Jo"}, "text": {"hello"}, "key": {"17"}}
	for _, c := range []struct {
		path   string
		values url.Values
		want   int
	}{
		{"/rooms/kitchen", good, http.StatusNoContent},
		{"/rooms/%3E", good, http.StatusNotFound},
		{"/rooms/a%20b", good, http.StatusNotFound},
		{"/rooms/kitchen", url.Values{"name": {"Jo"}, "key": {"18"}}, http.StatusBadRequest},
		{"/rooms/kitchen", url.Values{"name": {"Jo"}, "text": {string(make([]byte, 1001))}, "key": {"19"}}, http.StatusBadRequest},
	} {
		if status := post(t, program.URL+c.path, c.values); status != c.want {
			t.Errorf("POST %s of %d values was answered %d, want %d", c.path, len(c.values), status, c.want)
		}
	}
}

// shown are the messages on the page, in JavaScript.
const shown = `[...document.querySelectorAll('#messages > li')].map((m) => m.querySelector('b').textContent + ': ' + m.querySelector('span').textContent)`

// enter opens a room as a user.
func enter(tab context.Context, t *testing.T, page, name string) {
	t.Helper()
	browser.Do(tab, t, chromedp.Navigate(page))
	browser.Eventually(tab, t, `document.querySelector('#state').textContent === 'live'`)
	browser.Do(tab, t, chromedp.SetValue(chromedp.CSS(`[name="name"]`), name))
}

// write fills in a message and presses the button.
func write(tab context.Context, t *testing.T, text string) {
	t.Helper()
	browser.Do(tab, t, chromedp.SetValue(chromedp.CSS(`[name="text"]`), text))
	press(tab, t)
}

func press(tab context.Context, t *testing.T) {
	t.Helper()
	browser.Do(tab, t, chromedp.Click(chromedp.CSS("form button")))
}

func compare(tab context.Context, t *testing.T, want []string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), browser.Evaluate[[]string](tab, t, shown)); diff != "" {
		t.Errorf("the page shows (-want +got):\n%s", diff)
	}
}

func post(t *testing.T, url string, values url.Values) (status int) {
	t.Helper()
	response, err := http.PostForm(url, values)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}
