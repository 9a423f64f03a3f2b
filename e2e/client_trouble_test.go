package e2e_test

import (
	"context"
	"fmt"
	"freshet/app/apptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	gocmp "github.com/google/go-cmp/cmp"
)

// What goes wrong where streams are shared, with several streams on one page: they share as
// those of several tabs do.

// troublePage has a place where read(name, options) puts streams, with what they dispatch.
func troublePage(t *testing.T, server string) context.Context {
	t.Helper()
	tab := openBrowser(t)
	do(tab, t, chromedp.Navigate(serveOrigin(t, clientPage(server))))
	eventually(tab, t, `window.connect`)
	evaluate[chromedp.Void](tab, t, `(() => {
		read = (name, options) => {
			const s = globalThis[name] = connect(options);
			Object.assign(s, { seen: [], gaps: 0, expired: 0, said: [] });
			s.on('>', (e) => s.seen.push(e.data));
			s.on('gap', () => s.gaps++);
			s.on('auth-expired', () => s.expired++);
			s.on('state', ({ state, reason, status }) => s.said.push([state, status, reason].filter(Boolean).join(' ')));
		};
		held = async () => (await navigator.locks.query()).held[0]?.name; // also the channel's name
	})()`)
	return tab
}

// dispatched holds what each of the streams has got against what was published.
func dispatched(tab context.Context, t *testing.T, want []string, names ...string) {
	t.Helper()
	for _, name := range names {
		eventually(tab, t, fmt.Sprintf(`%s.seen.length >= %d`, name, len(want)))
		if diff := gocmp.Diff(want, evaluate[[]string](tab, t, name+`.seen`)); diff != "" {
			t.Errorf("%s, -published +dispatched:\n%s", name, diff)
		}
	}
}

// Tickets that are taken once and no more: whoever leads anew needs another, however often.
func TestClientLeadersThatNeedTicketsAnew(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := troublePage(t, f.URL)
	real, err := ticketOf(tab, s, evaluate[string](tab, t, `location.origin`), "numbers")
	must(t, err)
	var used sync.Map
	f.ticket = func(ticket string) string {
		if _, before := used.LoadOrStore(ticket, true); before {
			return ticket
		}
		return real.Ticket
	}
	evaluate[chromedp.Void](tab, t, `(() => {
		fetched = 0;
		const options = { topics: ['numbers'], identity: 'alice', ticket: async () => 'ticket ' + fetched++ };
		read('a', options);
		read('b', options);
	})()`)
	eventually(tab, t, `[a, b].map((s) => s.role).sort().join() === 'follower,leader'`)
	const switches = 8
	for n := range switches {
		evaluate[chromedp.Void](tab, t, `(async () => {
			leader = [a, b].find((s) => s.role === 'leader');
			await navigator.locks.request(await held(), { steal: true }, async () => {});
		})()`)
		eventually(tab, t, `leader.role === 'follower' && [a, b].every((s) => s.readyState === 1)`)
		_, err := s.Publish(tab, "numbers", "", strconv.Itoa(n), "")
		must(t, err)
		dispatched(tab, t, numbers(n+1), "a", "b")
	}
	if n := evaluate[int](tab, t, `fetched`); n < switches {
		t.Errorf("%d tickets were fetched for %d leaders", n, switches)
	}
}

// A library that keeps tickets hands out an old one for a while after the server has ended it.
func TestClientOldTickets(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := troublePage(t, f.URL)
	real, err := ticketOf(tab, s, evaluate[string](tab, t, `location.origin`), "numbers")
	must(t, err)
	var ended atomic.Bool
	f.ticket = func(ticket string) string {
		if ended.Load() && ticket == "old" {
			return ticket
		}
		return real.Ticket
	}
	evaluate[chromedp.Void](tab, t, `(() => {
		old = 1; may = null;
		read('a', { topics: ['numbers'], ticket: async () => { await may; return old-- > 0 ? 'old' : 'new'; } });
	})()`)
	eventually(tab, t, `a.state === 'live'`)
	evaluate[chromedp.Void](tab, t, `(() => { old = 2; may = new Promise((now) => { hand = now; }); })()`)
	ended.Store(true)
	f.answer(`{"type":"auth-expired","data":"{}"}` + "\n")
	f.cut()
	eventually(tab, t, `a.expired === 1`)
	f.answer("")
	_, err = s.Publish(tab, "numbers", "", "0", "")
	must(t, err)
	evaluate[chromedp.Void](tab, t, `hand()`)
	dispatched(tab, t, numbers(1), "a")
	if old := evaluate[int](tab, t, `old`); old != -1 {
		t.Errorf("%d old tickets are left", old)
	}
}

// Who leads and gets no ticket lets another lead, and goes on as its follower.
func TestClientLeaderWithoutATicket(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := troublePage(t, f.URL)
	real, err := ticketOf(tab, s, evaluate[string](tab, t, `location.origin`), "numbers")
	must(t, err)
	var ended atomic.Bool
	f.ticket = func(ticket string) string {
		if ended.Load() && ticket == "a's" {
			return ticket
		}
		return real.Ticket
	}
	evaluate[chromedp.Void](tab, t, `(() => {
		out = false;
		read('a', { topics: ['numbers'], identity: 'alice', ticket: async () => { if (out) throw new Error('logged out'); return "a's"; } });
	})()`)
	eventually(tab, t, `a.role === 'leader'`)
	evaluate[chromedp.Void](tab, t, `read('b', { topics: ['numbers'], identity: 'alice', ticket: async () => "b's" })`)
	eventually(tab, t, `b.role === 'follower'`)
	evaluate[chromedp.Void](tab, t, `(() => { out = true; })()`)
	ended.Store(true)
	f.cut()
	_, err = s.Publish(tab, "numbers", "", "0", "")
	must(t, err)
	eventually(tab, t, `b.role === 'leader' && a.role === 'follower' && a.said.includes('reconnecting logged out')`)
	_, err = s.Publish(tab, "numbers", "", "1", "")
	must(t, err)
	dispatched(tab, t, numbers(2), "a", "b")
	eventuallyHere(t, "one stream is open", func() bool { return f.open.Load() == 1 })
}

// A tab that is to lead reads already, beside a leader that waits to reconnect: it does not
// pass that on as its own state.
func TestClientLeaderThatTakesOverFromOneThatWaits(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := troublePage(t, f.URL)
	evaluate[chromedp.Void](tab, t, `read('a', { topics: ['numbers'] })`)
	eventually(tab, t, `a.role === 'leader'`)
	evaluate[chromedp.Void](tab, t, `(async () => {
		told = '';
		channel = new BroadcastChannel(await held());
		channel.onmessage = ({ data }) => { if (data.kind === 'beat' && data.peers.length > 1) told = data.status.state; };
	})()`)
	f.answer("retry: 600000\n\n")
	f.cut()
	eventually(tab, t, `a.state === 'reconnecting' && a.detail.wait >= 600000`)
	f.answer("")
	evaluate[chromedp.Void](tab, t, `read('b', { topics: ['numbers'] })`)
	eventually(tab, t, `b.state === 'live' && told === 'reconnecting'`)
	evaluate[chromedp.Void](tab, t, `a.close()`)
	eventually(tab, t, `b.role === 'leader'`)
	evaluate[chromedp.Void](tab, t, `read('c', { topics: ['numbers'] })`)
	eventually(tab, t, `c.role === 'follower' && c.readyState === 1`)
	_, err := s.Publish(tab, "numbers", "", "0", "")
	must(t, err)
	dispatched(tab, t, numbers(1), "b", "c")
	eventuallyHere(t, "one stream is open", func() bool { return f.open.Load() == 1 })
}

// The log has lost its end. A follower may have begun behind what its leader has got: what the
// leader is told concerns it all the same.
func TestClientFollowerAheadOfALogThatWentBack(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "", "--heartbeat", "10m") // as heartbeats say how far the log is
	f := newFront(t, s.URL)
	tab := troublePage(t, f.URL)
	evaluate[chromedp.Void](tab, t, `read('a', { topics: ['numbers'] })`)
	eventually(tab, t, `a.role === 'leader'`)
	_, err := s.Publish(tab, "numbers", "", "0", "")
	must(t, err)
	dispatched(tab, t, numbers(1), "a")
	const others = 10
	for range others {
		_, err := s.Publish(tab, "other", "", "", "")
		must(t, err)
	}
	evaluate[chromedp.Void](tab, t, `read('b', { topics: ['numbers'] })`)
	eventually(tab, t, `b.role === 'follower'`)
	behind, ahead := evaluate[string](tab, t, `a.lastEventId`), evaluate[string](tab, t, `b.lastEventId`)
	epoch, seq, _ := strings.Cut(behind, "-")
	at, err := strconv.Atoi(seq)
	must(t, err)
	if ahead != fmt.Sprint(epoch, "-", at+others) {
		t.Fatalf("the leader is at %s, the follower at %s", behind, ahead)
	}
	back := fmt.Sprint(epoch, "-", at-1)
	f.answer(strings.Join([]string{
		fmt.Sprintf(`{"retry":600000,"id":%q}`, back),
		fmt.Sprintf(`{"id":%q,"type":"gap","data":"{\"requested\":\"%s\",\"first\":\"%s\",\"resumed\":\"%s\",\"reason\":\"unknown\"}"}`, back, behind, back, back),
		fmt.Sprintf(`{"id":%q,"topic":"numbers","data":"again"}`, behind),
		"",
	}, "\n"))
	f.cut()
	dispatched(tab, t, []string{"0", "again"}, "a")
	dispatched(tab, t, []string{"again"}, "b")
	if told := evaluate[string](tab, t, `[a.gaps, b.gaps].join()`); told != "1,1" {
		t.Errorf("gaps told: %s", told)
	}
}

// Streams of one identity that may not read the same have each their own.
func TestClientTicketsForDifferentTopics(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := troublePage(t, f.URL)
	for name, topics := range map[string]string{"numbers": "", "other": ", topics: ['other']"} {
		grant, err := ticketOf(tab, s, evaluate[string](tab, t, `location.origin`), name)
		must(t, err)
		evaluate[chromedp.Void](tab, t, fmt.Sprintf(`read(%q, { ticket: %q, identity: 'alice'%s })`, name, grant.Ticket, topics))
	}
	eventually(tab, t, `numbers.state === 'live' && other.state === 'live' && numbers.role === 'own' && other.role === 'own'`)
	for _, topic := range []string{"numbers", "other"} {
		_, err := s.Publish(tab, topic, "", "of "+topic, "")
		must(t, err)
	}
	dispatched(tab, t, []string{"of numbers"}, "numbers")
	dispatched(tab, t, []string{"of other"}, "other")
}

// Who names nobody shares a ticket with nobody.
func TestClientIdentityOfNobody(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	tab := troublePage(t, f.URL)
	grant, err := ticketOf(tab, s, evaluate[string](tab, t, `location.origin`), "numbers")
	must(t, err)
	evaluate[chromedp.Void](tab, t, fmt.Sprintf(`for (const name of ['a', 'b']) read(name, { topics: ['numbers'], ticket: %q, identity: '' })`, grant.Ticket))
	eventually(tab, t, `a.state === 'live' && b.state === 'live'`)
	_, err = s.Publish(tab, "numbers", "", "0", "")
	must(t, err)
	dispatched(tab, t, numbers(1), "a", "b")
	if got := evaluate[string](tab, t, `held().then((lock) => [a.role, b.role, lock].join())`); got != "own,own," {
		t.Errorf("roles and lock: %s", got)
	}
}

// After close there is no other word, even where a listener closes.
func TestClientClosedByItsListener(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	tab := troublePage(t, s.URL)
	evaluate[chromedp.Void](tab, t, `(() => {
		read('a', { topics: ['numbers'], share: false });
		a.onopen = a.onerror = (e) => a.said.push('then ' + e.type);
		a.on('state', ({ state }) => { if (state === 'live') a.close(); });
	})()`)
	eventually(tab, t, `a.state === 'closed'`)
	if said := evaluate[string](tab, t, `a.said.join()`); said != "live,closed" {
		t.Errorf("said: %s", said)
	}
}

// A laptop that wakes up may hear a heartbeat first: that its silence was long teaches nothing.
func TestClientPatienceAfterASleep(t *testing.T) {
	s := apptest.Start(t, t.TempDir(), "")
	tab := troublePage(t, s.URL)
	evaluate[chromedp.Void](tab, t, `(() => {
		asked = 0;
		globalThis.fetch = async (url, { signal }) => { // a connection of which nothing comes but what the test says
			asked++;
			const body = new ReadableStream({ start(c) {
				line = (text) => c.enqueue(new TextEncoder().encode(text + '\n'));
				signal.addEventListener('abort', () => c.error(signal.reason));
			} });
			return new Response(body, { headers: { 'Content-Type': 'application/x-ndjson' } });
		};
		read('a', { topics: ['numbers'], share: false });
	})()`)
	eventually(tab, t, `asked === 1 && globalThis.line`)
	evaluate[chromedp.Void](tab, t, `line('{"id":"e-1"}')`)
	eventually(tab, t, `a.lastEventId === 'e-1'`)
	evaluate[chromedp.Void](tab, t, `(() => {
		const now = Date.now;
		slept = 3600e3;
		Date.now = () => now() + slept;
		line('{"id":"e-2"}');
	})()`)
	eventually(tab, t, `a.lastEventId === 'e-2' || asked > 1`) // unless the module has seen the sleep before
	evaluate[chromedp.Void](tab, t, `(() => { slept += 60e3; })()`)
	eventually(tab, t, `asked > 1`)
}
