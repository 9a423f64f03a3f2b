//go:build full

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"freshet/app/apptest"
	"freshet/app/apptest/browser"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// Each customer sees their own orders, the staff sees all, and a change is on the page of its customer at once, also after the program was killed.
func TestOrders(t *testing.T) {
	chromium := browser.New()
	t.Cleanup(func() {
		if err := chromium.End(); err != nil {
			t.Errorf("end the browser: %v", err)
		}
	})
	alice, bob, staff := chromium.Open(t), chromium.Open(t), chromium.Open(t)
	args := []string{"-listen", apptest.FreeAddress(t), "-data", t.TempDir()}
	program := apptest.StartProgram(t, args...)
	logIn(alice, t, program, "alice")
	logIn(bob, t, program, "bob")
	logIn(staff, t, program, "staff")

	order(alice, t, "tea")
	shows(alice, t, "tea placed")
	order(bob, t, "<i>coffee</i>")
	shows(bob, t, "<i>coffee</i> placed")
	shows(staff, t, "<i>coffee</i> placed", "tea placed")
	press(staff, t, "tea")
	shows(alice, t, "tea packed")
	program.Kill()
	program = apptest.StartProgram(t, args...)
	press(staff, t, "tea")
	shows(alice, t, "tea sent")
	order(bob, t, "cake")
	shows(bob, t, "cake placed", "<i>coffee</i> placed")
	shows(staff, t, "cake placed", "<i>coffee</i> placed", "tea sent")
	shows(alice, t, "tea sent")
	browser.Do(alice, t, chromedp.Reload())
	shows(alice, t, "tea sent")

	other := browser.OpenTab(alice, t)
	browser.Do(other, t, chromedp.Navigate(program.URL))
	shows(other, t, "tea sent")
	if _, err := chromedp.RunResponse(alice, chromedp.Click(chromedp.CSS("#logout"))); err != nil {
		t.Fatal(err)
	}
	for _, tab := range []context.Context{alice, other} {
		browser.Do(tab, t, chromedp.WaitVisible(chromedp.CSS(`[value="bob"]`)))
	}
	if err := program.Interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

func logIn(tab context.Context, t *testing.T, program *apptest.Program, user string) {
	t.Helper()
	browser.Do(tab, t, chromedp.Navigate(program.URL))
	if _, err := chromedp.RunResponse(tab, chromedp.Click(chromedp.CSS(fmt.Sprintf(`[value=%q]`, user)))); err != nil {
		t.Fatal(err)
	}
	browser.Eventually(tab, t, `document.querySelector('#state').textContent === 'live'`)
}

func order(tab context.Context, t *testing.T, item string) {
	t.Helper()
	browser.Do(tab, t, chromedp.SetValue(chromedp.CSS(`[name="item"]`), item), chromedp.Click(chromedp.CSS("#order button")))
}

// press presses the button of an order on the page of the staff.
func press(tab context.Context, t *testing.T, item string) {
	t.Helper()
	browser.Evaluate[bool](tab, t, fmt.Sprintf(`[...document.querySelectorAll('#orders > li')].find((o) => o.querySelector('.item').textContent === %q).querySelector('button').click() ?? true`, item))
}

// shows waits for the orders on the page, newest first, and their states.
func shows(tab context.Context, t *testing.T, want ...string) {
	t.Helper()
	const shown = `[...document.querySelectorAll('#orders > li')].map((o) => o.querySelector('.item').textContent + ' ' + o.querySelector('.now').textContent)`
	encoded, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	browser.Eventually(tab, t, fmt.Sprintf(`JSON.stringify(%s.sort()) === JSON.stringify(%s.sort())`, shown, encoded))
	if diff := cmp.Diff(want, browser.Evaluate[[]string](tab, t, shown)); diff != "" {
		t.Errorf("the page shows (-want +got):\n%s", diff)
	}
}
