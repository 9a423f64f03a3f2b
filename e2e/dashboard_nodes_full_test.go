//go:build full

package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats-server/v2/server"
)

// With two nodes the page shows totals first. An operator sees and ends the streams of the other node too.
func TestDashboardNodes(t *testing.T) {
	t.Parallel()
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	token := strings.Repeat("p", 32)
	start := func() *apptest.Server {
		return apptest.Start(t, t.TempDir(), "", "--nats", nats.ClientURL(), "--publish-token", token)
	}
	other := start()
	tab := openBrowser(t)
	for _, topic := range []string{"news", "orders.*"} {
		r, err := http.NewRequestWithContext(tab, http.MethodGet, other.URL+"/event?topic="+topic, nil)
		must(t, err)
		answer, err := other.HTTP.Do(r)
		must(t, err)
		t.Cleanup(func() { _ = answer.Body.Close() }) // only read from
	}
	openDashboard(tab, t, start().URL+"/#token="+token)
	click(tab, t, "#tab-connections")

	const rows = `[...document.querySelectorAll('#nodes tbody tr')].map((row) => row.cells[1].textContent).join()`
	eventually(tab, t, rows+` === '2,0,2' || `+rows+` === '2,2,0'`)
	eventually(tab, t, words("#nodes tbody td", "all nodes"))
	eventually(tab, t, words("#readers .value", "2"))
	eventually(tab, t, words("#readers .total", "on 2 nodes"))
	eventually(tab, t, words("#server", "2 nodes, connected to node "))
	eventually(tab, t, words("#connections-note", "0 streams on node "))

	do(tab, t, chromedp.EmulateViewport(390, 780))
	eventually(tab, t, `document.documentElement.scrollWidth <= innerWidth`)
	const otherNode = `#nodes button[aria-pressed="false"]`
	click(tab, t, otherNode)
	eventually(tab, t, words("#connections-note", "2 streams on node "))
	eventually(tab, t, `[...document.querySelectorAll('#streams tbody tr')].map((row) => row.cells[0].textContent).sort().join() === 'news,orders.*'`)
	click(tab, t, `#streams tbody tr button`)
	click(tab, t, `#streams tbody tr button`) // yes
	eventually(tab, t, words("#ended", "Ended: "))
	eventually(tab, t, words("#connections-note", "1 stream on node "))

	// The node stops while its streams are shown.
	other.Stop()
	eventually(tab, t, words("#connections-note", "Node "))
	if text := evaluate[string](tab, t, `document.querySelector('#connections-note').textContent + document.querySelector('#streams').hidden`); !strings.HasSuffix(text, "cannot be reached: it has stopped, hangs, or has lost NATS. Choose another node.true") {
		t.Errorf("the page says %q", text)
	}
	click(tab, t, otherNode)
	eventually(tab, t, words("#connections-note", "0 streams"))
}
