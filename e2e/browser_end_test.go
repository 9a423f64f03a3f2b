package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
)

// A plain EventSource stops by itself when its topic has ended, also one that is opened later.
func TestBrowserATopicEnds(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	tab := openBrowser(t)
	do(tab, t, chromedp.Navigate(serveOrigin(t, "<!doctype html><title>a page of another origin</title>")))
	open := `globalThis.got = [], globalThis.source = new EventSource('` + s.URL + `/event/job?since=all'),
		['job', 'end', 'gap'].forEach((type) => source.addEventListener(type, (e) => got.push(type + ' ' + e.data))), true`
	evaluate[bool](tab, t, open)
	_, err := s.Publish(tab, "job", "", "half", "")
	must(t, err)
	eventually(tab, t, `got.length === 1`)
	r, err := http.NewRequestWithContext(tab, http.MethodPost, s.URL+"/event/job?end", http.NoBody)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+s.Token)
	response, err := s.HTTP.Do(r)
	must(t, err)
	_ = response.Body.Close()
	ended := fmt.Sprintf(`source.readyState === EventSource.CLOSED && got.join('\n') === %q`, "job half\nend {\"topic\":\"job\"}")
	eventually(tab, t, ended)
	evaluate[bool](tab, t, open)
	eventually(tab, t, ended)
	_, err = s.Publish(tab, "job", "", "late", "")
	if err == nil {
		t.Error("an event was stored after the end")
	}
}
