//go:build full

package main // it runs main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"freshet/app"
	"freshet/app/apptest"
	"freshet/app/apptest/browser"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// A process of this test is the example, or the command freshet publish.
func TestMain(m *testing.M) {
	apptest.MainIfCommand(func() {
		if len(os.Args) > 1 && os.Args[1] == "publish" {
			os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
		}
		main()
	})
	os.Exit(m.Run())
}

// The page has each line of a log once, also if the program was killed and the command publish went on, and no more lines than it may.
func TestLogs(t *testing.T) {
	chromium := browser.New()
	t.Cleanup(func() {
		if err := chromium.End(); err != nil {
			t.Errorf("end the browser: %v", err)
		}
	})
	tab, data := chromium.Open(t), t.TempDir()
	args := []string{"-listen", apptest.FreeAddress(t), "-data", data}
	program := apptest.StartProgram(t, args...)
	browser.Do(tab, t, chromedp.Navigate(program.URL))
	browser.Eventually(tab, t, `document.querySelector('#state').textContent === 'live'`)
	log, publishing := startPublish(t, program, data)

	var want []string
	write := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			line := fmt.Sprintf("%d GET /page <b>%d</b>", i, i)
			want = append(want, "web "+line)
			if _, err := fmt.Fprintln(log, line); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1, 101)
	browser.Eventually(tab, t, lines+`.length === 100`)
	program.Kill()
	write(101, 201)
	program = apptest.StartProgram(t, args...)
	write(201, 301)
	browser.Eventually(tab, t, lines+`.length >= 300`)
	compare(tab, t, lines, want)

	browser.Do(tab, t, chromedp.Click(chromedp.CSS("#pause")))
	write(301, 401)
	browser.Eventually(tab, t, `document.querySelector('#pause').textContent === 'Continue (100)'`)
	compare(tab, t, lines, want[:300])
	browser.Eventually(tab, t, `document.querySelector('#state').textContent === 'paused'`)
	browser.Do(tab, t, chromedp.Click(chromedp.CSS("#pause")))
	compare(tab, t, lines, want)
	browser.Do(tab, t, chromedp.SendKeys(chromedp.CSS("#filter"), "<B>400<"))
	compare(tab, t, visible, want[399:400])

	write(401, 2101)
	browser.Eventually(tab, t, lines+`.at(-1).startsWith('web 2100 ')`)
	compare(tab, t, lines, want[100:])
	compare(tab, t, visible, want[399:400])
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := publishing.Wait(); err != nil {
		t.Errorf("freshet publish: %v", err)
	}
	if err := program.Interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// The lines on the page, and those that the filter shows, in JavaScript.
const (
	lines   = `[...document.querySelectorAll('#rows > li')].map((r) => r.querySelector('b').textContent + ' ' + r.querySelector('span').textContent)`
	visible = `[...document.querySelectorAll('#rows > li:not([hidden])')].map((r) => r.querySelector('b').textContent + ' ' + r.querySelector('span').textContent)`
)

func compare(tab context.Context, t *testing.T, shown string, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, browser.Evaluate[[]string](tab, t, shown)); diff != "" {
		t.Errorf("the page shows (-want +got):\n%s", diff)
	}
}

// startPublish runs freshet publish logs.web, as the page says. The lines that are written to log are its standard input.
func startPublish(t *testing.T, program *apptest.Program, data string) (log io.WriteCloser, publishing *exec.Cmd) {
	t.Helper()
	publishing, err := apptest.Command(t.Context(), "publish", "logs.web", "--url", program.URL+"/live", "--token-file", data+"/publish-token")
	if err != nil {
		t.Fatal(err)
	}
	publishing.Stderr = t.Output()
	if log, err = publishing.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := publishing.Start(); err != nil {
		t.Fatal(err)
	}
	return log, publishing
}
