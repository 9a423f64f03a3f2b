package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
)

// maxPageBytes is how much the page loads, compressed and without headers: it is for slow networks too.
const maxPageBytes = 44 << 10

// The page is small, fits 360 pixels, does not shift while figures grow, and is accessible.
func TestDashboardPage(t *testing.T) {
	t.Parallel()
	modules := installNodeModules(t)
	axe, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	must(t, err)
	s := apptest.Start(t, t.TempDir(), "")
	tab := openBrowser(t)
	for i := range 30 {
		_, err := s.Publish(tab, fmt.Sprintf("orders.%d", i%3), "order", `{"n":1,"items":[{"sku":"A-17"},{"sku":"B-3"}]}`, "")
		must(t, err)
	}
	openDashboard(tab, t, s.URL+"/#token="+s.Token)
	eventually(tab, t, words("#log-bytes, #log .value", "0")+` === false && document.querySelectorAll('#rows .line').length === 30`)

	if top := evaluate[float64](tab, t, `document.querySelector('#rows').getBoundingClientRect().top`); top > 300 {
		t.Errorf("at 1280×900 the feed begins at %v", top)
	}
	const inSight = `[...document.querySelectorAll('#rows .line')].filter((line) => line.getBoundingClientRect().bottom <= innerHeight).length`
	if rows := evaluate[int](tab, t, inSight); rows < 25 {
		t.Errorf("at 1280×900 the feed shows %d rows", rows)
	}
	if !evaluate[bool](tab, t, `[...document.querySelectorAll('#rows .data')].every((data) => data.querySelector('.string') && data.querySelector('.key'))`) {
		t.Error("the JSON has no colours")
	}
	if fields := evaluate[[]string](tab, t, `[...document.querySelectorAll('input, textarea')].filter((e) => e.placeholder || e.value).map((e) => e.outerHTML)`); len(fields) > 0 {
		t.Errorf("these fields do not look empty: %q", fields)
	}
	if got := evaluate[string](tab, t, `(({ textContent, title }) => textContent + ' ' + title)(document.querySelector('#rows .id'))`); !regexp.MustCompile(`^30 [a-z0-9]+-30$`).MatchString(got) {
		t.Errorf("the ID and its title are %q", got)
	}

	size := evaluate[int](tab, t, `performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))
		.filter((e) => !e.name.includes('/event')).reduce((sum, e) => sum + e.encodedBodySize, 0)`)
	t.Logf("the page loads %d bytes", size)
	if size < maxPageBytes/2 || size > maxPageBytes {
		t.Errorf("the page loads %d bytes, want at most %d", size, maxPageBytes)
	}
	if shift := evaluate[float64](tab, t, `new Promise((done) => new PerformanceObserver((list) => {
		const inFeed = ({ node }) => (node?.closest ? node : node?.parentElement)?.closest('#rows, #topics');
		done(list.getEntries().filter((e) => !e.sources.every(inFeed)).reduce((sum, e) => sum + e.value, 0));
	}).observe({ type: 'layout-shift', buffered: true }) || setTimeout(() => done(0), 500))`); shift > 0.01 {
		t.Errorf("the layout shifts by %v", shift)
	}

	evaluate[chromedp.Void](tab, t, string(axe)+";0")
	click(tab, t, "#rows li:nth-child(2) .line")
	for _, width := range []int64{1280, 360} {
		do(tab, t, chromedp.EmulateViewport(width, 780))
		evaluate[chromedp.Void](tab, t, `document.querySelector('#publish').open = true`)
		for _, view := range []string{"connections", "connect", "feed"} {
			click(tab, t, "#tab-"+view)
			eventually(tab, t, `document.documentElement.scrollWidth <= innerWidth`)
			// The theme matters only to contrast.
			for theme, options := range map[string]string{"light": `{ resultTypes: ['violations'] }`, "dark": `{ runOnly: ['color-contrast'] }`} {
				violations := evaluate[[]string](tab, t, fmt.Sprintf(`(document.documentElement.dataset.theme = %q, axe.run(%s))
					.then(({ violations }) => violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html + ' ' + n.failureSummary).join('\n')))`, theme, options))
				if len(violations) > 0 {
					t.Errorf("%s, %s, %d pixels:\n%s", view, theme, width, strings.Join(violations, "\n"))
				}
			}
		}
	}
}
