package main // it runs main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/app/apptest/browser"

	"github.com/chromedp/chromedp"
)

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

const (
	begun = `document.querySelector('#text')?.textContent.length > 20`
	ended = `document.querySelector('#state').textContent === 'The answer has ended.'`
)

// An answer is whole and the same in all tabs, after a reload, and after the program was killed in its midst. The stop button ends it early.
func TestAnswers(t *testing.T) {
	chromium := browser.New()
	t.Cleanup(func() {
		if err := chromium.End(); err != nil {
			t.Errorf("end the browser: %v", err)
		}
	})
	first := chromium.Open(t)
	second := browser.OpenTab(first, t)
	args := []string{"-listen", apptest.FreeAddress(t), "-data", t.TempDir()}
	program := apptest.StartProgram(t, args...)

	ask(first, t, program)
	browser.Eventually(first, t, begun)
	readToo(second, t, first)
	browser.Do(second, t, chromedp.Click(chromedp.CSS("#stop")))
	browser.Eventually(first, t, ended)
	browser.Eventually(second, t, ended)
	if text := textOf(first, t); text == words || !strings.HasPrefix(words, text) || text != textOf(second, t) {
		t.Errorf("a stopped answer is %q in one tab, and %q in the other", text, textOf(second, t))
	}

	ask(first, t, program)
	browser.Eventually(first, t, begun)
	readToo(second, t, first)
	browser.Do(first, t, chromedp.Reload())
	browser.Eventually(first, t, begun)
	browser.Eventually(second, t, begun)
	program.Kill()
	if text := textOf(second, t); !strings.HasPrefix(words, text) || text == words {
		t.Fatalf("the program was not killed in the midst of an answer: %q", text)
	}
	program = apptest.StartProgram(t, append(args, "-rate", "1000")...)
	for _, tab := range []context.Context{first, second} {
		browser.Eventually(tab, t, ended)
		if text := textOf(tab, t); text != words {
			t.Errorf("an answer is %q", text)
		}
	}
	browser.Do(second, t, chromedp.Reload())
	browser.Eventually(second, t, ended)
	if text := textOf(second, t); text != words {
		t.Errorf("after its end, an answer is %q", text)
	}
	if err := program.Interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// A pattern is no answer: its ticket would be for all of them.
func TestNoTicketForAllAnswers(t *testing.T) {
	program := apptest.StartProgram(t, "-listen", apptest.FreeAddress(t), "-data", t.TempDir())
	for id, want := range map[string]int{"17": http.StatusOK, "%3E": http.StatusNotFound, "*": http.StatusNotFound} {
		response, err := http.Post(program.URL+"/answers/"+id+"/ticket", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("a ticket for %s: %s, want %d", id, response.Status, want)
		}
	}
}

// ask presses the button of the first page, and waits for the page of the answer.
func ask(tab context.Context, t *testing.T, program *apptest.Program) {
	t.Helper()
	browser.Do(tab, t, chromedp.Navigate(program.URL))
	if _, err := chromedp.RunResponse(tab, chromedp.Click(chromedp.CSS("#ask"))); err != nil {
		t.Fatal(err)
	}
}

// readToo opens the page of another tab.
func readToo(tab context.Context, t *testing.T, other context.Context) {
	t.Helper()
	browser.Do(tab, t, chromedp.Navigate(browser.Evaluate[string](other, t, `location.href`)))
	browser.Eventually(tab, t, begun)
}

func textOf(tab context.Context, t *testing.T) string {
	t.Helper()
	return browser.Evaluate[string](tab, t, fmt.Sprintf(`document.querySelector(%q).textContent`, "#text"))
}
