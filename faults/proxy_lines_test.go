package faults_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet/client"
)

// A proxy passes the lines of an answer on at once: each arrives before the next is written. None is lost; Caddy refuses
// what it would lose.
func TestProxyPassesLinesOn(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx, s := startSilent(t)
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		p := k.start(ctx, t, s.Addr())
		old := &http.Client{Transport: &http.Transport{DialTLSContext: p.from("")}} // HTTP/1.1
		for version, transport := range map[string]*http.Client{"HTTP/1.1": old, "HTTP/2": p.Client} {
			t.Run(version, func(t *testing.T) {
				topic := "answers." + strings.ReplaceAll(strings.TrimPrefix(version, "HTTP/"), ".", "")
				answer, err := p.client(t, transport, s.Token).Answer(ctx, topic)
				must(t, err)
				if k.program == "caddy" && version == "HTTP/1.1" { // which would lose lines
					if err := answer.End(); err == nil || !strings.Contains(err.Error(), "426") {
						t.Errorf("Caddy accepts lines over HTTP/1.1: %v", err)
					}
					return
				}
				next, stop := iter.Pull2(s.Subscribe(ctx, client.Subscription{Topics: []string{topic}, Since: "all"}))
				defer stop()
				for i := range 20 {
					piece := fmt.Sprintf("piece %d ", i)
					_, err := io.WriteString(answer, piece)
					must(t, err)
					e, err, _ := next()
					must(t, err)
					if e.Data != piece {
						t.Fatalf("the stream has %q instead of %q", e.Data, piece)
					}
				}
				must(t, answer.End())
			})
		}
	})
}
