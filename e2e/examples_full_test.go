//go:build full

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
)

// The examples whose pages use a library of npm: each note is on the page once and in order, also after the program was drained, killed, and
// replaced for a moment by a proxy that answers with an error.
func TestExamplesOfLibraries(t *testing.T) {
	t.Parallel()
	programs := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", programs+string(filepath.Separator), "./htmx", "./datastar", "./turbo")
	build.Dir = filepath.Join(top, "examples")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for name, c := range map[string]struct {
		example   string
		arguments []string
		stops     bool // for good, at an error status
	}{
		"htmx 2":   {"htmx", nil, false},
		"htmx 4":   {"htmx", []string{"-htmx", "4"}, false},
		"Datastar": {"datastar", nil, false},
		"Turbo":    {"turbo", nil, true},
	} {
		modules := installPackages(t, filepath.Join(top, "examples", c.example))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := apptest.FreeAddress(t)
			arguments := append([]string{"-listen", address, "-data", t.TempDir(), "-modules", modules}, c.arguments...)
			start := func() *apptest.Program {
				cmd := exec.CommandContext(t.Context(), filepath.Join(programs, c.example), arguments...)
				cmd.Env = apptest.Env()
				return apptest.StartCommand(t, cmd)
			}
			n := noteTest{t: t, url: "http://" + address, tab: openBrowser(t)}

			program := start()
			n.send("before the page")
			do(n.tab, t, chromedp.Navigate(n.url))
			n.arrive()
			n.send("<b>bold</b> & \"quoted\"\rselector body")
			n.arrive()
			evaluate[chromedp.Void](n.tab, t, `document.querySelector('input').value = 'from the form'; document.querySelector('button').click()`)
			n.sent = append(n.sent, "from the form")
			n.arrive()

			must(t, program.Interrupt(t))
			program = start()
			n.send("after a drain")
			n.arrive()
			program.Kill()
			program = start()
			n.send("after a crash")
			n.arrive()
			if !c.stops {
				program.Kill()
				refuseOnce(t, address)
				program = start()
				n.send("after status 503")
				n.arrive()
			}
			n.send("at the end")
			n.arrive() // with a note that came twice, the page would have more
			must(t, program.Interrupt(t))
		})
	}
}

// refuseOnce answers with status 503 at the address until a request for the stream has come, as a proxy does without a server behind it.
func refuseOnce(t *testing.T, address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	must(t, err)
	refused := make(chan struct{}, 1)
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no server", http.StatusServiceUnavailable)
		if r.URL.Path == "/live/event/notes" {
			select {
			case refused <- struct{}{}:
			default:
			}
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- proxy.Serve(l) }()
	select {
	case <-refused:
	case <-time.After(patience / 2):
		t.Error("the page does not reconnect")
	}
	must(t, proxy.Shutdown(t.Context()))
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// noteTest is a page of notes, and what was sent to it.
type noteTest struct {
	t    *testing.T
	tab  context.Context
	url  string
	sent []string
}

// send sends a note as a form does.
func (n *noteTest) send(text string) {
	n.t.Helper()
	response, err := http.PostForm(n.url+"/notes", url.Values{"text": {text}})
	must(n.t, err)
	_ = response.Body.Close()
	if response.StatusCode/100 != 2 {
		n.t.Fatalf("send a note: %s", response.Status)
	}
	n.sent = append(n.sent, strings.ReplaceAll(text, "\r", "\n"))
}

// arrive waits until the page has all notes, the newest first.
func (n *noteTest) arrive() {
	n.t.Helper()
	eventually(n.tab, n.t, fmt.Sprintf(`[...document.querySelectorAll('#notes li span')].map((e) => e.textContent).reverse().join('|') === %q`, strings.Join(n.sent, "|")))
}
