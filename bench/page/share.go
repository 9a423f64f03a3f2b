package page

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// ways are the ways in which a tab may stop reading for the others.
var ways = []struct {
	name string
	end  func(tab context.Context) error
}{
	{"is closed", chromedp.Cancel},
	{"is frozen", func(tab context.Context) error {
		_, err := chromedp.Call(tab, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateFrozen})
		return err
	}},
	{"hangs", func(tab context.Context) error {
		return chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](`void setTimeout(() => { for (const end = Date.now() + 5000; Date.now() < end;); })`))
	}},
}

// measureReplacement measures how soon another tab reads the shared stream after the tab that read
// it has stopped.
func measureReplacement(browser context.Context, address string) error {
	const rounds = 3
	took := make([][]time.Duration, len(ways))
	for range rounds {
		if err := round(browser, address, took); err != nil {
			return fmt.Errorf("tabs that share a stream: %w", err)
		}
	}
	var late []error
	for i, way := range ways {
		slices.Sort(took[i])
		most := took[i][rounds-1]
		fmt.Printf("the tab that reads for all %s: replaced after %v, at most %v\n", way.name, took[i][rounds/2], most)
		if most > mostReplaced {
			late = append(late, fmt.Errorf("%w: a tab that %s was replaced after %v, want at most %v", errLimit, way.name, most, mostReplaced))
		}
	}
	return errors.Join(late...)
}

// round adds the time of each of the ways to took.
func round(browser context.Context, address string, took [][]time.Duration) (err error) {
	var tabs []context.Context
	defer func() {
		for _, tab := range tabs[min(1, len(tabs)):] { // the first was closed
			err = errors.Join(err, chromedp.Cancel(tab))
		}
	}()
	for range len(ways) + 1 {
		tab, _ := chromedp.NewContext(browser) // ended by Cancel
		tabs = append(tabs, tab)
		err := chromedp.Do(tab, chromedp.Navigate(address), chromedp.Evaluate[chromedp.Void](`import('/assets/freshet.js').then(({ connect }) => {
			window.s = connect({ topics: ['news'], identity: 'of no other page' });
		})`, chromedp.EvalAwaitPromise))
		if err != nil {
			return err
		}
		want := "follower"
		if len(tabs) == 1 {
			want = "leader"
		}
		if _, err := find(tabs[len(tabs)-1:], want); err != nil {
			return err
		}
	}
	reads, others := tabs[0], slices.Clone(tabs[1:])
	for i, way := range ways {
		begun := time.Now()
		if err := way.end(reads); err != nil {
			return err
		}
		next, err := find(others, "leader")
		if err != nil {
			return err
		}
		took[i] = append(took[i], time.Since(begun).Round(time.Millisecond))
		reads = others[next]
		others = slices.Delete(others, next, next+1)
	}
	return nil
}

// find waits until one of the tabs has the role, and returns its index.
func find(tabs []context.Context, role string) (int, error) {
	ctx, cancel := context.WithTimeout(tabs[0], 20*time.Second)
	defer cancel()
	for tick := time.Tick(5 * time.Millisecond); ; {
		for i, tab := range tabs {
			has, err := chromedp.Run(tab, chromedp.Evaluate[string](`s.role`))
			if err != nil || has == role {
				return i, err
			}
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return 0, fmt.Errorf("no tab became %s: %w", role, ctx.Err())
		}
	}
}
