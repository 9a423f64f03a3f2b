//go:build linux

package load_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
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

// The tokens of a writer arrive as lines, and an error in the response ends it.
func TestWriter(t *testing.T) {
	const accepted = 5
	lines := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		if r.Header.Get("Idempotency-Key") != "answer" {
			w.WriteHeader(http.StatusBadRequest)
			_ = control.Flush()
			return
		}
		_ = control.Flush() // the writer waits for it
		body := bufio.NewScanner(r.Body)
		for range accepted {
			if body.Scan() {
				lines <- body.Text()
			}
		}
		_, _ = fmt.Fprintln(w, `{"error":{"code":"full"},"line":5}`)
		_ = control.Flush()
		_, _ = io.Copy(io.Discard, r.Body) // until the writer leaves
	}))
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	if _, err := load.NewWriter(t.Context(), address, "/", ""); err == nil {
		t.Error("a request without a key was accepted")
	}
	w, err := load.NewWriter(t.Context(), address, "/", "Idempotency-Key: answer\r\n")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for n := range accepted {
		if err := w.WriteToken(); err != nil {
			t.Fatal(err)
		}
		if line, want := <-lines, fmt.Sprintf(`"#%016x`, n+1); !strings.HasPrefix(line, want) || len(line) != 35 || w.Written() != uint64(n+1) {
			t.Errorf("line %d is %q", n+1, line)
		}
	}
	for err == nil { // until the response is read
		err = w.WriteToken()
	}
	if !strings.Contains(err.Error(), `"code":"full"`) {
		t.Errorf("after an error in the response: %v", err)
	}
}
