//go:build full

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	gocmp "github.com/google/go-cmp/cmp"
)

// All tabs of an origin read one stream. The tab that reads may be closed or frozen or hang, and the
// server may be away: each tab still gets each event of its topics once and in order.
//
// It does not run in parallel: tabs that compete with many others take turns too slowly to be told from hanging ones.
func TestClientTabs(t *testing.T) {
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	f := newFront(t, s.URL)
	browser := openBrowser(t)
	origin := serveOrigin(t, clientPage(f.URL))
	begin := func(tab context.Context, options string) {
		t.Helper()
		do(tab, t, chromedp.Navigate(origin))
		eventually(tab, t, `window.connect`)
		evaluate[chromedp.Void](tab, t, fmt.Sprintf(`follow(%s)`, options))
	}
	open := func(options string) context.Context {
		t.Helper()
		tab := openTab(browser, t)
		begin(tab, options)
		return tab
	}
	p := publishNumbers(t, s, 0, "numbers", "other")
	p.more(50)
	a := open(`{ topics: ['numbers'], since: 'all' }`)
	eventually(a, t, `s.role === 'leader'`)
	b := open(`{ topics: ['numbers', 'counter'] }`)
	c := open(`{ topics: ['other'], since: 'all' }`)
	streams := int64(1)
	follows := func(tabs ...context.Context) {
		t.Helper()
		for _, tab := range tabs {
			eventually(tab, t, `s.role === 'follower'`)
		}
		eventuallyHere(t, "no more streams are open", func() bool { return f.open.Load() == streams })
		p.more(50)
	}
	follows(b, c)
	eventually(b, t, `counts > 2`)
	must(t, chromedp.Cancel(a))
	leads := func(tabs ...context.Context) (leader context.Context, others []context.Context) {
		t.Helper()
		eventuallyHere(t, "one leads", func() bool {
			leader, others = nil, nil
			for _, tab := range tabs {
				if evaluate[string](tab, t, `s.role`) == "leader" {
					leader = tab
				} else {
					others = append(others, tab)
				}
			}
			return leader != nil
		})
		return leader, others
	}
	leader, others := leads(b, c)
	follows(others...)

	// A frozen tab keeps its lock, unless the module releases it.
	d := open(`{ topics: ['numbers', 'counter'], since: 'all' }`)
	streams++
	e := open(`{ topics: ['other'], since: 'all', share: false }`)
	follows(append(others, d)...)
	frozen := leader
	lifecycle(t, frozen, page.SetWebLifecycleStateStateFrozen)
	leader, others = leads(append(others, d)...)
	p.more(100)
	lifecycle(t, frozen, page.SetWebLifecycleStateStateActive)
	eventually(frozen, t, `s.role === 'follower'`)
	p.more(50)

	// A leader that hangs cannot say so. It waits for an answer that comes after another tab has taken over.
	answer := make(chan struct{})
	release := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(release)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		<-answer
	}))
	t.Cleanup(slow.Close)
	evaluate[chromedp.Void](leader, t, fmt.Sprintf(`void setTimeout(() => {
		const request = new XMLHttpRequest();
		request.open('GET', %q, false); // which blocks the page
		request.send();
	})`, slow.URL))
	hanging := leader
	leader, others = leads(append(others, frozen)...)
	p.more(50)
	release()
	eventually(hanging, t, `s.role === 'follower'`)
	p.more(50)
	others = append(others, hanging)
	all := append([]context.Context{leader, e}, others...)

	// The server restarts, with a 502 in between.
	p.stop()
	f.answer("502")
	f.cut()
	for _, tab := range all {
		eventually(tab, t, `s.state === 'reconnecting'`)
	}
	s.Stop()
	s = apptest.Start(t, dir, "")
	f.to(s.URL)
	p = publishNumbers(t, s, p.n.Load(), "numbers", "other")
	p.more(50)
	f.answer("")
	for _, tab := range all {
		eventually(tab, t, `states.some((s) => s.startsWith('resumed '))`)
	}
	p.more(50)
	p.stop()
	n := int(p.n.Load())
	for i, tab := range all {
		eventually(tab, t, fmt.Sprintf(`seen.at(-1) === '%d'`, n-1))
		got := evaluate[[]string](tab, t, `seen`)
		from, err := strconv.Atoi(got[0])
		must(t, err)
		if tab != b && from != 0 {
			t.Errorf("tab %d begins with %d", i, from)
		}
		if diff := gocmp.Diff(numbers(n)[from:], got); diff != "" {
			t.Errorf("tab %d, -published +dispatched:\n%s", i, diff)
		}
		if gaps := evaluate[[]string](tab, t, `gaps`); len(gaps) > 0 {
			t.Errorf("tab %d was told of gaps: %s", i, gaps)
		}
	}
}

func lifecycle(t *testing.T, tab context.Context, state page.SetWebLifecycleStateState) {
	t.Helper()
	_, err := chromedp.Call(tab, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
	must(t, err)
}

// publisher publishes increasing numbers to each of its topics until it is stopped.
type publisher struct {
	t       *testing.T
	n       atomic.Int64
	stop    func()
	ticking *time.Ticker
}

func publishNumbers(t *testing.T, s *apptest.Server, from int64, topics ...string) *publisher {
	t.Helper()
	p := &publisher{t: t, ticking: time.NewTicker(2 * time.Millisecond)}
	p.n.Store(from)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			for _, topic := range topics {
				number := strconv.FormatInt(p.n.Load(), 10)
				if _, err := s.Publish(context.WithoutCancel(ctx), topic, "", number, ""); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
			p.n.Add(1)
			<-p.ticking.C
		}
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		p.ticking.Stop()
	})
	t.Cleanup(p.stop)
	return p
}

// until waits until n numbers have been published.
func (p *publisher) until(n int64) {
	p.t.Helper()
	eventuallyHere(p.t, "the numbers are published", func() bool { return p.n.Load() >= n })
}

func (p *publisher) more(n int64) {
	p.t.Helper()
	p.until(p.n.Load() + n)
}
