//go:build full

package main // it runs main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"testing"

	"freshet/app/apptest"
	"freshet/app/apptest/browser"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

const half = `document.querySelector('#bar')?.value >= 20`

// A job goes on after the program was killed. Its page shows each picture once, from where it was opened up to the end, and so does the page after a reload.
func TestProgress(t *testing.T) {
	chromium := browser.New()
	t.Cleanup(func() {
		if err := chromium.End(); err != nil {
			t.Errorf("end the browser: %v", err)
		}
	})
	first := chromium.Open(t)
	second := browser.OpenTab(first, t)
	args := []string{"-listen", apptest.FreeAddress(t), "-data", t.TempDir()}
	program := apptest.StartProgram(t, append(args, "-rate", "50")...)
	browser.Do(first, t, chromedp.Navigate(program.URL))
	if _, err := chromedp.RunResponse(first, chromedp.Click(chromedp.CSS("#start"))); err != nil {
		t.Fatal(err)
	}
	job := browser.Evaluate[string](first, t, `location.href`)
	record(first, t)
	browser.Eventually(first, t, half)
	browser.Do(second, t, chromedp.Navigate(job))
	browser.Eventually(second, t, half) // at once: what has passed does not come again
	record(second, t)
	program.Kill()
	program = apptest.StartProgram(t, append(args, "-rate", "1000")...)
	for _, tab := range []context.Context{first, second} {
		isDone(tab, t)
		seen := browser.Evaluate[[]int](tab, t, `seen`)
		want := []int{}
		for n := seen[0]; n <= 100; n++ {
			want = append(want, n)
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("the bar showed (-want +got):\n%s", diff)
		}
	}
	browser.Do(first, t, chromedp.Reload())
	isDone(first, t)

	var history struct{ Events []struct{ Type string } }
	response, err := http.Get(program.URL + "/live/history?limit=1000&topic=jobs." + path.Base(job))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&history); err != nil || len(history.Events) != 102 || history.Events[101].Type != "end" {
		t.Errorf("the log has %d events, want 0 to 100 and the end: %v", len(history.Events), err)
	}
	if err := program.Interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// record notes what the bar shows: the first picture that it knows, and all from then on.
func record(tab context.Context, t *testing.T) {
	t.Helper()
	browser.Eventually(tab, t, `document.querySelector('#text').textContent`)
	browser.Evaluate[int](tab, t, `globalThis.seen = [document.querySelector('#bar').value],
		new MutationObserver((changes) => seen.push(...changes.map((c) => Number(c.addedNodes[0].data.split(' ')[0])))).observe(document.querySelector('#text'), { childList: true }), 0`)
}

func isDone(tab context.Context, t *testing.T) {
	t.Helper()
	browser.Eventually(tab, t, fmt.Sprintf(`document.querySelector('#state').textContent === %q`, "The job is done."))
	if text := browser.Evaluate[string](tab, t, `document.querySelector('#text').textContent`); text != "100 of 100 pictures" {
		t.Errorf("the page says %q", text)
	}
}
