package e2e_test

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

var errNoBrowser = errors.New("no Chromium in PATH: install it, on Debian the package chromium")

// browser is one Chromium for all tests.
type browser struct {
	start func() (context.Context, error) // starts it once
	end   func() error                    // waits until it has ended
}

func newBrowser() *browser {
	b := &browser{end: func() error { return nil }}
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

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoBrowser
}

// openBrowser returns a tab with an empty profile of its own, which lives until the test ends.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	chrome, err := sharedBrowser.start()
	if errors.Is(err, errNoBrowser) {
		lacking(t, "FRESHET_REQUIRE_BROWSER", "%v", err)
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
	do(tab, t)
	return tab
}

// openTab returns another tab with the profile of this one.
func openTab(tab context.Context, t *testing.T) context.Context {
	t.Helper()
	other, cancel := chromedp.NewContext(tab)
	t.Cleanup(cancel)
	return other
}
