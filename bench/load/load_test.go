//go:build linux

package load_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"freshet/bench/load"

	"github.com/google/go-cmp/cmp"
)

// Chunks of one to forty bytes split the stream everywhere. Missing and repeated events are noticed all the same.
func TestEveryEventIsAccountedFor(t *testing.T) {
	type account struct{ Events, Missing, Repeats uint64 }
	for name, c := range map[string]struct {
		counter bool
		numbers []uint64
		want    account
	}{
		"all":           {false, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}, account{9, 0, 0}},
		"a gap":         {false, []uint64{1, 2, 5, 6}, account{4, 2, 0}},
		"a repeat":      {false, []uint64{1, 2, 2, 3}, account{3, 0, 1}},
		"late":          {false, []uint64{1, 3, 2, 4}, account{3, 1, 1}},
		"counts":        {true, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, account{11, 0, 0}},
		"counts, a gap": {true, []uint64{1, 2, 12}, account{3, 9, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var text []byte
			for _, n := range c.numbers {
				data := load.Data(n)
				if c.counter {
					data = fmt.Append(nil, n)
				}
				text = fmt.Appendf(text, "id: abc-%d\nevent: bench\ndata: %s\n\n", n, data)
			}
			for size := 1; size <= 40; size++ {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					for rest := text; len(rest) > 0; {
						n := min(size, len(rest))
						_, _ = w.Write(rest[:n]) // the reader notices
						rest = rest[n:]
						_ = http.NewResponseController(w).Flush() // the same
					}
					<-r.Context().Done()
				}))
				swarm, err := load.NewSwarm(load.Config{Target: load.Target{Address: server.Listener.(*net.TCPListener).Addr().String(), Read: "/"}, Counter: c.counter})
				if err != nil {
					t.Fatal(err)
				}
				const readers = 3
				if err := swarm.Open(t.Context(), readers); err != nil {
					t.Fatal(err)
				}
				want := account{c.want.Events * readers, c.want.Missing * readers, c.want.Repeats * readers}
				_, err = swarm.Until(t.Context(), 10*time.Second, func() bool {
					return swarm.Events+swarm.Repeats >= want.Events+want.Repeats
				})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, account{swarm.Events, swarm.Missing, swarm.Repeats}); diff != "" {
					t.Errorf("in pieces of %d bytes (-want +have):\n%s", size, diff)
				}
				swarm.Close()
				server.Close()
			}
		})
	}
}
