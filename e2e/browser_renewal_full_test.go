//go:build full

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
	gocmp "github.com/google/go-cmp/cmp"
)

// Streams outlive their tickets: each page fetches the next one in time. Tabs of the client module share the renewal, and the
// lines for a plain EventSource in docs/client.md work too.
func TestBrowserRenewsTickets(t *testing.T) {
	t.Parallel()
	const lifetime = "5s"
	s := apptest.Start(t, t.TempDir(), "")
	lines := codeOf(t, "docs/client.md", "async function open")
	lines = strings.NewReplacer("http://localhost:8080", s.URL, "orders.eu.paid", "numbers", "/api/event-ticket", "/ticket?by=plain", "console.log", "seen.push").Replace(lines)
	html := strings.Replace(clientPage(s.URL), "</script>", `
window.ticket = async () => (await (await fetch('/ticket?by=module', { method: 'POST' })).json()).ticket;
window.plain = (id) => {
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
