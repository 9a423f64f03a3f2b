package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
	gocmp "github.com/google/go-cmp/cmp"
)

// A page of another origin gets a ticket from its own backend, which has the token. The page loses
// its connection twice, and still gets each event once.
func TestBrowserWithATicket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	const html = `<!doctype html>
<meta charset="utf-8">
<title>a page with a ticket</title>
<script>
const told = [];
let ev;
fetch('/ticket', { method: 'POST' }).then((answer) => answer.json()).then((ticket) => {
  ev = new EventSource(%q + ticket.url);
  for (const type of ['numbers', 'secret', 'gap', 'auth-expired']) {
    ev.addEventListener(type, (e) => told.push(type + ' ' + e.data));
  }
});
</script>`
	ids := make(chan string, 10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ticket" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, html, s.URL) // the browser may have closed the page
			return
		}
		ticket, err := ticketOf(r.Context(), s, "http://"+r.Host, "1h")
		if err != nil {
			t.Error(err)
		}
		ids <- ticket.ID
		_ = json.NewEncoder(w).Encode(map[string]string{"url": ticket.URL}) // likewise
	}))
	t.Cleanup(backend.Close)

	tab := openBrowser(t)
	do(tab, t, chromedp.Navigate(backend.URL))
	eventually(tab, t, `ev?.readyState === 1`)
	var want []string
	publish := func(s *apptest.Server) {
		t.Helper()
		for range 20 {
			number := strconv.Itoa(len(want))
			want = append(want, "numbers "+number)
			for _, topic := range []string{"numbers", "secret"} {
				_, err := s.Publish(tab, topic, "", number, "")
				must(t, err)
			}
		}
	}
	publish(s)
	again := s
	for range 2 {
		again.Stop()
		elsewhere := apptest.Start(t, dir, "") // at an address that the page does not know
		publish(elsewhere)
		elsewhere.Stop()
		again = apptest.Start(t, dir, s.Addr)
		publish(again)
		eventually(tab, t, fmt.Sprintf(`told.length >= %d`, len(want)))
	}
	if diff := gocmp.Diff(strings.Join(want, "\n"), evaluate[string](tab, t, `told.join('\n')`)); diff != "" {
		t.Errorf("- as published, + as it arrived:\n%s", diff)
	}
	id := <-ids
	if len(ids) > 0 {
		t.Error("the page needed another ticket")
	}

	// After the ticket is revoked the page gets auth-expired, and stops for good.
	r, err := http.NewRequestWithContext(tab, http.MethodDelete, s.URL+"/ticket/"+id, nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+again.Token)
	answer, err := again.HTTP.Do(r)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode != http.StatusNoContent {
		t.Errorf("revoked: %s", answer.Status)
	}
	eventually(tab, t, `told.at(-1) === 'auth-expired {}' && ev.readyState === 2`)
}

// Browsers send no Origin for a page of the server's own origin. Its ticket works, and a page of
// another origin cannot use that.
func TestBrowserWithATicketOfTheServersOwnOrigin(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "", "--anonymous", "none")
	ticket, err := ticketOf(t.Context(), s, s.URL, "1h")
	must(t, err)
	subscribe := fmt.Sprintf(`globalThis.told = [];
globalThis.ev = new EventSource(%q);
ev.addEventListener('numbers', (e) => told.push(e.data));`, s.URL+ticket.URL)

	tab := openBrowser(t)
	do(tab, t, chromedp.Navigate(s.URL))
	evaluate[chromedp.Void](tab, t, subscribe)
	eventually(tab, t, `ev.readyState === 1`)
	_, err = s.Publish(tab, "numbers", "", "1", "")
	must(t, err)
	eventually(tab, t, `told.join() === '1'`)

	do(tab, t, chromedp.Navigate(serveOrigin(t, "<!doctype html><title>another origin</title>")))
	evaluate[chromedp.Void](tab, t, subscribe)
	eventually(tab, t, `ev.readyState === 2`)
}

// grant is a ticket, as a backend gets it.
type grant struct{ Ticket, ID, URL, Expires string }

// ticketOf asks for a ticket for the topic numbers, for pages of the origin.
func ticketOf(ctx context.Context, s *apptest.Server, origin, lifetime string) (g grant, err error) {
	body, err := json.Marshal(map[string]any{"origin": origin, "topics": []string{"numbers"}, "lifetime": lifetime})
	if err != nil {
		return g, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/ticket", bytes.NewReader(body))
	if err != nil {
		return g, err
	}
	r.Header.Set("Authorization", "Bearer "+s.Token)
	answer, err := s.HTTP.Do(r)
	if err != nil {
		return g, err
	}
	defer func() { _ = answer.Body.Close() }() // only read from
	if answer.StatusCode != http.StatusCreated {
		return g, fmt.Errorf("a ticket: %s", answer.Status)
	}
	return g, json.NewDecoder(answer.Body).Decode(&g)
}
