package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	gocmp "github.com/google/go-cmp/cmp"
)

// The page at GET /, in a browser.

// maxPageBytes is how much the page loads, compressed and without headers: it is for slow networks too.
const maxPageBytes = 44 << 10

// openDashboard opens the page and waits until it is live.
func openDashboard(tab context.Context, t *testing.T, address string) {
	t.Helper()
	do(tab, t, chromedp.Navigate(address))
	eventually(tab, t, words("#state", "live"))
}

// words returns JavaScript that reports whether an element's text begins with the words.
func words(selector, begin string) string {
	return fmt.Sprintf(`document.querySelector(%q)?.textContent.startsWith(%q)`, selector, begin)
}

// shown returns the payloads in the feed, newest first.
func shown(tab context.Context, t *testing.T) []string {
	t.Helper()
	return evaluate[[]string](tab, t, `[...document.querySelectorAll('#rows .line')].map((line) => line.item.data)`)
}

// press presses a key as a person does.
func press(tab context.Context, t *testing.T, key string) {
	t.Helper()
	events := kb.Encode([]rune(key)[0])
	down, up := *events[0], *events[len(events)-1]
	down.Text = events[len(events)-2].Text
	for _, e := range []input.DispatchKeyEventParams{down, up} {
		_, err := chromedp.Call(tab, input.DispatchKeyEvent, e)
		must(t, err)
	}
}

// enter replaces the text of an input.
func enter(tab context.Context, t *testing.T, selector, text string) {
	t.Helper()
	evaluate[chromedp.Void](tab, t, fmt.Sprintf(`(() => {
		const input = document.querySelector(%q);
		input.value = %q;
		input.dispatchEvent(new Event('input', { bubbles: true }));
	})()`, selector, text))
}

func click(tab context.Context, t *testing.T, selector string) {
	t.Helper()
	evaluate[chromedp.Void](tab, t, fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

func TestDashboardStates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	tab := openBrowser(t)
	openDashboard(tab, t, s.URL)
	publish := func(n int) {
		t.Helper()
		for i := range n {
			_, err := s.Publish(tab, "news", "", fmt.Sprint(i), "")
			must(t, err)
		}
	}
	publish(1)
	eventually(tab, t, words("#rows time + .topic", "news"))

	// The browser is offline while three events are published.
	_, err := chromedp.Call(tab, network.Enable, network.EnableParams{})
	must(t, err)
	offline := func(offline bool) {
		t.Helper()
		_, err := chromedp.Call(tab, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{Offline: offline, DownloadThroughput: -1, UploadThroughput: -1}}})
		must(t, err)
		_, err = chromedp.Call(tab, network.OverrideNetworkState, network.OverrideNetworkStateParams{
			Offline: offline, DownloadThroughput: -1, UploadThroughput: -1})
		must(t, err)
	}
	evaluate[chromedp.Void](tab, t, `window.told = new Set(), new MutationObserver(() => {
		told.add(document.querySelector('#state').textContent);
	}).observe(document.querySelector('#state'), { childList: true })`)
	offline(true)
	eventually(tab, t, words("#state", "reconnecting"))
	eventually(tab, t, words("#announcer", "reconnecting"))
	publish(3)
	eventually(tab, t, `[...told].some((words) => /^reconnecting in \d+ s$/.test(words))`)
	offline(false)
	eventually(tab, t, words("#state", "resumed, 3 events caught up"))
	eventually(tab, t, words("#state", "live"))
	eventually(tab, t, rowsHave("Resumed, 3 events caught up."))

	// The server restarts.
	s.Stop()
	eventually(tab, t, words("#state", "reconnecting"))
	eventually(tab, t, rowsHave("The server is closing this stream."))
	s = apptest.Start(t, dir, s.Addr)
	eventually(tab, t, words("#state", "resumed, nothing missed"))

	// The server starts with another log.
	s.Stop()
	s = apptest.Start(t, t.TempDir(), s.Addr)
	eventually(tab, t, rowsHave("The server has a new log: events of the one before it are gone."))
	publish(1)
	eventually(tab, t, `document.querySelectorAll('#rows .line').length === 5`)

	// A gap stays on the line on top until somebody dismisses it.
	eventually(tab, t, words("#state", "live"))
	if text := evaluate[string](tab, t, `document.querySelector('#gap').innerText`); !strings.Contains(text, ": The server has a new log") {
		t.Errorf("the gap is %q", text)
	}
	click(tab, t, "#dismiss")
	eventually(tab, t, `document.querySelector('#gap').hidden`)
}

// A server that is full says so, and the page shows it while it waits.
func TestDashboardBusyServer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := openBrowser(t)
	openDashboard(tab, t, f.URL)
	f.answer(`{"type":"busy","data":"{\"reason\":\"too_many_connections\",\"retry_ms\":600000}","retry":600000}` + "\n")
	f.cut()
	const reason = "the server is busy: too many connections"
	eventually(tab, t, words("#state", "reconnecting in"))
	eventually(tab, t, words("#reason", reason))
	eventually(tab, t, fmt.Sprintf(`document.querySelector('#announcer').textContent === 'reconnecting, %s'`, reason))
	if got := evaluate[string](tab, t, `document.title`); got != "reconnecting – freshet" {
		t.Errorf("the title is %q", got)
	}

	// Ten minutes are long.
	f.answer("")
	eventually(tab, t, words("#act", "retry now"))
	click(tab, t, "#act")
	eventually(tab, t, words("#state", "resumed"))
	eventually(tab, t, `document.querySelector('#act').hidden && document.title === 'freshet'`)
}

func TestDashboardFeed(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	tab := openBrowser(t)
	complaints := listenForComplaints(tab, t)
	var ids []string
	publish := func(topic, data string) {
		t.Helper()
		id, err := s.Publish(tab, topic, "", data, "")
		must(t, err)
		ids = append(ids, id)
	}
	see := func(want ...string) {
		t.Helper()
		text, err := json.Marshal(want)
		must(t, err)
		eventually(tab, t, fmt.Sprintf(`JSON.stringify([...document.querySelectorAll('#rows .line')].map((line) => line.item.data)) === JSON.stringify(%s)`, text))
	}
	publish("orders.new", `{"n":1,"big":12345678901234567890,"items":[{"sku":"A-17"}]}`)
	publish("orders.paid", "two")
	publish("news", "three")
	openDashboard(tab, t, s.URL)
	see("three", "two", `{"n":1,"big":12345678901234567890,"items":[{"sku":"A-17"}]}`)

	// A filter chooses from all events, older ones too.
	enter(tab, t, "#pattern", "orders.*")
	see("two", `{"n":1,"big":12345678901234567890,"items":[{"sku":"A-17"}]}`)
	enter(tab, t, "#filter", "TWO")
	see("two")
	eventually(tab, t, words("#feed-note", "1 of 3 match"))
	if got := evaluate[string](tab, t, `[...document.querySelectorAll('#rows mark')].map((m) => m.textContent).join()`); got != "orders.paid,two" {
		t.Errorf("the filter has marked %q", got)
	}
	publish("orders.paid", "another")
	publish("news", "two, elsewhere")
	publish("orders.paid", "two again")
	see("two again", "two")
	eventually(tab, t, words("#feed-note", "2 of 6 match"))

	// A match far into the data is shown too, across the colours of JSON. A pattern that is none says why and changes nothing.
	enter(tab, t, "#filter", `:[{"SKU":"a-`)
	see(`{"n":1,"big":12345678901234567890,"items":[{"sku":"A-17"}]}`)
	if got := evaluate[string](tab, t, `document.querySelector('#rows .data').textContent + ' ' + [...document.querySelectorAll('#rows .data mark')].map((m) => m.textContent).join('')`); got != `…7890,"items":[{"sku":"A-17"}]} :[{"sku":"A-` {
		t.Errorf("the row is %s", got)
	}
	for pattern, problem := range map[string]string{
		"orders.*x": "* stands for a whole segment", "orders.>.x": "> stands at the end", "orders..x": "no segment between", "a b": "a topic has no space", "a/b": "a topic has no /",
	} {
		enter(tab, t, "#pattern", pattern)
		eventually(tab, t, words("#problem:not([hidden])", problem))
		see(`{"n":1,"big":12345678901234567890,"items":[{"sku":"A-17"}]}`)
	}
	click(tab, t, "#only")
	eventually(tab, t, `document.querySelector('#problem').hidden`)
	see("two again", "two, elsewhere", "another", "three", "two", `{"n":1,"big":12345678901234567890,"items":[{"sku":"A-17"}]}`)

	// A paused feed loses no events.
	before := shown(tab, t)
	click(tab, t, "#pause")
	publish("news", "four")
	publish("news", "five")
	eventually(tab, t, words("#state", "paused"))
	eventually(tab, t, words("#reason", "2 events waiting"))
	if diff := gocmp.Diff(before, shown(tab, t)); diff != "" {
		t.Errorf("while paused, -before +after:\n%s", diff)
	}
	click(tab, t, "#act")
	see(append([]string{"five", "four"}, before...)...)
	eventually(tab, t, words("#state", "live"))

	// With keys alone: the third tab reaches the feed. Open the oldest row, and replay from a row.
	evaluate[chromedp.Void](tab, t, `document.activeElement.blur()`)
	press(tab, t, "p")
	eventually(tab, t, words("#state", "paused"))
	press(tab, t, "?")
	eventually(tab, t, `document.querySelector('#help').open`)
	press(tab, t, kb.Escape)
	eventually(tab, t, `!document.querySelector('#help').open`)
	press(tab, t, "p")
	eventually(tab, t, words("#state", "live"))
	evaluate[chromedp.Void](tab, t, `document.activeElement.blur(), getSelection().collapse(document.body, 0)`)
	for range 3 {
		press(tab, t, "\t")
	}
	if !evaluate[bool](tab, t, `document.activeElement === document.querySelector('#rows .line')`) {
		t.Errorf("three tabs reach %s", evaluate[string](tab, t, `document.activeElement.outerHTML`))
	}
	press(tab, t, kb.End)
	press(tab, t, "\r")
	eventually(tab, t, `document.querySelector('.detail')`)
	if got, want := evaluate[string](tab, t, `document.querySelector('.detail pre').innerText.replace(/\s+/g, '')`),
		`{"n":1,"big":12345678901234567890,"items":[{"sku":"A-17"}]}`; got != want {
		t.Errorf("the data is shown as %s, want %s", got, want)
	}
	if !evaluate[bool](tab, t, `document.querySelector('.detail .key').textContent === '"n"' && document.querySelectorAll('.detail details').length === 3`) {
		t.Error("the JSON is not coloured and folded")
	}
	press(tab, t, "c")
	eventually(tab, t, words("#announcer", "copied as curl"))
	press(tab, t, kb.Escape)
	eventually(tab, t, `!document.querySelector('.detail')`)
	press(tab, t, kb.ArrowUp)
	press(tab, t, "r")
	eventually(tab, t, words("#feed-note", "replay from "+ids[1]))
	eventually(tab, t, words("#reason", "the feed shows a replay"))
	see("five", "four", "two again", "two, elsewhere", "another", "three", "two")
	publish("news", "six")
	evaluate[chromedp.Void](tab, t, `document.querySelector('#rows .line').focus()`)
	press(tab, t, kb.Escape)
	see(append([]string{"six", "five", "four"}, before...)...)
	evaluate[chromedp.Void](tab, t, `document.querySelector('#tab-connect').click(), document.activeElement.blur()`)
	press(tab, t, "/")
	eventually(tab, t, `document.activeElement.id === 'filter' && document.activeElement.value === ''`)
	press(tab, t, "p") // is a letter here
	eventually(tab, t, `document.activeElement.value === 'p' && document.querySelector('#state').textContent === 'live'`)
	press(tab, t, kb.Escape)
	eventually(tab, t, `document.activeElement.value === ''`)

	// A click on a topic filters the feed, and a second click ends that.
	const chooseOrdersPaid = `[...document.querySelectorAll('#topics .name')].find((e) => e.textContent === 'orders.paid').click()`
	evaluate[chromedp.Void](tab, t, chooseOrdersPaid)
	see("two again", "another", "two")
	if !evaluate[bool](tab, t, `document.querySelector('#pattern').value === 'orders.paid' && document.querySelector('[aria-pressed=true].name').textContent === 'orders.paid'`) {
		t.Error("the page does not tell which topic is chosen")
	}
	// Code that reads the topic.
	click(tab, t, "#tab-connect")
	texts := evaluate[string](tab, t, `document.querySelector('#snippets').textContent`)
	for _, want := range []string{
		`new EventSource('` + s.URL + `/event?topic=orders.paid')`, `addEventListener('orders.paid'`,
		`from '` + s.URL + `/assets/freshet.js'`, `topics: ['orders.paid']`,
		`curl -N '` + s.URL + `/event?topic=orders.paid'`, `http.NewRequest("GET", "` + s.URL + `/event?topic=orders.paid", nil)`,
	} {
		if !strings.Contains(texts, want) {
			t.Errorf("the snippets have no %s:\n%s", want, texts)
		}
	}
	click(tab, t, "#snippets button")
	eventually(tab, t, words("#snippets button", "copied"))
	click(tab, t, "#tab-feed")
	evaluate[chromedp.Void](tab, t, chooseOrdersPaid)
	see(append([]string{"six", "five", "four"}, before...)...)

	// A plot shows its values to keys too.
	eventually(tab, t, `document.querySelector('#readers path.line0').getAttribute('d')`)
	evaluate[chromedp.Void](tab, t, `document.querySelector('#readers .plot').focus()`)
	press(tab, t, kb.ArrowLeft)
	eventually(tab, t, `/^\d\d:\d\d:\d\d \d/.test(document.querySelector('#readers .readout').textContent)`)
	if said := complaints(); len(said) > 0 {
		t.Errorf("the browser complained:\n%s", strings.Join(said, "\n"))
	}
}

// The list of topics begins with the busiest. Their number is that of the log.
func TestDashboardTopics(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	tab := openBrowser(t)
	publish := func(n int, topic string) {
		t.Helper()
		for range n {
			_, err := s.Publish(tab, topic, "", "x", "")
			must(t, err)
		}
	}
	for i := range 8 {
		publish(1, fmt.Sprintf("old.%d", i))
	}
	publish(50, "alpha") // the page asks for the last 50 events
	openDashboard(tab, t, s.URL)
	const names = `[...document.querySelectorAll('#topics .name')].map((e) => e.textContent).join()`
	eventually(tab, t, names+` === 'alpha'`)
	eventually(tab, t, words("#topic-count", "9 topics"))
	eventually(tab, t, words("#topics-note", "1 of 9"))
	eventually(tab, t, `document.querySelector('#cnt').textContent > 0`) // a second later, events are new
	publish(1, "beta")
	publish(3, "gamma")
	eventually(tab, t, names+` === 'gamma,beta,alpha'`)
	eventually(tab, t, `/\d\/s/.test(document.querySelector('#topics tbody tr').cells[2].textContent)`)
	eventually(tab, t, words("#topic-count", "11 topics"))
	if got := evaluate[string](tab, t, `document.querySelector('#topics [aria-sort=descending]').textContent`); got != "rate" {
		t.Errorf("topics are sorted by %q", got)
	}
	click(tab, t, "#topics th button")
	eventually(tab, t, names+` === 'alpha,beta,gamma'`)
}

func TestDashboardPublishing(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	tab := openBrowser(t)
	openDashboard(tab, t, s.URL)
	eventually(tab, t, words("#feed-empty-text", "Nothing published yet."))
	eventually(tab, t, words("#paste-line", "curl -H 'Authorization: Bearer TOKEN'"))
	enter(tab, t, "[name=topic]", "news")
	for data, want := range map[string]string{"hello": "text", `{"a":[1]}`: "JSON", `{"a":[1]`: "not JSON yet: "} {
		enter(tab, t, "[name=data]", data)
		eventually(tab, t, words("#check", want))
	}
	enter(tab, t, "[name=data]", "hello")
	click(tab, t, "#publish-form [type=submit]")
	eventually(tab, t, words("#published", "not sent: publishing needs a token"))

	for _, try := range []struct{ token, want string }{{"not-the-token-of-this-server", "not published: "}, {s.Token, "published, id "}} {
		evaluate[chromedp.Void](tab, t, `document.querySelector('#forget').click()`)
		enter(tab, t, "#token-form [name=token]", try.token)
		click(tab, t, "#token-form button")
		click(tab, t, "#publish-form [type=submit]")
		eventually(tab, t, words("#published", try.want))
	}
	eventually(tab, t, rowsHave("hello"))
	if id := evaluate[string](tab, t, `document.querySelector('#published').textContent`); !strings.HasSuffix(id, "-1") {
		t.Errorf("the answer is %q, without the ID of the first event", id)
	}
}

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
	eventually(tab, t, words("#connections-note", "Only operators see the open streams"))
	enter(tab, t, "#token-form [name=token]", "not-the-token-of-this-server")
	click(tab, t, "#token-form button")
	eventually(tab, t, words("#connections-note", "The server does not accept this token"))
	click(tab, t, "#forget")
	enter(tab, t, "#token-form [name=token]", s.Token)
	click(tab, t, "#token-form button")
	eventually(tab, t, words("#connections-note", "3 streams, and that of this page"))

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
	eventually(tab, t, words("#connections-note", "2 streams, and that of this page"))
}

// Nodes and streams keep their rows with 25 streams.
func TestDashboardManyConnections(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
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
	eventually(tab, t, words("#connections-note", "25 streams, and that of this page"))
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
	s := apptest.Start(t, t.TempDir(), "", "--jwt-secret", jwtSecret, "--anonymous=", "--publish-token", strings.Repeat("p", 32))
	publisher := strings.Repeat("p", 32)
	tab := openBrowser(t)
	publish := func(topic, data string) {
		t.Helper()
		r, err := http.NewRequestWithContext(tab, http.MethodPost, s.URL+"/event/"+topic, strings.NewReader(data))
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+publisher)
		answer, err := s.HTTP.Do(r)
		must(t, err)
		must(t, answer.Body.Close())
		if answer.StatusCode != http.StatusCreated {
			t.Fatalf("publish: %d", answer.StatusCode)
		}
	}
	publish("orders.new", "one")
	publish("secret", "two")

	// Without a token, the page says how to enter one.
	do(tab, t, chromedp.Navigate(s.URL))
	eventually(tab, t, words("#state", "not allowed to read"))
	eventually(tab, t, words("#feed-empty-text", "Reading needs a token here."))
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
	eventually(tab, t, words("#connections-note", "Only operators see the open streams, and this token is not that of an operator"))

	// The publish token shows everything, without a reload.
	click(tab, t, "#forget")
	enter(tab, t, "#token-form [name=token]", publisher)
	click(tab, t, "#token-form button")
	eventually(tab, t, words("#connections-note", "0 streams, and that of this page"))
	publish("secret", "five")
	eventually(tab, t, rowsHave("five"))
}

// The page is small, fits 360 pixels, does not shift while figures grow, and is accessible.
func TestDashboardPage(t *testing.T) {
	t.Parallel()
	modules := installNodeModules(t)
	axe, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	must(t, err)
	s := apptest.Start(t, t.TempDir(), "")
	tab := openBrowser(t)
	for i := range 30 {
		_, err := s.Publish(tab, fmt.Sprintf("orders.%d", i%3), "order", `{"n":1,"items":[{"sku":"A-17"},{"sku":"B-3"}]}`, "")
		must(t, err)
	}
	openDashboard(tab, t, s.URL+"/#token="+s.Token)
	eventually(tab, t, words("#log-bytes, #log .value", "0")+` === false && document.querySelectorAll('#rows .line').length === 30`)

	if top := evaluate[float64](tab, t, `document.querySelector('#rows').getBoundingClientRect().top`); top > 300 {
		t.Errorf("at 1280×900 the feed begins at %v", top)
	}
	const inSight = `[...document.querySelectorAll('#rows .line')].filter((line) => line.getBoundingClientRect().bottom <= innerHeight).length`
	if rows := evaluate[int](tab, t, inSight); rows < 25 {
		t.Errorf("at 1280×900 the feed shows %d rows", rows)
	}
	if !evaluate[bool](tab, t, `[...document.querySelectorAll('#rows .data')].every((data) => data.querySelector('.string') && data.querySelector('.key'))`) {
		t.Error("the JSON has no colours")
	}
	if fields := evaluate[[]string](tab, t, `[...document.querySelectorAll('input, textarea')].filter((e) => e.placeholder || e.value).map((e) => e.outerHTML)`); len(fields) > 0 {
		t.Errorf("these fields do not look empty: %q", fields)
	}
	if got := evaluate[string](tab, t, `(({ textContent, title }) => textContent + ' ' + title)(document.querySelector('#rows .id'))`); !regexp.MustCompile(`^30 [a-z0-9]+-30$`).MatchString(got) {
		t.Errorf("the ID and its title are %q", got)
	}

	size := evaluate[int](tab, t, `performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))
		.filter((e) => !e.name.includes('/event')).reduce((sum, e) => sum + e.encodedBodySize, 0)`)
	t.Logf("the page loads %d bytes", size)
	if size < maxPageBytes/2 || size > maxPageBytes {
		t.Errorf("the page loads %d bytes, want at most %d", size, maxPageBytes)
	}
	if shift := evaluate[float64](tab, t, `new Promise((done) => new PerformanceObserver((list) => {
		const inFeed = ({ node }) => (node?.closest ? node : node?.parentElement)?.closest('#rows, #topics');
		done(list.getEntries().filter((e) => !e.sources.every(inFeed)).reduce((sum, e) => sum + e.value, 0));
	}).observe({ type: 'layout-shift', buffered: true }) || setTimeout(() => done(0), 500))`); shift > 0.01 {
		t.Errorf("the layout shifts by %v", shift)
	}

	evaluate[chromedp.Void](tab, t, string(axe)+";0")
	click(tab, t, "#rows li:nth-child(2) .line")
	for _, width := range []int64{1280, 360} {
		do(tab, t, chromedp.EmulateViewport(width, 780))
		evaluate[chromedp.Void](tab, t, `document.querySelector('#publish').open = true`)
		for _, view := range []string{"connections", "connect", "feed"} {
			click(tab, t, "#tab-"+view)
			eventually(tab, t, `document.documentElement.scrollWidth <= innerWidth`)
			// The theme matters only to contrast.
			for theme, options := range map[string]string{"light": `{ resultTypes: ['violations'] }`, "dark": `{ runOnly: ['color-contrast'] }`} {
				violations := evaluate[[]string](tab, t, fmt.Sprintf(`(document.documentElement.dataset.theme = %q, axe.run(%s))
					.then(({ violations }) => violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html + ' ' + n.failureSummary).join('\n')))`, theme, options))
				if len(violations) > 0 {
					t.Errorf("%s, %s, %d pixels:\n%s", view, theme, width, strings.Join(violations, "\n"))
				}
			}
		}
	}
}
