//go:build linux

package park_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http/httputil"
	"sync"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
	"freshet/stream"
	"freshet/stream/park"
)

// ground is a park of streams of a hub of a log in memory, in real time.
type ground struct {
	*park.Park
	registry *stream.Registry
	log      *eventlogtest.Memory
	hub      *hub.Hub
	listen   net.Listener
	end      func() // ends the park and waits for it
}

func newGround(t *testing.T, window int64, shards int, cfg stream.Config) *ground {
	t.Helper()
	log := eventlogtest.NewMemory()
	h, err := hub.New(t.Context(), log, hub.Config{WindowBytes: window})
	must(t, err)
	cfg.Hub = h
	cfg.RetryMin, cfg.RetryMax = 1500*time.Millisecond, 1500*time.Millisecond
	registry, err := stream.New(cfg)
	must(t, err)
	p, err := park.New(registry, park.Config{Shards: shards})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	hubEnded, parkEnded := make(chan error, 1), make(chan error, 1)
	go func() { hubEnded <- h.Run(ctx) }()
	parkCtx, endPark := context.WithCancel(ctx)
	go func() { parkEnded <- p.Run(parkCtx) }()
	end := sync.OnceFunc(func() {
		endPark()
		if err := <-parkEnded; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		end()
		cancel()
		must(t, <-hubEnded)
		_ = l.Close() // a test may have closed it
	})
	return &ground{p, registry, log, h, l, end}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within is for what should happen at once, on a machine that does other things too.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// pair returns both ends of a connection, with small buffers: what is not read is soon felt.
func (g *ground) pair(t *testing.T) (peer, own net.Conn) {
	t.Helper()
	peer, err := net.Dial("tcp", g.listen.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = peer.Close() })
	own, err = g.listen.Accept()
	must(t, err)
	t.Cleanup(func() { _ = own.Close() })
	must(t, errors.Join(peer.(*net.TCPConn).SetReadBuffer(32<<10), own.(*net.TCPConn).SetWriteBuffer(256<<10)))
	return peer, own
}

// parked is a stream that was handed over.
type parked struct {
	*stream.Stream
	closed chan stream.Reason
}

// open opens a stream of the topics.
func (g *ground) open(t *testing.T, q stream.Request, topics ...string) *parked {
	t.Helper()
	q.Patterns = eventlogtest.Patterns(t, topics...)
	s, err := g.registry.Open(t.Context(), q)
	must(t, err)
	p := &parked{s, make(chan stream.Reason, 10)}
	s.OnClose(func(why stream.Reason) { p.closed <- why })
	return p
}

// enter parks a stream and returns the peer's end.
func (g *ground) enter(t *testing.T, q stream.Request, topics ...string) (net.Conn, *parked) {
	t.Helper()
	peer, own := g.pair(t)
	p := g.open(t, q, topics...)
	must(t, g.Enter(own, p.Stream))
	return peer, p
}

// ends waits for the stream's end.
func (p *parked) ends(t *testing.T, want stream.Reason) {
	t.Helper()
	select {
	case why := <-p.closed:
		if why != want {
			t.Errorf("the stream ended because: %s, want %s", why, want)
		}
	case <-within(t).Done():
		t.Fatalf("the stream does not end, want %s", want)
	}
}

// body reads a chunked body and counts its bytes.
type body struct {
	io.Reader
	bytes int
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.bytes += n
	return n, err
}

func readBody(peer io.Reader) (*event.Scanner, *body) {
	b := &body{Reader: httputil.NewChunkedReader(bufio.NewReader(peer))}
	return event.NewScanner(b, 64<<20), b
}
