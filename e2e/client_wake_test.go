package e2e_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"freshet/app/apptest"

	window "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	gocmp "github.com/google/go-cmp/cmp"
)

// A network that forgets a connection tells nobody. A page that comes to the front reconnects as soon as a heartbeat is missing, long
// before it would take the silence for an end, whether it reads by itself or a tab in the background reads for it.
func TestClientComesToTheFront(t *testing.T) {
	t.Parallel()
	for front, roles := range map[string][]string{"own": {"own"}, "follower": {"leader", "follower"}} {
		t.Run(front, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, t.TempDir(), "")
			f := newFront(t, s.URL)
			first := openBrowser(t)
			origin := serveOrigin(t, clientPage(f.URL))
			tabs := map[string]context.Context{}
			for _, role := range roles {
				tab := openTab(first, t)
				tabs[role] = tab
				do(tab, t, chromedp.Navigate(origin))
				eventually(tab, t, `window.connect`)
				evaluate[chromedp.Void](tab, t, fmt.Sprintf(`follow({ topics: ['numbers'], share: %t })`, role != "own"))
				eventually(tab, t, fmt.Sprintf(`s.role === '%s' && s.state === 'live'`, role))
			}
			const n = 3
			for i := range n {
				_, err := s.Publish(t.Context(), "numbers", "", strconv.Itoa(i), "")
				must(t, err)
				if i > 0 {
					continue
				}
				for _, tab := range tabs {
					eventually(tab, t, `seen.length === 1`)
					show(tab, t, window.WindowStateMinimized, "hidden")
				}
				f.hold(true)
			}
			// One heartbeat is missing, and more must be missing until a page takes the silence for an end. First the page reads what was on its way
			// when the network stopped.
			for _, tab := range tabs {
				evaluate[chromedp.Void](tab, t, `setTimeout(() => {
					const now = Date.now;
					Date.now = () => now() + 20_000;
					setTimeout(() => { ticked = true; }, 1001);
				}, 1001)`)
			}
			for _, tab := range tabs { // once timers are late no more, only an event can wake the page
				eventually(tab, t, `window.ticked`)
			}
			show(tabs[front], t, window.WindowStateNormal, "visible")
			for role, tab := range tabs {
				t.Cleanup(func() {
					if t.Failed() {
						t.Log(role, evaluate[string](tab, t, `JSON.stringify([seen, states, s.state, s.role, document.visibilityState, window.ticked])`))
					}
				})
				eventually(tab, t, `seen.length >= 3 && states.some((s) => s.startsWith('resumed'))`)
				why := evaluate[string](tab, t, `states.filter((s) => s.startsWith('reconnecting')).join()`)
				if why != "reconnecting the page may have slept, and the server sent no heartbeat" {
					t.Errorf("%s: %s", role, why)
				}
				if diff := gocmp.Diff(numbers(n), evaluate[[]string](tab, t, `seen`)); diff != "" {
					t.Errorf("%s, -published +dispatched:\n%s", role, diff)
				}
			}
		})
	}
}

// show puts the tab's window into the state, and waits until the page knows.
func show(tab context.Context, t *testing.T, state window.WindowState, visibility string) {
	t.Helper()
	w, err := chromedp.Call(tab, window.GetWindowForTarget, window.GetWindowForTargetParams{})
	must(t, err)
	_, err = chromedp.Call(tab, window.SetWindowBounds, window.SetWindowBoundsParams{WindowID: w.WindowID, Bounds: &window.Bounds{WindowState: state}})
	must(t, err)
	eventually(tab, t, fmt.Sprintf(`document.visibilityState === '%s'`, visibility))
}
