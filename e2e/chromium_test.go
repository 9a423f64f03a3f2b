package e2e_test

import (
	"context"
	"testing"

	"freshet/app/apptest/browser"

	"github.com/chromedp/chromedp"
)

// sharedBrowser is one Chromium for all tests. TestMain ends it.
var sharedBrowser = browser.New()

// The rest are short names of the helpers of package browser.

func openBrowser(t *testing.T) context.Context {
	t.Helper()
	return sharedBrowser.Open(t)
}

func openTab(tab context.Context, t *testing.T) context.Context {
	t.Helper()
	return browser.OpenTab(tab, t)
}

func do(tab context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	browser.Do(tab, t, steps...)
}

func evaluate[T any](tab context.Context, t *testing.T, expression string) T {
	t.Helper()
	return browser.Evaluate[T](tab, t, expression)
}

func eventually(tab context.Context, t *testing.T, expression string) {
	t.Helper()
	browser.Eventually(tab, t, expression)
}
