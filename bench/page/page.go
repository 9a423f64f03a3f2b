// Package page measures what the dashboard costs its browser, and how soon tabs that share a
// stream have it back.
//
// It opens the page in Chromium: a few times to measure how soon it is live, and then for a given
// time while events are published. Every ten seconds it prints the times between frames, the
// longest task, and the page's memory after a garbage collection. Then tabs share a stream, and
// the tab that reads it stops in each of three ways. The run fails if the page is live too late,
// frames are late, memory grows, or the stream is back too late; with --limits=false it only
// prints that.
//
// The limits are for two cores that server, publisher and browser share.
package page

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet/bench/server"
	"freshet/client"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"
)

// Command is the measure's command line.
type Command struct {
	For    time.Duration `default:"10m" quick:"30s" help:"How long events are published, 30s or more."`
	Rate   int           `default:"1000" help:"Events published a second, 20 or more."`
	Limits bool          `default:"true" quick:"false" negatable:"" help:"Fail if a limit is exceeded."`
}

// Validate checks the flags.
func (c *Command) Validate() error {
	if c.For < 3*interval || c.Rate < 20 {
		return errors.New("--for must be 30s or more, and --rate 20 or more")
	}
	return nil
}

var errLimit = errors.New("limit exceeded")

// The limits for the page.
const (
	mostUsable   = 200 * time.Millisecond // from the navigation until it is live
	mostReplaced = time.Second            // from the end of the tab that reads for all until another one does
	mostFrame    = 50 * time.Millisecond  // between two frames, for 99 % of them
	mostGrowth   = 1.2                    // of the memory, from the first third to the last
	interval     = 10 * time.Second
)

// Run measures, prints the figures, and compares them with the limits.
func (c *Command) Run(ctx context.Context, f *server.Freshet) (err error) {
	p, err := f.Start(ctx, "--log-level", "warn")
	if err != nil {
		return err
	}
	defer p.Stop()
	tab, end, err := openBrowser(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if _, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: recorder}); err != nil {
		return err
	}
	var exceeded []error
	for _, measure := range []func() error{
		func() error { return measureOpening(tab, p.URL()) },
		func() error { return measureBusy(tab, p, c.For, c.Rate) },
		func() error { return measureReplacement(tab, p.URL()) },
	} {
		if err := measure(); errors.Is(err, errLimit) {
			exceeded = append(exceeded, err)
		} else if err != nil {
			return err
		}
	}
	if c.Limits {
		return errors.Join(exceeded...)
	}
	for _, err := range exceeded {
		fmt.Println(err)
	}
	return nil
}

// measureBusy watches the page while events are published.
func measureBusy(tab context.Context, p *server.Process, d time.Duration, rate int) error {
	g, watching := errgroup.WithContext(tab)
	publishing, stop := context.WithCancel(watching)
	g.Go(func() error { return publish(publishing, p, rate) })
	g.Go(func() error {
		defer stop()
		return watch(watching, d)
	})
	return g.Wait()
}

// recorder is a script that records when the page became live, the times between frames, and long
// tasks. The first count comes a second after the page is live.
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

// measureOpening measures how soon the page is live: with an empty cache, and when it is opened again.
func measureOpening(tab context.Context, address string) error {
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
		return fmt.Errorf("%w: the page was live after %v, want at most %v", errLimit, again, mostUsable)
	}
	return nil
}

// publish publishes at the rate on a few topics until ctx is done.
func publish(ctx context.Context, p *server.Process, rate int) error {
	const ticks = 20 // a second
	tick := time.NewTicker(time.Second / ticks)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var messages []client.Message
		for range rate / ticks {
			messages = append(messages, client.Message{
				Topic: fmt.Sprintf("orders.%d", n%20),
				Type:  "order",
				Data:  fmt.Sprintf(`{"id":%d,"items":[{"sku":"A-%d","n":2}],"paid":true}`, n, n%97),
			})
			n++
		}
		if _, err := p.PublishBulk(context.WithoutCancel(ctx), messages); err != nil {
			return err
		}
	}
}

// recorded is what the recorder has recorded since the last time.
type recorded struct {
	Frames  []float64
	Longest float64
	Events  int // that the page got since the log began
}

// watch prints what the page costs until the time is over, and compares it with the limits.
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
		now, err := chromedp.Run(tab, chromedp.Evaluate[recorded](`(() => {
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
		if at > interval { // in the first ten seconds the page fills its tables
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
	fmt.Printf("99 %% of all frames came within %.1f ms; memory was %.1f MB at first and %.1f MB at last\n", p99, from, to)
	var late, grown error
	if p99 > mostFrame.Seconds()*1000 {
		late = fmt.Errorf("%w: 99 %% of frames came within %.1f ms, want %v", errLimit, p99, mostFrame)
	}
	if to > from*mostGrowth {
		grown = fmt.Errorf("%w: the page's memory grew from %.1f MB to %.1f MB", errLimit, from, to)
	}
	return errors.Join(late, grown)
}

// quantile returns a quantile of sorted values.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
