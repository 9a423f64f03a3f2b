package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/client"

	"github.com/chromedp/chromedp"
)

// An answer is whole on every page: after a reload in its midst, in a second tab, over a restart of the server, and after the stop button.
func TestBrowserAnAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	page := serveOrigin(t, `<!doctype html><meta charset="utf-8"><title>an answer</title>`)
	ticket := stopTicket(t, s, strings.TrimSuffix(page, "/"))
	read := fmt.Sprintf(`(async () => {
		const { answer } = await import('%s/assets/freshet.js');
		globalThis.a = answer('answers.17', { stopTicket: async () => %q });
		globalThis.ended = '';
		(async () => { for await (const piece of a); })().then(() => { ended = 'whole'; }, (err) => { ended = err.message; });
		return true;
	})()`, s.URL, ticket)

	first := openBrowser(t)
	second := openTab(first, t)
	c, err := client.New(client.Config{URL: s.URL, Token: s.Token, HTTP: s.HTTP})
	must(t, err)
	written, err := c.Answer(t.Context(), "answers.17")
	must(t, err)
	var want string
	write := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			piece := fmt.Sprintf("größe %d\n", i)
			want += piece
			_, err := io.WriteString(written, piece)
			must(t, err)
		}
	}
	shown := func() string { return fmt.Sprintf(`a.text === %q`, want) }

	write(0, 100)
	do(first, t, chromedp.Navigate(page))
	evaluate[bool](first, t, read)
	eventually(first, t, shown())
	write(100, 200)
	do(first, t, chromedp.Navigate(page+"?reloaded")) // in the midst
	evaluate[bool](first, t, read)
	do(second, t, chromedp.Navigate(page))
	evaluate[bool](second, t, read)
	eventually(first, t, shown())
	s.Stop()
	write(200, 300)
	apptest.Start(t, dir, s.Addr)
	eventually(first, t, shown())
	eventually(second, t, shown())

	evaluate[chromedp.Void](first, t, `a.stop()`)
	<-written.Stopped().Done()
	write(300, 310)
	must(t, written.End())
	for _, tab := range []func() string{shown, func() string { return `ended === 'whole'` }} {
		eventually(first, t, tab())
		eventually(second, t, tab())
	}
	do(second, t, chromedp.Navigate(page+"?later"))
	evaluate[bool](second, t, read)
	eventually(second, t, shown()+` && ended === 'whole'`)
}

// stopTicket returns a ticket for the stop button of pages of the origin.
func stopTicket(t *testing.T, s *apptest.Server, origin string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"publish": []string{"answers.17.stop"}, "origin": origin})
	must(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/ticket", bytes.NewReader(body))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+s.Token)
	response, err := s.HTTP.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }() // only read from
	var g grant
	must(t, json.NewDecoder(response.Body).Decode(&g))
	return g.Ticket
}
