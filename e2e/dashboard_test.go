package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"freshet/app/apptest"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	gocmp "github.com/google/go-cmp/cmp"
)

// The page at GET /, in a browser.

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
	eventually(tab, t, words("#state", "resumed, 3 missed events received"))
	eventually(tab, t, words("#state", "live"))
	eventually(tab, t, rowsHave("Resumed, 3 missed events received."))

	// The server restarts.
	s.Stop()
	eventually(tab, t, words("#state", "reconnecting"))
	eventually(tab, t, rowsHave("The server is closing this stream."))
	s = apptest.Start(t, dir, s.Addr)
	eventually(tab, t, words("#state", "resumed, nothing missed"))

	// The server starts with another log.
	s.Stop()
	s = apptest.Start(t, t.TempDir(), s.Addr)
	eventually(tab, t, rowsHave("The server has a new log: events of the old log are gone."))
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
		"orders.*x": "* stands for a whole segment", "orders.>.x": "> stands at the end", "orders..x": "a segment is empty", "a b": "a topic has no space", "a/b": "a topic has no /",
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
	publish(1, "beta")
	publish(3, "gamma")
	eventually(tab, t, `/gamma.*beta/.test(`+names+`)`) // unlike the alphabet
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
