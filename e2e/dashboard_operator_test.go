package e2e_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/auth"
	"freshet/event"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Who may see and do what on the page.

// An operator sees the open streams, and can end them.
func TestDashboardConnections(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "", "--trusted-proxy", "127.0.0.1")
	tab := openBrowser(t)
	openDashboard(tab, t, s.URL)
	var ids []string
	publish := func(topic string) {
		t.Helper()
		id, err := s.Publish(tab, topic, "", "x", "")
		must(t, err)
		ids = append(ids, id)
	}
	open := func(query, address string) {
		t.Helper()
		r, err := http.NewRequestWithContext(tab, http.MethodGet, s.URL+"/event?"+query, nil)
		must(t, err)
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("X-Forwarded-For", address)
		answer, err := s.HTTP.Do(r)
		must(t, err)
		t.Cleanup(func() { _ = answer.Body.Close() }) // only read from
	}
	for range 12 {
		publish("orders.new")
	}
	eventually(tab, t, `document.querySelectorAll('#rows .line').length === 12`)
	open("topic=orders.*", "192.0.2.1")
	open("topic=news&topic=orders.new&since=all", "192.0.2.10")
	open("topic=>", "192.0.2.9")
	publish("stock")

	click(tab, t, "#tab-connections")
	eventually(tab, t, words("#connections-note", "Only operators can see and end open streams"))
	enter(tab, t, "#token-form [name=token]", "not-the-token-of-this-server")
	click(tab, t, "#token-form button")
	eventually(tab, t, words("#connections-note", "The server does not accept this token"))
	click(tab, t, "#forget")
	enter(tab, t, "#token-form [name=token]", s.Token)
	click(tab, t, "#token-form button")
	eventually(tab, t, words("#connections-note", "3 streams, plus this page"))

	column := func(n int, want ...string) {
		t.Helper()
		eventually(tab, t, fmt.Sprintf(`[...document.querySelectorAll('#streams tbody tr')].map((row) => row.cells[%d].textContent).join(', ') === %q`, n, strings.Join(want, ", ")))
	}
	sortBy := func(name string) {
		t.Helper()
		evaluate[chromedp.Void](tab, t, fmt.Sprintf(`[...document.querySelectorAll('#streams th button')].find((e) => e.textContent === %q).click()`, name))
	}
	// The busiest first. The page's own stream is marked and no reader.
	column(2, "13", "12", "1", "0")
	column(0, "> counter stats", "news orders.new", ">", "orders.*")
	column(1, "0", "0", "12", "12")
	column(7, "this page", "end", "end", "end")
	if runtime.GOOS == "linux" {
		column(4, "parked", "parked", "parked", "parked")
	}
	eventually(tab, t, words("#readers .value", "3"))
	eventually(tab, t, `[...document.querySelectorAll('#nodes tbody tr')].map((row) => row.cells[1].textContent).join() === '3'`)
	if got := evaluate[string](tab, t, `[...document.querySelectorAll('#nodes [aria-sort], #streams [aria-sort]')].map((e) => e.textContent + ' ' + e.ariaSort).join()`); got != "node ascending,sent descending" {
		t.Errorf("sorted by %s", got)
	}
	sortBy("sent")
	column(2, "0", "1", "12", "13")
	sortBy("address")
	column(5, "127.0.0.1", "192.0.2.1", "192.0.2.9", "192.0.2.10")
	sortBy("address")
	column(5, "192.0.2.10", "192.0.2.9", "192.0.2.1", "127.0.0.1")

	// Ending asks first, and says what has happened.
	click(tab, t, `#streams tbody tr button`)
	column(7, "end it? yes no", "end", "end", "this page")
	press(tab, t, kb.Escape)
	column(7, "end", "end", "end", "this page")
	click(tab, t, `#streams tbody tr button`)
	click(tab, t, `#streams tbody tr button`) // yes
	eventually(tab, t, words("#ended", "Ended: news orders.new of 192.0.2.10."))
	column(5, "192.0.2.9", "192.0.2.1", "127.0.0.1")
	eventually(tab, t, words("#connections-note", "2 streams, plus this page"))
}

// Nodes, relays and streams keep their rows with 25 streams.
func TestDashboardManyConnections(t *testing.T) {
	t.Parallel()
	source := apptest.Start(t, t.TempDir(), "")
	s := apptest.Start(t, t.TempDir(), "", "--relay", "copy="+source.URL+"/event/news")
	tab := openBrowser(t)
	for range 25 {
		r, err := http.NewRequestWithContext(tab, http.MethodGet, s.URL+"/event?topic=news", nil)
		must(t, err)
		answer, err := s.HTTP.Do(r)
		must(t, err)
		t.Cleanup(func() { _ = answer.Body.Close() }) // only read from
	}
	openDashboard(tab, t, s.URL+"/#token="+s.Token)
	click(tab, t, "#tab-connections")
	eventually(tab, t, words("#connections-note", "25 streams, plus this page"))
	eventually(tab, t, `document.querySelector('#nodes tbody tr')`) // a node tells its figures every two seconds
	eventually(tab, t, `document.querySelector('#relays tbody tr')?.textContent.includes('live')`)
	if small := evaluate[[]string](tab, t, `[...document.querySelectorAll('#connections tr')].filter((row) => row.getBoundingClientRect().height < 20).map((row) => row.textContent)`); len(small) > 0 {
		t.Errorf("%d rows have no room: %q", len(small), small)
	}
	if !evaluate[bool](tab, t, `document.querySelector('#nodes tbody tr').getBoundingClientRect().bottom < innerHeight / 2`) {
		t.Error("the nodes are out of sight")
	}
}

// A token that may read some topics gets these, and true sentences about the rest.
func TestDashboardRights(t *testing.T) {
	t.Parallel()
	publisher := strings.Repeat("p", 32)
	s := apptest.Start(t, t.TempDir(), "", "--jwt-secret", jwtSecret, "--anonymous", "none", "--publish-token", publisher)
	s.Token = publisher
	tab := openBrowser(t)
	publish := func(topic, data string) {
		t.Helper()
		_, err := s.Publish(tab, topic, "", data, "")
		must(t, err)
	}
	publish("orders.new", "one")
	publish("secret", "two")

	// Without a token, the page says how to enter one.
	do(tab, t, chromedp.Navigate(s.URL))
	eventually(tab, t, words("#state", "not allowed to read"))
	eventually(tab, t, words("#reason", "reading needs a token here"))
	eventually(tab, t, words("#feed-empty-text", "Enter a token"))
	if text := evaluate[string](tab, t, `document.body.innerText`); strings.Contains(text, "Nothing published") || strings.Contains(text, "Waiting for") || strings.Contains(text, "appears with") {
		t.Errorf("the page says false things:\n%s", text)
	}
	use := func(token string) {
		t.Helper()
		enter(tab, t, "#read-form [name=token]", token)
		click(tab, t, "#read-form button")
	}
	use("not-the-token-of-this-server")
	eventually(tab, t, words("#feed-empty-text", "The server refuses the token"))
	sign := func(g auth.Grant) string {
		t.Helper()
		g.Subject, g.Expires = "u", time.Now().Add(time.Hour)
		token, err := auth.Sign(jwtSecret, g)
		must(t, err)
		return token
	}
	use(sign(auth.Grant{Publish: event.Patterns{event.All}}))
	eventually(tab, t, words("#feed-empty-text", "This token does not allow reading events."))

	// An operator who may read no events sees the figures and the streams.
	use(sign(auth.Grant{Operator: true}))
	eventually(tab, t, words("#feed-empty-text", "No event yet of the topics that this page may read."))
	eventually(tab, t, words("#log .total", "2 events"))
	click(tab, t, "#tab-connections")
	eventually(tab, t, words("#connections-note", "0 streams, plus this page"))
	click(tab, t, "#tab-feed")
	click(tab, t, "#forget")
	eventually(tab, t, words("#reason", "reading needs a token here"))
	use(mint(t, time.Hour, "orders.new", "orders.*"))
	eventually(tab, t, words("#state", "live"))
	eventually(tab, t, rowsHave("one"))
	eventually(tab, t, words("#topics-note", "that this page may read"))
	eventually(tab, t, words("#log .total", "2 events")) // figures come too
	eventually(tab, t, `document.querySelector('#cnt').textContent > 0`)
	publish("secret", "three")
	publish("orders.new", "four")
	eventually(tab, t, rowsHave("four"))
	if got := shown(tab, t); len(got) != 2 {
		t.Errorf("shown are %q", got)
	}
	click(tab, t, "#tab-connections")
	eventually(tab, t, words("#connections-note", "Only operators can see and end open streams. This token is not an operator's: "))

	// The publish token shows everything, without a reload.
	click(tab, t, "#forget")
	enter(tab, t, "#token-form [name=token]", publisher)
	click(tab, t, "#token-form button")
	eventually(tab, t, words("#connections-note", "0 streams, plus this page"))
	publish("secret", "five")
	eventually(tab, t, rowsHave("five"))
}
