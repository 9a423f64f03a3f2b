package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	gocmp "github.com/google/go-cmp/cmp"
)

// The client module, in tabs of a browser, on pages of another origin than the server's.
// assets/test has the tests of its logic.

func TestClientModule(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := openBrowser(t)
	complaints := listenForComplaints(tab, t)
	for _, e := range [][3]string{{"orders.new", "", `{"n":1}`}, {"orders.new", "", `{"n":2}`}, {"orders.paid", "payment", `{"n":3}`}, {"news", "message", "hello"}} {
		_, err := s.Publish(tab, e[0], e[1], e[2], "")
		must(t, err)
	}
	do(tab, t, chromedp.Navigate(serveOrigin(t, clientPage(f.URL))))
	eventually(tab, t, `window.connect`)
	evaluate[chromedp.Void](tab, t, `(() => {
		heard = []; states = [];
		s = connect({ topics: ['orders.*', 'news'], since: 'last' });
		const add = (way) => (e) => heard.push([way, e.type, e.topic, e.data, e.lastEventId === e.id, e.time instanceof Date].join(' '));
		s.on('state', (c) => states.push(c.state));
		s.on('orders.new', add('topic'));
		s.on('orders.>', add('pattern'))(); // and taken off
		s.on('payment', add('no topic'));
		s.addEventListener('payment', add('type'));
		s.addEventListener('open', () => heard.push('open'));
		s.onmessage = add('onmessage');
		s.on('orders.*', () => { throw 'a listener that fails' });
		addEventListener('error', (e) => { failed = e.error; e.preventDefault(); });
		(async () => {
			try { for await (const e of s) { heard.push('await ' + e.id + e.data); if (e.data === 'enough') break; } heard.push('left'); } catch (e) { heard.push(e.message); }
		})();
	})()`)
	id := func(data string) string { // of the last that was published
		return evaluate[string](tab, t, fmt.Sprintf(`heard.findLast((e) => e.startsWith('await') && e.endsWith(%q)).slice(6, -%d)`, data, len(data)))
	}
	eventually(tab, t, `heard.some((e) => e.startsWith('await') && e.endsWith('hello'))`)
	want := []string{
		"open",
		`topic orders.new orders.new {"n":2} true true`, "await " + id(`{"n":2}`) + `{"n":2}`,
		`type payment orders.paid {"n":3} true true`, "await " + id(`{"n":3}`) + `{"n":3}`,
		"onmessage message news hello true true", "await " + id("hello") + "hello",
	}
	// A for await resumes after the listeners have been called for one or more events.
	got := evaluate[[]string](tab, t, `heard.filter((e) => !e.startsWith('await')).concat(heard.filter((e) => e.startsWith('await')))`)
	if diff := gocmp.Diff([]string{want[0], want[1], want[3], want[5], want[2], want[4], want[6]}, got); diff != "" {
		t.Errorf("heard, -want +got:\n%s", diff)
	}
	for expression, want := range map[string]string{
		`failed`:        "a listener that fails",
		`s.state`:       "live",
		`states.join()`: "live",
		`[s.readyState, s.OPEN, s.constructor.CONNECTING, s.CLOSED].join()`: "1,1,0,2",
		`s.url`: f.URL + "/event?topic=orders.*&topic=news",
	} {
		if got := evaluate[string](tab, t, expression); got != want {
			t.Errorf("%s is %q, want %q", expression, got, want)
		}
	}

	// Like an EventSource: the topic is in the URL, and onmessage gets the type message.
	evaluate[chromedp.Void](tab, t, fmt.Sprintf(`(() => { ev = new Stream(%q); ev.onmessage = (e) => heard.push('drop-in ' + e.data); })()`, f.URL+"/event/news?since=-1"))
	eventually(tab, t, `heard.includes('drop-in hello')`)
	_, err := s.Publish(tab, "news", "", "enough", "")
	must(t, err)
	eventually(tab, t, `heard.includes('left')`)
	evaluate[chromedp.Void](tab, t, `(() => { s.close(); ev.close(); })()`)
	if got := evaluate[string](tab, t, `[s.state, s.readyState, ev.readyState].join()`); got != "closed,2,2" {
		t.Errorf("closed: %s", got)
	}
	eventuallyHere(t, "the streams are closed", func() bool { return f.open.Load() == 0 })

	// If the stream cannot resume, the page gets a gap and the events after it.
	evaluate[chromedp.Void](tab, t, `(() => {
		s = connect({ topics: ['orders.new'], since: 'zzz-7' });
		taken = [];
		(async () => { for await (const e of s) taken.push(e.type); })();
	})()`)
	eventually(tab, t, `s.state === 'gap' && s.detail.gap.reason === 'epoch' && s.detail.gap.requested === 'zzz-7'`)
	eventually(tab, t, `taken.join() === 'gap,orders.new,orders.new'`)

	// A loop that is too slow gets a gap too.
	evaluate[chromedp.Void](tab, t, `(() => {
		s.close();
		s = connect({ topics: ['orders.new', 'orders.paid', 'news'], since: 'all', queue: 2 });
		slow = s[Symbol.asyncIterator]();
		taking = slow.next();
		count = 0;
		s.on('>', () => count++);
	})()`)
	eventually(tab, t, `count === 5`)
	if got := evaluate[string](tab, t, `(async () => {
		const gap = (await taking).value;
		return [gap.type, gap.json().reason, gap.json().events, (await slow.next()).value.data, (await slow.next()).value.data].join();
	})()`); got != "gap,overflow,3,hello,enough" {
		t.Errorf("a slow loop took %s", got)
	}

	// A refused stream ends with the server's message.
	evaluate[chromedp.Void](tab, t, `(() => {
		s.close();
		s = connect({ topics: ['a b'] });
		refused = '';
		(async () => { try { for await (const e of s); } catch (e) { refused = e.message; } })();
		s.onerror = (e) => { status = e.status + e.reason; };
	})()`)
	eventually(tab, t, `s.readyState === 2 && /topic/.test(refused) && status === '400' + refused && s.detail.status === 400`)
	// On the server's own page the module needs no URL, and the page's policy allows it.
	do(tab, t, chromedp.Navigate(s.URL+"/"))
	evaluate[chromedp.Void](tab, t, `import('/assets/freshet.js').then(({ connect }) => {
		window.own = connect({ topics: ['news'], since: '-1' });
		own.on('news', (e) => { window.newest = e.data; });
	})`)
	eventually(tab, t, fmt.Sprintf(`window.newest === 'enough' && own.url === %q`, s.URL+"/event?topic=news"))
	// A page of another origin imports it from a server that has a path prefix.
	prefixed := httptest.NewServer(http.StripPrefix("/live", f))
	t.Cleanup(func() {
		prefixed.CloseClientConnections()
		prefixed.Close()
	})
	do(tab, t, chromedp.Navigate(serveOrigin(t, clientPage(prefixed.URL+"/live"))))
	eventually(tab, t, `window.connect`)
	evaluate[chromedp.Void](tab, t, `follow({ topics: ['news'], since: '-1' })`)
	eventually(tab, t, fmt.Sprintf(`seen.join() === 'enough' && s.url === %q`, prefixed.URL+"/live/event?topic=news"))
	if n := f.preflights.Load(); n > 0 {
		t.Errorf("%d preflights, want none", n)
	}
	for _, said := range complaints() {
		if !strings.Contains(said, "400") {
			t.Errorf("the browser complained: %s", said)
		}
	}
}

// Each event comes once and in order, whatever happens between a tab and the server.
func TestClientComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	f := newFront(t, s.URL)
	tab := openBrowser(t)
	do(tab, t, chromedp.Navigate(serveOrigin(t, clientPage(f.URL))))
	eventually(tab, t, `window.connect`)
	evaluate[chromedp.Void](tab, t, `follow({ topics: ['numbers'], heartbeat: 400 })`)
	eventually(tab, t, `s.state === 'live'`)
	n := 0
	publish := func() {
		t.Helper()
		_, err := s.Publish(tab, "numbers", "", strconv.Itoa(n), "")
		must(t, err)
		n++
	}
	arrived := func() string { return fmt.Sprintf(`seen.length >= %d`, n) }
	publish()
	eventually(tab, t, arrived())

	// The server is killed. A proxy answers 502, then with an event stream that only has a retry.
	f.answer("502")
	f.cut()
	publish()
	eventually(tab, t, `s.state === 'reconnecting' && s.readyState === 0 && s.detail.wait > 0 && s.detail.status === 502`)
	f.answer("retry: 50\n\n")
	eventuallyHere(t, "it asks again", func() bool { return f.asked("retry: 50\n\n") > 1 })
	f.answer("")
	eventually(tab, t, arrived())
	eventually(tab, t, `states.includes('resumed 1') && s.state === 'resumed'`)

	// The server restarts and drains its streams.
	s.Stop()
	eventually(tab, t, `drains === 1 && s.state === 'reconnecting'`)
	s = apptest.Start(t, dir, "")
	f.to(s.URL)
	publish()
	eventually(tab, t, arrived())

	// The browser is offline.
	state := func(offline bool) {
		t.Helper()
		_, err := chromedp.Call(tab, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{Offline: offline, DownloadThroughput: -1, UploadThroughput: -1}}})
		must(t, err)
		_, err = chromedp.Call(tab, network.OverrideNetworkState, network.OverrideNetworkStateParams{
			Offline: offline, DownloadThroughput: -1, UploadThroughput: -1})
		must(t, err)
	}
	_, err := chromedp.Call(tab, network.Enable, network.EnableParams{})
	must(t, err)
	state(true)
	publish()
	eventually(tab, t, `s.state === 'reconnecting'`)
	state(false)
	eventually(tab, t, arrived())

	// The connection stays open but silent, as after a laptop's sleep.
	opened := f.opened.Load()
	f.hold(true)
	publish()
	eventuallyHere(t, "it asks again", func() bool { return f.opened.Load() > opened })
	f.hold(false)
	eventually(tab, t, arrived())

	if diff := gocmp.Diff(numbers(n), evaluate[[]string](tab, t, `seen`)); diff != "" {
		t.Errorf("numbers, -published +dispatched:\n%s", diff)
	}
	if n := f.preflights.Load(); n > 0 {
		t.Errorf("%d preflights, want none", n)
	}
}

// clientPage is a page that has imported the module. It opens streams with follow(options).
func clientPage(server string) string {
	return fmt.Sprintf(`<!doctype html>
<meta charset="utf-8">
<title>a page of another origin</title>
<script type="module">
import { connect, Stream } from '%s/assets/freshet.js';
Object.assign(window, { connect, Stream, seen: [], states: [], drains: 0, counts: 0, gaps: [] });
window.follow = (options) => {
	const s = window.s = connect(options);
	s.on('*', (e) => seen.push(e.data));
	s.on('counter', () => counts++);
	s.on('drain', () => drains++);
	s.on('gap', (e) => gaps.push(e.data));
	s.on('state', (c) => states.push([c.state, c.events ?? c.reason ?? ''].join(' ').trim()));
};
</script>`, server)
}

// numbers returns 0 to n-1 as text.
func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// eventuallyHere waits until done returns true.
func eventuallyHere(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(5*time.Millisecond), time.After(patience/3)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited until %s", what)
		}
	}
}
