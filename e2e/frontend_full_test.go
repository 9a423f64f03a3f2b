//go:build full

package e2e_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
)

// The hooks of docs/client.md and the adapters of docs/answers.md work in pages that Vite bundles with the package freshet-client.
func TestFrontends(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	project := buildFrontends(t, f.URL)
	published := map[string][]string{}
	publish := func(topic, data string) {
		t.Helper()
		_, err := s.Publish(t.Context(), topic, "", data, "")
		must(t, err)
		published[topic] = append(published[topic], data)
	}
	for _, framework := range []string{"react", "vue", "svelte"} {
		t.Run(framework, func(t *testing.T) {
			origin := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(project, "dist"))))
			t.Cleanup(origin.Close)
			tab := openBrowser(t)
			complaints := listenForComplaints(tab, t)
			shows := func(topic string) {
				t.Helper()
				eventually(tab, t, fmt.Sprintf(`[...document.querySelectorAll('li')].map((li) => li.textContent).join() === %q`, strings.Join(published[topic], ",")))
			}
			has := func(open int64) {
				t.Helper()
				if err := apptest.Until(tab, func() bool { return f.open.Load() == open }); err != nil {
					t.Fatalf("the page has %d streams, want %d", f.open.Load(), open)
				}
			}
			publish("orders.eu", framework)
			publish("orders.us", framework)
			do(tab, t, chromedp.Navigate(origin.URL+"/?"+framework))
			shows("orders.eu")
			publish("orders.us", "for nobody")
			publish("orders.eu", "live")
			shows("orders.eu")
			if framework == "react" && evaluate[int](tab, t, `mounts`) != 2 {
				t.Error("StrictMode has not mounted the component twice")
			}
			has(1) // also if two components read
			evaluate[chromedp.Void](tab, t, `read('orders.us')`)
			shows("orders.us")
			publish("orders.eu", "for nobody")
			publish("orders.us", "live")
			shows("orders.us")
			has(1)
			evaluate[chromedp.Void](tab, t, `unmount()`)
			has(0)
			for _, complaint := range complaints() {
				t.Error(complaint)
			}
		})
	}
	for _, library := range []string{"ai", "tanstack"} {
		t.Run(library, func(t *testing.T) { testChat(t, s, f, project, library) })
	}
}

// buildFrontends returns the folder of an app whose pages read events from the server at the URL. Its folder dist has the bundle.
func buildFrontends(t *testing.T, url string) (project string) {
	t.Helper()
	modules := installPackages(t, filepath.Join(top, frontend))
	dir := t.TempDir()
	installClient(t, dir)
	project = filepath.Join(dir, "app") // where imports also find what is installed in dir
	must(t, os.CopyFS(project, os.DirFS(filepath.Join(top, frontend))))
	must(t, os.Symlink(modules, filepath.Join(project, "node_modules")))
	files, err := filepath.Glob(filepath.Join(project, "*.js"))
	must(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(file, bytes.ReplaceAll(source, []byte("https://events.example"), []byte(url)), 0o600))
	}
	vite := exec.CommandContext(t.Context(), filepath.Join(modules, ".bin", "vite"), "build", "--configLoader", "native")
	vite.Dir = project
	vite.Env = append(os.Environ(), "NODE_ENV=development") // in production, StrictMode of React mounts once
	if output, err := vite.CombinedOutput(); err != nil {
		t.Fatalf("vite: %v\n%s", err, output)
	}
	return project
}

// testChat reads a chat's answer in two tabs, over a reload and a lost connection, from its first piece to its end.
func testChat(t *testing.T, s *apptest.Server, f *front, project, library string) {
	c := &chat{project: project, library: library, token: s.Token, models: make(chan *exec.Cmd, 1)}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(filepath.Join(project, "dist"))))
	mux.HandleFunc("GET /api/chats/17", c.load)
	mux.HandleFunc("POST /api/chats/17", func(w http.ResponseWriter, r *http.Request) {
		if err := c.begin(t, w, r); err != nil {
			t.Errorf("begin an answer: %v", err)
		}
	})
	origin := httptest.NewServer(mux)
	t.Cleanup(origin.Close)

	first := openBrowser(t)
	second := openTab(first, t)
	want := ""
	shows := func(status string) string {
		return fmt.Sprintf(`document.querySelector('output')?.textContent.trim() === %q &&
			[...document.querySelectorAll('li')].map((li) => li.textContent).join('|') === %q`, status, "user: What is the answer?|assistant: "+want)
	}
	do(first, t, chromedp.Navigate(origin.URL+"/?"+library))
	eventually(first, t, `document.querySelector('output')?.textContent.trim() === 'ready'`)
	evaluate[chromedp.Void](first, t, `send('What is the answer?')`)
	model := <-c.models
	write := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			piece := fmt.Sprintf("größe \"%d\"\n", i)
			want += piece
			must(t, json.NewEncoder(c.pieces).Encode(piece))
		}
	}
	write(0, 50)
	eventually(first, t, shows("streaming"))
	do(first, t, chromedp.Reload())
	do(second, t, chromedp.Navigate(origin.URL+"/?"+library))
	eventually(first, t, shows("streaming"))
	write(50, 100)
	eventually(second, t, shows("streaming"))
	evaluate[chromedp.Void](second, t, `stop()`)
	eventually(second, t, shows("ready"))
	must(t, apptest.Until(second, func() bool { return f.open.Load() == 1 })) // the first tab's
	f.cut()
	write(100, 150)
	must(t, c.pieces.Close())
	must(t, model.Wait())
	eventually(first, t, shows("ready"))
	if library == "ai" { // TanStack AI gets an answer that has ended with the messages of the backend, and joins only one that goes on
		do(second, t, chromedp.Reload())
		eventually(second, t, shows("ready"))
	}
}

// chat is the backend of a page with a chat. Its model is a process of backend.js.
type chat struct {
	project, library, token string
	models                  chan *exec.Cmd // that have begun
	pieces                  io.WriteCloser // what the model says

	mu       sync.Mutex
	messages json.RawMessage
	topic    string // of the answer
	runID    string // TanStack AI's name for the answer
}

// load answers with the messages of the chat, and with the answer that follows them.
func (c *chat) load(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := map[string]any{"messages": []any{}, "activeRun": nil, "interrupts": nil}
	if c.messages != nil {
		state["messages"], state["topic"], state["activeRun"] = c.messages, c.topic, map[string]string{"runId": c.runID}
	}
	_ = json.NewEncoder(w).Encode(state) // the browser may have closed the page
}

// begin starts the model, which answers the messages of the request.
func (c *chat) begin(t *testing.T, w http.ResponseWriter, r *http.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var request struct {
		Messages json.RawMessage
		RunID    string
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return err
	}
	c.messages, c.runID = request.Messages, request.RunID
	c.topic = "runs." + cmp.Or(c.runID, "1")
	model := exec.CommandContext(t.Context(), "node", "backend.js", c.library, c.topic)
	model.Dir, model.Stderr = c.project, t.Output()
	model.Env = append(os.Environ(), "FRESHET_PUBLISH_TOKEN="+c.token)
	var err error
	if c.pieces, err = model.StdinPipe(); err != nil {
		return err
	}
	if err := model.Start(); err != nil {
		return err
	}
	c.models <- model
	return json.NewEncoder(w).Encode(map[string]string{"topic": c.topic})
}
