// Package browser runs Chromium for tests.
//
//   - [New] returns a browser, which starts with its first tab.
//   - [Browser.Open] opens a tab with an empty profile, and [OpenTab] another tab with the same profile. They close with the test.
//   - [Do], [Evaluate] and [Eventually] use a tab. An error ends the test.
//
// Without Chromium, a test is skipped, or fails with FRESHET_REQUIRE_BROWSER=1. The browser reaches only 127.0.0.1.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
)

// patience bounds the life of a tab. A test takes a few seconds if nothing is broken.
const patience = time.Minute

var errNoBrowser = errors.New("no Chromium in PATH: install it, on Debian the package chromium")

// Browser is one Chromium, for any number of tests.
type Browser struct {
	start func() (context.Context, error) // starts it once
	end   func() error
}

// New returns a browser that does not run yet. The caller calls End.
func New() *Browser {
	b := &Browser{end: func() error { return nil }}
	b.start = sync.OnceValues(func() (context.Context, error) {
		path, err := findChromium()
		if err != nil {
			return nil, err
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path),
			chromedp.NoSandbox, // a container may not have one
			chromedp.DisableGPU,
			chromedp.Flag("disable-component-update", true),
			chromedp.Flag("disable-domain-reliability", true),
			// No host outside this machine has an address.
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
			chromedp.WindowSize(1280, 900))
		allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, _ := chromedp.NewContext(allocator) // Cancel ends it, and waits for the browser
		b.end = func() error {
			err := chromedp.Cancel(ctx)
			free()
			return err
		}
		return ctx, chromedp.Do(ctx)
	})
	return b
}

// End ends the browser, if it was started, and waits until it has ended.
func (b *Browser) End() error { return b.end() }

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoBrowser
}

// Open returns a tab with an empty profile of its own, which lives until the test ends.
func (b *Browser) Open(t *testing.T) context.Context {
	t.Helper()
	chrome, err := b.start()
	if errors.Is(err, errNoBrowser) {
		apptest.Lacking(t, "FRESHET_REQUIRE_BROWSER", "%v", err)
	}
	must(t, err)
	ctx, cancel := context.WithTimeout(chrome, patience)
	tab, _ := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(func() {
		if err := chromedp.Cancel(tab); err != nil {
			t.Errorf("close the tab: %v", err)
		}
		cancel()
	})
	Do(tab, t)
	return tab
}

// OpenTab returns another tab with the profile of this one.
func OpenTab(tab context.Context, t *testing.T) context.Context {
	t.Helper()
	other, cancel := chromedp.NewContext(tab)
	t.Cleanup(cancel)
	return other
}

// Do runs the steps.
func Do(tab context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	must(t, chromedp.Do(tab, steps...))
}

// Evaluate returns the value of the JavaScript expression, or of the promise that it is.
func Evaluate[T any](tab context.Context, t *testing.T, expression string) T {
	t.Helper()
	value, err := chromedp.Run(tab, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// Eventually waits until the JavaScript expression is true. [chromedp.Poll] would compile text within the page, which a page's policy may forbid.
func Eventually(tab context.Context, t *testing.T, expression string) {
	t.Helper()
	tick, limit := time.NewTicker(20*time.Millisecond), time.After(patience/3)
	defer tick.Stop()
	for !Evaluate[bool](tab, t, fmt.Sprintf("Boolean(%s)", expression)) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited for %s; the page by now:\n%s", expression,
				Evaluate[string](tab, t, `location.href + '\n' + document.body.innerText`))
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
