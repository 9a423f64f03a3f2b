package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet/app"
	"freshet/app/apptest"
	"freshet/config"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// These tests use a real browser: Chromium, through its own protocol.

// A page of another origin counts, gets every event and reconnects, with a plain EventSource.
func TestBrowserPageOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	tab := openBrowser(t)
	interoperate(t, func(t *testing.T, url string, types []string) <-chan arrival {
		out := make(chan arrival, unread)
		err := chromedp.Listen(tab, func(told any) {
			call, ok := told.(*runtime.EventBindingCalled)
			if !ok {
				return
			}
			var e arrival
			if err := json.Unmarshal([]byte(call.Payload), &e); err != nil {
				t.Errorf("%.200q: %v", call.Payload, err)
			}
			out <- e
		})
		must(t, err)
		_, err = chromedp.Call(tab, runtime.AddBinding, runtime.AddBindingParams{Name: "tell"})
		must(t, err)
		listen, err := json.Marshal(types)
		must(t, err)
		do(tab, t, chromedp.Navigate(serveOrigin(t, fmt.Sprintf(`<!doctype html>
<meta charset="utf-8">
<title>a page of another origin</title>
<p>count: <span id="cnt"></span></p>
<script>
const cnt = document.getElementById('cnt');
const ev = new EventSource(%q);
ev.addEventListener('message', e => cnt.textContent = e.data);
for (const type of %s) {
  ev.addEventListener(type, e => tell(JSON.stringify({ type: e.type, data: e.data, id: e.lastEventId })));
}
</script>`, url, listen))))
		return out
	}, true)

	// The page's user only sees the count.
	count := evaluate[string](tab, t, `cnt.textContent`)
	eventually(tab, t, fmt.Sprintf(`Number(cnt.textContent) > Number(%q)`, count))
}

// The page at / counts, publishes, and shows payloads that contain markup as text.
func TestBrowserBuiltInPage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	tab := openBrowser(t)
	complaints := listenForComplaints(tab, t)
	do(tab, t, chromedp.Navigate(s.URL+"/#token="+s.Token))

	eventually(tab, t, `Number(document.querySelector('#cnt')?.textContent) >= 3`)
	count := evaluate[string](tab, t, `document.querySelector('#cnt').textContent`)
	eventually(tab, t, fmt.Sprintf(`Number(document.querySelector('#cnt').textContent) > Number(%q)`, count))
	eventually(tab, t, fmt.Sprintf(`location.href === %q`, s.URL+"/"))

	const (
		asType = `type <img src=x onerror="broken = true">`
		asData = `data <img src=x onerror="broken = true"><script>broken = true</script>`
	)
	_, err := s.Publish(tab, "news", asType, "from a backend", "")
	must(t, err)
	eventually(tab, t, rowsHave("from a backend"))
	eventually(tab, t, rowsHave(asType))
	const (
		topic = chromedp.CSS(`#publish-form [name=topic]`)
		data  = chromedp.CSS(`#publish-form [name=data]`)
		send  = chromedp.CSS(`#publish-form [type=submit]`)
	)
	for _, payload := range []string{"from the form", asData} {
		evaluate[chromedp.Void](tab, t, `document.querySelector('#publish-form').reset()`)
		do(tab, t, chromedp.SendKeys(topic, "orders.new"), chromedp.SendKeys(data, payload), chromedp.Click(send))
		eventually(tab, t, rowsHave(payload))
	}
	if !evaluate[bool](tab, t, `document.querySelectorAll('img, body script').length === 0 && !('broken' in window)`) {
		t.Error("a payload became part of the page")
	}
	if said := complaints(); len(said) > 0 {
		t.Errorf("the browser complained:\n%s", strings.Join(said, "\n"))
	}
}

// A page needs more than the token: the operator lists the origins whose pages may publish.
func TestBrowserPublishingFromAnotherOrigin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		listed bool
		answer string
	}{
		"not listed": {false, "TypeError"}, // which is all that a page learns about a response that it may not see
		"listed":     {true, "201"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := serveOrigin(t, `<!doctype html><title>a page of another origin</title>`)
			var flags []string
			if c.listed {
				flags = []string{"--cors-origin", origin}
			}
			s := apptest.Start(t, t.TempDir(), "", flags...)
			tab := openBrowser(t)
			fetch := func(path, options string) string {
				t.Helper()
				return evaluate[string](tab, t, fmt.Sprintf(
					`fetch(%q, %s).then((answer) => answer.type === 'opaque' ? 'opaque' : String(answer.status), (error) => error.name)`,
					s.URL+path, options))
			}
			do(tab, t, chromedp.Navigate(origin))
			if got := fetch("/history?topic=news&since=all", "{}"); got != "200" {
				t.Errorf("reading: %s, want 200", got)
			}
			got := fetch("/event/news", fmt.Sprintf(`{ method: 'POST', body: 'hello', headers: { Authorization: 'Bearer %s' } }`, s.Token))
			if got != c.answer {
				t.Errorf("publishing: %s, want %s", got, c.answer)
			}
			// Without a preflight the request reaches the server, which refuses it.
			if got := fetch("/event/news", `{ method: 'POST', body: 'hello', mode: 'no-cors' }`); got != "opaque" {
				t.Errorf("publishing without a token: %s, want opaque", got)
			}

			answer, err := s.HTTP.Get(s.URL + "/history?topic=news&since=all")
			must(t, err)
			defer func() { _ = answer.Body.Close() }() // only read from
			var history struct{ Events []struct{ Data string } }
			must(t, json.NewDecoder(answer.Body).Decode(&history))
			want := 0
			if c.listed {
				want = 1
			}
			if got := len(history.Events); got != want {
				t.Errorf("%d events are stored, want %d", got, want)
			}
		})
	}
}

// Over HTTP/1.1 all tabs together have six connections to an origin. Over HTTP/2 a page can have many streams on one connection.
func TestBrowserManyStreamsOverHTTP2(t *testing.T) {
	t.Parallel()
	identity := apptest.Certificate(t)
	s := apptest.Start(t, t.TempDir(), "", identity...)
	tab := openBrowser(t)
	// The tests of HTTP/2 check the certificate; a browser would ask its user.
	_, err := chromedp.Call(tab, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
	must(t, err)
	do(tab, t, chromedp.Navigate(s.URL)) // its policy lets it connect
	const n = 20
	evaluate[chromedp.Void](tab, t, fmt.Sprintf(`(() => {
  performance.setResourceTimingBufferSize(1000);
  window.opened = 0;
  window.got = Array.from({ length: %d }, () => []);
  window.streams = got.map((events, i) => {
    const source = new EventSource('/event/news?_=' + i);
    source.onopen = () => opened++;
    source.addEventListener('news', (e) => events.push(e.data));
    return source;
  });
})()`, n))
	eventually(tab, t, fmt.Sprintf(`opened === %d`, n))
	for _, data := range []string{"one", "two"} {
		_, err := s.Publish(tab, "news", "", data, "")
		must(t, err)
	}
	eventually(tab, t, `got.every((events) => events.join() === 'one,two')`)
	if !evaluate[bool](tab, t, fmt.Sprintf(`opened === %d && streams.every((source) => source.readyState === EventSource.OPEN)`, n)) {
		t.Error("streams were lost on the way")
	}
	// The browser reports a resource's protocol once the resource is complete.
	evaluate[chromedp.Void](tab, t, `streams.forEach((source) => source.close())`)
	protocols := `[performance.getEntriesByType('navigation'), performance.getEntriesByType('resource')].flat().map((entry) => entry.nextHopProtocol)`
	eventually(tab, t, fmt.Sprintf(`%s.length > 0`, protocols))
	if !evaluate[bool](tab, t, protocols+`.every((protocol) => protocol === 'h2')`) {
		t.Errorf("the browser spoke %s", evaluate[string](tab, t, protocols+`.join()`))
	}
}

// serveOrigin serves a page from its own origin until the test ends.
func serveOrigin(t *testing.T, html string) (origin string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, html) // the browser may have closed the page
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func rowsHave(text string) string {
	return fmt.Sprintf(`document.querySelector('#rows')?.textContent.includes(%q)`, text)
}

// listenForComplaints returns a function that returns what the browser has reported since: exceptions,
// failed requests, violations of the page's policy. Call it once.
func listenForComplaints(tab context.Context, t *testing.T) func() []string {
	t.Helper()
	said := chromedp.Console(tab)
	_, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `addEventListener('securitypolicyviolation', (e) => console.error('violation of', e.effectiveDirective, 'by', e.blockedURI))`,
	})
	must(t, err)
	return func() (complaints []string) {
		t.Helper()
		const end = "nothing more to say"
		evaluate[chromedp.Void](tab, t, fmt.Sprintf(`console.log(%q)`, end))
		for m, err := range said {
			must(t, err)
			switch {
			case m.Text == end:
				return complaints
			case m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning:
				complaints = append(complaints, fmt.Sprintf("%s %s: %s", m.Source, m.URL, m))
			}
		}
		t.Fatal("the console ended")
		return nil
	}
}

// The page works under another path: all its URLs are relative.
func TestBrowserPageUnderAPath(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data = t.TempDir()
	live, err := app.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, live.Close()) })
	mux := http.NewServeMux()
	mux.Handle("/live/", http.StripPrefix("/live", live))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	_, err = live.Publish(t.Context(), "news", "embedded")
	must(t, err)

	tab := openBrowser(t)
	complaints := listenForComplaints(tab, t)
	do(tab, t, chromedp.Navigate(server.URL+"/live/"))
	eventually(tab, t, rowsHave("embedded"))
	if said := complaints(); len(said) > 0 {
		t.Errorf("the browser complains: %q", said)
	}
}
