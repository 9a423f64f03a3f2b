//go:build full

package main // it runs main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/app/apptest/browser"

	"github.com/chromedp/chromedp"
)

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

// OpenFeature's provider for OFREP shows a changed flag in an open page: by an event, after a restart of the program, and after its ticket has expired.
func TestFlags(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	buildPage(ctx, t)
	chromium := browser.New()
	t.Cleanup(func() { must(t, chromium.End()) })
	tab := chromium.Open(t)
	address := apptest.FreeAddress(t)
	program := startFlags(ctx, t, address)

	browser.Do(tab, t, chromedp.Navigate(program.URL))
	browser.Eventually(tab, t, shown("old"))
	stream := streamOf(ctx, t, address, "")
	set(ctx, t, address, true)
	browser.Eventually(tab, t, shown("new"))

	program.Kill()
	startFlags(ctx, t, address) // it does not remember the flag
	browser.Eventually(tab, t, shown("old"))

	stream = streamOf(ctx, t, address, stream) // because of the restart
	stream = streamOf(ctx, t, address, stream) // because the ticket has expired
	set(ctx, t, address, true)
	browser.Eventually(tab, t, shown("new"))
	browser.Do(tab, t, chromedp.Reload())
	browser.Eventually(tab, t, shown("new"))
	streamOf(ctx, t, address, stream)
	set(ctx, t, address, false)
	browser.Eventually(tab, t, shown("old"))
}

// buildPage makes the test's folder one with the page and its bundle.
func buildPage(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			apptest.Lacking(t, "FRESHET_REQUIRE_NODE", "%v: install Node.js 20 or newer with npm, on Debian the packages nodejs and npm", err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "index.html", "page.js"} {
		text, err := os.ReadFile(name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	t.Chdir(dir)
	for _, arguments := range []string{"install --no-package-lock --no-audit --no-fund --ignore-scripts", "run build"} {
		if output, err := exec.CommandContext(ctx, "npm", strings.Fields(arguments)...).CombinedOutput(); err != nil {
			t.Fatalf("npm %s: %v\n%s", arguments, err, output)
		}
	}
}

// startFlags returns the program once it answers.
func startFlags(ctx context.Context, t *testing.T, address string) *apptest.Program {
	t.Helper()
	program := apptest.StartProgram(t, "-listen", address, "-lifetime", "3s")
	must(t, apptest.Until(ctx, func() bool {
		response, err := http.Get("http://" + address + "/live/readyz")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil && response.StatusCode == http.StatusOK
	}))
	return program
}

// shown is true if the page shows the checkout.
func shown(checkout string) string {
	return fmt.Sprintf(`document.querySelector('output')?.textContent === '%s'`, checkout)
}

// set sets the flag.
func set(ctx context.Context, t *testing.T, address string, value bool) {
	t.Helper()
	response := ask(ctx, t, http.MethodPut, "http://"+address+"/flags/new-checkout", fmt.Sprint(value))
	_ = response.Body.Close() // it is empty
	if response.StatusCode != http.StatusNoContent {
		t.Fatal(response.Status)
	}
}

// streamOf waits for a stream of the page that is not the given one, and returns its ID.
func streamOf(ctx context.Context, t *testing.T, address, not string) (id string) {
	t.Helper()
	must(t, apptest.Until(ctx, func() bool {
		response := ask(ctx, t, http.MethodGet, "http://"+address+"/live/connections", "")
		defer func() { _ = response.Body.Close() }() // it was read
		var list struct {
			Connections []struct{ ID, Node string }
		}
		must(t, json.NewDecoder(response.Body).Decode(&list))
		for _, c := range list.Connections {
			if id = c.Node + " " + c.ID; id != not {
				return true
			}
		}
		return false
	}))
	return id
}

func ask(ctx context.Context, t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	token, err := os.ReadFile("freshet-data/publish-token")
	must(t, err)
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	return response
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
