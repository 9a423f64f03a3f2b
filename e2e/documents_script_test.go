//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
)

// site is another origin than the server's, with the page that a reader of a document has, and a backend that gets tickets for it.
type site struct {
	server string // the URL of the Freshet server
	token  string
}

// runScript runs a block `js` as a module in Chromium, on the site's page. With the word `node` after the language, it runs in Node.js.
//
// The block prints want to the console. Without a want, it runs to its end. An exception is an error, and so is a failed request.
func (s site) runScript(t *testing.T, b block, want string) error {
	t.Helper()
	switch b.info {
	case "":
		return s.runInBrowser(t, b.text, want)
	case "node":
		return runInNode(t, b.text, want)
	}
	return fmt.Errorf("nothing knows the words %q after js", b.info)
}

func (s site) runInBrowser(t *testing.T, script, want string) error {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><script type="module" src="/script.js"></script>`) // the browser may have closed the page
	})
	const end = "the script has ended"
	mux.HandleFunc("GET /script.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = fmt.Fprintf(w, "%s\nconsole.log(%q);\n", script, end) // likewise
	})
	mux.HandleFunc("POST /api/event-ticket", func(w http.ResponseWriter, r *http.Request) {
		if err := s.ticket(w, r); err != nil {
			t.Errorf("get a ticket: %v", err)
		}
	})
	origin := httptest.NewServer(mux)
	t.Cleanup(origin.Close)

	tab := openBrowser(t)
	ctx, cancel := context.WithTimeout(tab, patience/3)
	defer cancel()
	console := chromedp.Console(ctx)
	do(tab, t, chromedp.Navigate(origin.URL))
	printed := ""
	for m, err := range console {
		switch {
		case err != nil:
			return fmt.Errorf("%w; the script printed:\n%s", err, printed)
		case m.IsException() || m.Source != "" && m.Type == chromedp.ConsoleError && !strings.HasSuffix(m.URL, "/favicon.ico"):
			return fmt.Errorf("%s:%d: %s; the script printed:\n%s", m.URL, m.Line+1, m.Text, printed)
		case m.Source == "" && m.Text != end:
			printed += m.Text + "\n"
		}
		if want == "" && m.Text == end || want != "" && matches(want, printed) == nil {
			return nil
		}
	}
	return errors.New("the console ended")
}

// ticket answers with what the server answers to POST /ticket, as a page's backend does.
func (s site) ticket(w http.ResponseWriter, r *http.Request) error {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, s.server+"/ticket", strings.NewReader(`{"origin":"http://`+r.Host+`"}`))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(response.StatusCode)
	_, err = io.Copy(w, response.Body)
	return err
}

func runInNode(t *testing.T, script, want string) error {
	t.Helper()
	requireNode(t, "node")
	file := filepath.Join(t.TempDir(), "script.mjs")
	must(t, os.WriteFile(file, []byte(script), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), patience/3)
	defer cancel()
	node := exec.CommandContext(ctx, "node", file)
	node.WaitDelay = time.Second
	printed, err := node.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, printed)
	}
	if want == "" {
		return nil
	}
	return matches(want, string(printed))
}

// The test of the documents notices a script that fails.
func TestScriptsOfDocuments(t *testing.T) {
	t.Parallel()
	server := apptest.Start(t, t.TempDir(), "", "--anonymous", "none")
	s := site{server: server.URL, token: server.Token}
	_, err := server.Publish(t.Context(), "orders.eu.paid", "", `{"id":17}`, "")
	must(t, err)
	for name, c := range map[string]struct{ info, script, want, complaint string }{
		"prints an event": {script: `
			import { connect } from '` + s.server + `/assets/freshet.js';
			const ticket = async () => (await (await fetch('/api/event-ticket', { method: 'POST' })).json()).ticket;
			for await (const e of connect({ topics: ['orders.>'], since: 'all', ticket })) console.log(e.topic, e.json());`,
			want: "orders.… {id: 17}\n"},
		"prints nothing":          {script: `globalThis.n = 1;`},
		"prints something else":   {script: `console.log('two'); throw new Error('at the end');`, want: "one\n", complaint: "at the end"},
		"is refused":              {script: `new EventSource('` + s.server + `/event');`, want: "x", complaint: "401"},
		"Node.js throws":          {info: "node", script: `throw new Error('no')`, complaint: "no"},
		"Node.js prints the rest": {info: "node", script: `console.log(1);console.log(2)`, want: "1\n", complaint: "another output"},
		"an unknown word":         {info: "python", complaint: "python"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := s.runScript(t, block{text: c.script, info: c.info}, c.want)
			if (err == nil) != (c.complaint == "") || err != nil && !strings.Contains(err.Error(), c.complaint) {
				t.Errorf("error %v, want %q", err, c.complaint)
			}
		})
	}
}
