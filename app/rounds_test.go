package app_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
)

// Crowds of streams with as many topics and segments as one may have come and go, and leave nothing.
func TestRoundsOfCrowdsLeaveNothing(t *testing.T) {
	const topics, leeway = 100, 4 << 20
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := apptest.Start(t, t.TempDir(), "", "--counter-interval", "0")
	serial := 0
	round := func(streams int) {
		for range streams {
			var query strings.Builder
			for range topics {
				serial++
				fmt.Fprintf(&query, "&topic=%d%s", serial, strings.Repeat(".a", 31))
			}
			conn, err := net.Dial("tcp", s.Addr)
			must(t, err)
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "GET /event?%s HTTP/1.1\r\nHost: localhost\r\n\r\n", query.String()[1:])
			must(t, err)
			deadline, _ := ctx.Deadline()
			must(t, conn.SetReadDeadline(deadline))
			lines := bufio.NewReader(conn)
			for line := ""; !strings.HasPrefix(line, "id: "); { // the stream is open
				line, err = lines.ReadString('\n')
				must(t, err)
			}
		}
	}
	left := func() (heap uint64, goroutines, descriptors int) {
		runtime.GC()
		runtime.GC() // pools keep what they have for one more
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if runtime.GOOS == "linux" {
			open, err := os.ReadDir("/proc/self/fd")
			must(t, err)
			descriptors = len(open)
		}
		return m.HeapAlloc, runtime.NumGoroutine(), descriptors
	}
	round(1) // what the server makes once
	heap, goroutines, descriptors := left()
	for range 3 {
		round(30) // 30 MiB of heap
	}
	if err := apptest.Until(ctx, func() bool {
		h, g, d := left()
		return h <= heap+leeway && g <= goroutines && d <= descriptors
	}); err != nil {
		h, g, d := left()
		t.Errorf("heap %d, %d goroutines, %d descriptors; before %d, %d, %d", h, g, d, heap, goroutines, descriptors)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
