package page

import (
	"context"
	"errors"
	"os/exec"
	"slices"

	"github.com/chromedp/chromedp"
)

// openBrowser starts Chromium with an empty profile and returns the context of its tab, and a
// function that ends the browser.
func openBrowser(ctx context.Context) (tab context.Context, end func() error, err error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		path, err = exec.LookPath("google-chrome")
	}
	if err != nil {
		return nil, nil, errors.New("there is no Chromium in PATH: install it, on Debian the package chromium")
	}
	ctx, free := chromedp.NewExecAllocator(ctx, slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // a container may not have one
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), // no name outside resolves
		chromedp.WindowSize(1280, 900),
	})...)
	tab, _ = chromedp.NewContext(ctx) // ended by Cancel, which waits for the browser
	end = func() error {
		err := chromedp.Cancel(tab)
		free()
		return err
	}
	if err := chromedp.Do(tab); err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return tab, end, nil
}
