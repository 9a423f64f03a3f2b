package e2e_test

import (
	"context"
	"errors"
	"os/exec"
	"slices"

	"github.com/chromedp/chromedp"
)

var errNoChromium = errors.New("no Chromium in PATH: install it, on Debian the package chromium")

// openChromium starts a browser with an empty profile and returns the context of its tab, which
// ends with ctx, and a function that ends the browser and waits for its end. The error may be errNoChromium.
func openChromium(ctx context.Context, options ...chromedp.ExecAllocatorOption) (tab context.Context, end func() error, err error) {
	path, err := findChromium()
	if err != nil {
		return nil, nil, err
	}
	ctx, free := chromedp.NewExecAllocator(ctx, slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // a container may not have one
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		// No name outside this machine resolves.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.WindowSize(1280, 900),
	}, options)...)
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

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoChromium
}
