package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
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

// Streams outlive their tickets: each page fetches the next one in time. Tabs of the client module share the renewal, and the
// lines for a plain EventSource in docs/client.md work too.
func TestBrowserRenewsTickets(t *testing.T) {
	t.Parallel()
	const lifetime = "5s"
	s := apptest.Start(t, t.TempDir(), "")
	lines := regexp.MustCompile("(?s)async function open.*?\n}\n").FindString(read(t, "docs/client.md"))
	if lines == "" {
		t.Fatal("docs/client.md has no lines for a plain EventSource")
	}
	lines = strings.NewReplacer("https://events.example", s.URL, "orders.new", "numbers", "/api/event-ticket", "/ticket?by=plain").Replace(lines)
	html := strings.Replace(clientPage(s.URL), "</script>", `
window.ticket = async () => (await (await fetch('/ticket?by=module', { method: 'POST' })).json()).ticket;
window.plain = (id) => {
	const show = (e) => seen.push(e.data);
`+lines+`
	open(id);
};
</script>`, 1)
	issued := map[string]*atomic.Int64{"module": {}, "plain": {}}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ticket" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, html) // the browser may have closed the page
			return
		}
		ticket, err := ticketOf(r.Context(), s, "http://"+r.Host, lifetime)
		if err != nil {
			t.Error(err)
		}
		issued[r.FormValue("by")].Add(1)
		_ = json.NewEncoder(w).Encode(map[string]string{"ticket": ticket.Ticket, "url": ticket.URL, "expires": ticket.Expires})
	}))
	t.Cleanup(backend.Close)

	tab := openBrowser(t)
	first, err := s.Publish(tab, "numbers", "", "before", "")
	must(t, err)
	tabs := []context.Context{tab, openTab(tab, t), openTab(tab, t)}
	for i, tab := range tabs {
		do(tab, t, chromedp.Navigate(backend.URL))
		eventually(tab, t, `window.connect`)
		if i == 2 {
			evaluate[chromedp.Void](tab, t, fmt.Sprintf(`plain(%q)`, first))
			continue
		}
		evaluate[chromedp.Void](tab, t, `follow({ topics: ['numbers'], identity: 'alice', ticket })`)
		eventually(tab, t, fmt.Sprintf(`s.role === %q`, []string{"leader", "follower"}[i]))
	}
	p := publishNumbers(t, s, 0, "numbers")
	eventuallyHere(t, "tickets are renewed", func() bool { return issued["module"].Load() >= 4 && issued["plain"].Load() >= 3 })
	p.more(100)
	p.stop()
	n := int(p.n.Load())
	for i, tab := range tabs {
		eventually(tab, t, fmt.Sprintf(`seen.at(-1) === '%d'`, n-1))
		if diff := gocmp.Diff(numbers(n), evaluate[[]string](tab, t, `seen`)); diff != "" {
			t.Errorf("tab %d, -published +dispatched:\n%s", i, diff)
		}
	}
	for i, tab := range tabs[:2] {
		if states := evaluate[string](tab, t, `states.join()`); states != "live" {
			t.Errorf("the states of tab %d: %s", i, states)
		}
	}
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
