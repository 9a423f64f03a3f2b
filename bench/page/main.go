// Command page measures what the dashboard costs its browser, and how soon tabs that share a
// stream have it back.
//
// It builds the server, starts it as a process of its own with a data folder that it removes,
// and opens its page in Chromium: a few times, for how soon it is live, and then for a given
// time while events are published. Every ten seconds it prints the times between frames, how
// long the longest task held the page up, and what the page holds in memory after a garbage
// collection. At last it has tabs share a stream, and takes the one that reads it from them in
// each of three ways. It ends with exit code 1 where the page is live too late, frames are
// late, the memory grows, or the stream is back too late; without --limits it tells so and
// ends with 0.
//
//	go run ./bench/page [--for 10m] [--rate 1000] [--limits=false] [--binary FILE]
//
// The limits are for two cores that server, publisher and browser share.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"freshet/bench/chromium"
	"freshet/bench/drive"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"
)

var errLimit = errors.New("more than the limit")

// What is asked of the page.
const (
	mostUsable   = 200 * time.Millisecond // from the navigation until it is live
	mostReplaced = time.Second            // from the end of the tab that reads for all until another does
	mostFrame    = 50 * time.Millisecond  // between two frames, but for one in a hundred
	mostGrowth   = 1.2                    // of the memory, from the first third to the last
	interval     = 10 * time.Second
)

func main() {
	d := flag.Duration("for", 10*time.Minute, "time that events are published, 30s or more")
	rate := flag.Int("rate", 1000, "events published a second, 20 or more")
	limits := flag.Bool("limits", true, "fail where a limit is passed")
	binary := flag.String("binary", "", "Freshet binary to measure; default: build this source")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *binary, *d, *rate)
	stop()
	if errors.Is(err, errLimit) && !*limits {
		fmt.Println(err)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, d time.Duration, rate int) (err error) {
	if d < 3*interval || rate < 20 {
		return errors.New("--for or --rate: too little")
	}
	server, end, err := drive.Fresh(ctx, binary, "--log-level", "warn")
	if err != nil {
		return err
	}
	defer end()
	tab, endBrowser, err := chromium.Open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if failed := endBrowser(); failed != nil {
			err = fmt.Errorf("end the browser: %w", failed)
		}
	}()
	if _, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: recorder}); err != nil {
		return err
	}
	var passed []error
	for _, measure := range []func() error{
		func() error { return opened(tab, server.URL) },
		func() error { return busy(tab, server.Client, d, rate) },
		func() error { return replaced(tab, server.URL) },
	} {
		if err := measure(); errors.Is(err, errLimit) {
			passed = append(passed, err)
		} else if err != nil {
			return err
		}
	}
	return errors.Join(passed...)
}

// busy watches the page while events are published.
func busy(tab context.Context, client *drive.Client, d time.Duration, rate int) error {
	g, watching := errgroup.WithContext(tab)
	publishing, stop := context.WithCancel(watching)
	g.Go(func() error { return publish(publishing, client, rate) })
	g.Go(func() error {
		defer stop()
		return watch(watching, d)
	})
	return g.Wait()
}

// recorder notes in the page when its state was live first (the first count comes a second later), the times between frames, and long tasks.
const recorder = `(() => {
	const r = window.recorded = { live: 0, frames: [], longest: 0 };
	let last = 0;
	const frame = (now) => {
		if (last) r.frames.push(now - last);
		last = now;
		if (!r.live && document.querySelector('#state')?.textContent === 'live') r.live = performance.now();
		requestAnimationFrame(frame);
	};
	requestAnimationFrame(frame);
	new PerformanceObserver((list) => {
		for (const { duration } of list.getEntries()) r.longest = Math.max(r.longest, duration);
	}).observe({ entryTypes: ['longtask'] });
})()`

// opened measures how soon the page is live: with nothing cached, and when it is opened again.
func opened(tab context.Context, address string) error {
	var took []time.Duration
	for range 6 {
		if err := chromedp.Do(tab, chromedp.Navigate("about:blank"), chromedp.Navigate(address)); err != nil {
			return err
		}
		ms, err := chromedp.Run(tab, chromedp.Evaluate[float64](`new Promise((done) => {
			const look = () => (recorded.live ? done(recorded.live) : requestAnimationFrame(look));
			look();
		})`, chromedp.EvalAwaitPromise))
		if err != nil {
			return err
		}
		took = append(took, time.Duration(ms*float64(time.Millisecond)).Round(time.Millisecond))
	}
	again := slices.Sorted(slices.Values(took[1:]))[len(took[1:])/2]
	fmt.Printf("live after %v, and %v when opened again\n", took[0], again)
	if again > mostUsable {
		return fmt.Errorf("%w: live after %v, not %v", errLimit, again, mostUsable)
	}
	return nil
}

// publish publishes so many events a second, on some topics and of some types, until ctx is done.
func publish(ctx context.Context, client *drive.Client, rate int) error {
	const ticks = 20 // a second
	tick := time.NewTicker(time.Second / ticks)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var body strings.Builder
		for range rate / ticks {
			fmt.Fprintf(&body, `{"topic":"orders.%d","type":"order","data":"{\"id\":%d,\"items\":[{\"sku\":\"A-%d\",\"n\":2}],\"paid\":true}"}`+"\n", n%20, n, n%97)
			n++
		}
		if _, err := client.PublishMany(context.WithoutCancel(ctx), body.String()); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
}

// taken is what the page's recorder had by some time.
type taken struct {
	Frames  []float64
	Longest float64
	Events  int // that the page has been sent since the log began
}

// watch prints what the page costs until the time is over, and fails where that is too much.
func watch(tab context.Context, d time.Duration) error {
	fmt.Println("   time    events  frames/s   p50 ms   p99 ms   longest ms   longest task ms   memory MB")
	var frames, memory []float64
	events := 0
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for at := interval; at <= d; at += interval {
		select {
		case <-tick.C:
		case <-tab.Done():
			return tab.Err()
		}
		now, err := chromedp.Run(tab, chromedp.Evaluate[taken](`(() => {
			const { frames, longest } = recorded;
			Object.assign(recorded, { frames: [], longest: 0 });
			return { frames, longest, events: Number(document.querySelector('#last-id').textContent.split('-')[1]) };
		})()`))
		if err != nil {
			return err
		}
		if len(now.Frames) == 0 || now.Events <= events {
			return fmt.Errorf("the page draws no frames or no events: %d frames, event %d after %d", len(now.Frames), now.Events, events)
		}
		events = now.Events
		if _, err := chromedp.Call(tab, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
			return err
		}
		heap, err := chromedp.Call(tab, cdpruntime.GetHeapUsage, cdp.Empty{})
		if err != nil {
			return err
		}
		if at > interval { // the first ten seconds fill what the page keeps
			frames = append(frames, now.Frames...)
		}
		memory = append(memory, heap.UsedSize/1e6)
		slices.Sort(now.Frames)
		fmt.Printf("%7v %9d %9.1f %8.1f %8.1f %12.1f %17.0f %11.1f\n", at, now.Events, float64(len(now.Frames))/interval.Seconds(),
			quantile(now.Frames, .5), quantile(now.Frames, .99), quantile(now.Frames, 1), now.Longest, memory[len(memory)-1])
	}
	slices.Sort(frames)
	third := max(len(memory)/3, 1)
	first, last := slices.Sorted(slices.Values(memory[:third])), slices.Sorted(slices.Values(memory[len(memory)-third:]))
	from, to := quantile(first, .5), quantile(last, .5)
	p99 := quantile(frames, .99)
	fmt.Printf("of all frames 99 in 100 came within %.1f ms; memory %.1f MB at first, %.1f MB at last\n", p99, from, to)
	var late, grown error
	if p99 > mostFrame.Seconds()*1000 {
		late = fmt.Errorf("%w: one frame in a hundred took more than %.1f ms, not %v", errLimit, p99, mostFrame)
	}
	if to > from*mostGrowth {
		grown = fmt.Errorf("%w: the page's memory grew from %.1f MB to %.1f MB", errLimit, from, to)
	}
	return errors.Join(late, grown)
}

// quantile is of values in order.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
