//go:build linux

package park_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httputil"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
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

// A stream that is stopped from outside says why, and its response ends whole.
func TestAStoppedStreamSaysWhy(t *testing.T) {
	for why, typ := range map[stream.Reason]event.Type{stream.Ended: event.TypeDrain, stream.Expired: event.TypeAuthExpired} {
		g := newGround(t, 0, 0, stream.Config{})
		peer, p := g.enter(t, stream.Request{}, "n")
		p.Stop(why)
		frames, sent := readBody(peer)
		if why == stream.Ended && (!frames.Scan() || !frames.Frame().HasRetry) {
			t.Errorf("before the drain: %+v, %v", frames.Frame(), frames.Err())
		}
		for frames.Scan() && !frames.Frame().HasData {
		}
		if frames.Frame().Type != typ.String() {
			t.Errorf("%s: the last event is %+v, %v", why, frames.Frame(), frames.Err())
		}
		if frames.Scan() || frames.Err() != nil {
			t.Errorf("%s: after it came %+v, %v", why, frames.Frame(), frames.Err())
		}
		p.ends(t, why)
		if p.Bytes() != sent.bytes {
			t.Errorf("%s: the stream counts %d bytes, want %d", why, p.Bytes(), sent.bytes)
		}
	}
}

// A parked stream sends everything, counts what it sends, and ends as a chunked body ends.
func TestAParkedStreamSendsEverything(t *testing.T) {
	stats := event.Stats([]byte(`{"streams":1}`))
	g := newGround(t, 0, 0, stream.Config{CounterInterval: 5 * time.Millisecond, StatsInterval: 7 * time.Millisecond,
		Heartbeat: 11 * time.Millisecond, Stats: func() *event.Event { return &stats }})
	peer, p := g.enter(t, stream.Request{Counter: true, Stats: true}, "n.*", "n.>")
	const events = 3000
	go func() {
		for i := range events {
			g.log.Publish(t, "n.a", fmt.Sprint(i))
			g.log.Publish(t, "other", "")
		}
	}()
	frames, sent := readBody(peer)
	count, seen, figures, heartbeats, dispatched := 0, 0, 0, 0, 0
	for seen < events || count < 4 || figures == 0 || heartbeats == 0 {
		if !frames.Scan() {
			t.Fatalf("the stream ended after %d events: %v", seen, frames.Err())
		}
		f := frames.Frame()
		if f.HasData {
			dispatched++
		}
		switch {
		case !f.HasData && f.ID != "" && !f.HasRetry:
			heartbeats++
		case !f.HasData: // the opening
		case f.Type == "stats":
			figures++
		case f.Type == "message":
			if count++; f.Data != fmt.Sprint(count) {
				t.Fatalf("count %s, want %d", f.Data, count)
			}
		default:
			if f.Data != fmt.Sprint(seen) {
				t.Fatalf("event %s, want %d", f.Data, seen)
			}
			seen++
		}
	}
	must(t, g.registry.Drain(within(t), 0))
	var last event.Frame
	for frames.Scan() {
		if last = frames.Frame(); last.HasData {
			dispatched++
		}
	}
	if frames.Err() != nil || last.Type != "drain" {
		t.Errorf("the stream ended with %+v, %v", last, frames.Err())
	}
	p.ends(t, stream.Drained)
	closing := fmt.Sprint(p.ClosingAttrs(stream.Drained))
	if p.Bytes() != sent.bytes || !strings.Contains(closing, fmt.Sprintf("events=%d", dispatched)) {
		t.Errorf("the stream counts %d bytes and %s, want %d and %d", p.Bytes(), closing, sent.bytes, dispatched)
	}
	if n := g.hub.Stats().Subscribers; n != 0 || g.Len() != 0 || g.registry.Len() != 0 {
		t.Errorf("%d subscribers and %d streams are left", n, g.Len())
	}
}

// An event that the socket takes in many parts is not broken up by others that come due.
func TestALargeEventArrivesWhole(t *testing.T) {
	g := newGround(t, 256<<20, 0, stream.Config{CounterInterval: time.Millisecond, Heartbeat: time.Millisecond})
	peer, _ := g.enter(t, stream.Request{Counter: true}, "n")
	sizes := []int{8 << 20, 0, 1, 100_000, 3 << 20, 5}
	for i := range 2000 {
		sizes = append(sizes, i)
	}
	for i, n := range sizes {
		g.log.Publish(t, "n", fmt.Sprint(i, " ", strings.Repeat("x", n)))
	}
	frames, _ := readBody(peer)
	for i, n := range sizes {
		for frames.Scan() && frames.Frame().Type != "n" {
		}
		if f := frames.Frame(); frames.Err() != nil || f.Data != fmt.Sprint(i, " ", strings.Repeat("x", n)) {
			t.Fatalf("event %d is %.20q of %d bytes: %v", i, f.Data, len(f.Data), frames.Err())
		}
	}
}

// A client that takes nothing is disconnected; its neighbours do not notice.
func TestAStalledStreamIsClosed(t *testing.T) {
	const stall = 300 * time.Millisecond
	g := newGround(t, 0, 1, stream.Config{Stall: stall, CounterInterval: time.Millisecond})
	_, stuck := g.enter(t, stream.Request{Counter: true}, "n")
	peer, _ := g.enter(t, stream.Request{}, "n")
	frames, _ := readBody(peer)
	g.log.Publish(t, "n", strings.Repeat("x", 2<<20))
	began := time.Now()
	for frames.Scan() && !frames.Frame().HasData {
	}
	if len(frames.Frame().Data) != 2<<20 {
		t.Errorf("the other stream gets no event: %v", frames.Err())
	}
	stuck.ends(t, stream.Stalled)
	if took := time.Since(began); took < stall {
		t.Errorf("closed after %v", took)
	}
	if g.Len() != 1 || g.registry.Closed(stream.Stalled) != 1 {
		t.Errorf("%d streams are parked, want the other one", g.Len())
	}
}

// A slow client is not: it takes less in the time than epoll would report.
func TestASlowReaderIsNotStalled(t *testing.T) {
	g := newGround(t, 0, 0, stream.Config{Stall: time.Second})
	peer, p := g.enter(t, stream.Request{}, "n")
	data := strings.Repeat("x", 4<<20)
	g.log.Publish(t, "n", data)
	var taken []byte
	piece := make([]byte, 16<<10)
	tick := time.NewTicker(40 * time.Millisecond) // 400 KB a second: epoll reports 64 KB at a time on loopback
	defer tick.Stop()
	for range 75 { // 3 s
		<-tick.C
		n, err := peer.Read(piece)
		if err != nil {
			t.Fatal("the stream ended: ", err)
		}
		taken = append(taken, piece[:n]...)
	}
	frames, _ := readBody(io.MultiReader(strings.NewReader(string(taken)), peer))
	for frames.Scan() && !frames.Frame().HasData {
	}
	if frames.Frame().Data != data {
		t.Errorf("no event: %v", frames.Err())
	}
	select {
	case why := <-p.closed:
		t.Errorf("the stream ended because: %s", why)
	default:
	}
}

// A peer that leaves is noticed at once, however it leaves, and also if it has sent a little.
func TestAPeerThatLeavesIsNoticed(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn) error{
		"close": (*net.TCPConn).Close,
		"half":  (*net.TCPConn).CloseWrite,
		"reset": func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
		"bytes": func(c *net.TCPConn) error {
			_, err := c.Write(make([]byte, stream.MaxUnread))
			return errors.Join(err, c.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, 0, 0, stream.Config{})
			peer, p := g.enter(t, stream.Request{}, "n")
			must(t, leave(peer.(*net.TCPConn)))
			p.ends(t, stream.Gone)
			if n := g.hub.Stats().Subscribers; n != 0 || g.Len() != 0 {
				t.Errorf("%d subscribers and %d streams are left", n, g.Len())
			}
		})
		t.Run(name+" while it takes nothing", func(t *testing.T) {
			g := newGround(t, 0, 0, stream.Config{})
			peer, p := g.enter(t, stream.Request{}, "n")
			g.log.Publish(t, "n", strings.Repeat("x", 4<<20))
			_, err := io.ReadFull(peer, make([]byte, 1000)) // it is being written
			must(t, err)
			must(t, leave(peer.(*net.TCPConn)))
			p.ends(t, stream.Gone)
		})
	}
}

// A stream that falls behind the window is read for from the log, where it is.
func TestAStreamThatIsBehindReadsTheLog(t *testing.T) {
	g := newGround(t, 64<<10, 0, stream.Config{CounterInterval: time.Millisecond})
	peer, p := g.enter(t, stream.Request{Counter: true}, "n")
	large := strings.Repeat("x", 4<<20)
	g.log.Publish(t, "n", large)
	r := bufio.NewReader(peer)
	_, err := r.Peek(1) // it is being written
	must(t, err)
	frames, sent := readBody(r)
	const events = 3000
	for i := range events {
		g.log.Publish(t, "n", fmt.Sprint(i, " ", strings.Repeat("y", 2000)))
	}
	must(t, apptest.Until(within(t), func() bool { return g.hub.Stats().Published == events+1 }))
	count := 0
	next := func() string {
		for frames.Scan() {
			switch f := frames.Frame(); {
			case f.Type == "n":
				return f.Data
			case f.HasData:
				if count++; f.Data != fmt.Sprint(count) {
					t.Fatalf("count %s, want %d", f.Data, count)
				}
			}
		}
		t.Fatalf("the stream ended: %v", frames.Err())
		return ""
	}
	if next() != large {
		t.Error("the large event is another one")
	}
	for i := range events {
		if data := next(); !strings.HasPrefix(data, fmt.Sprint(i, " ")) {
			t.Fatalf("event %.20q, want %d", data, i)
		}
	}
	if g.Len() != 1 || p.Info().State != stream.StateParked {
		t.Errorf("%d streams are parked, this one is %s", g.Len(), p.Info().State)
	}
	p.Stop(stream.Ended)
	for frames.Scan() {
	}
	p.ends(t, stream.Ended)
	if p.Bytes() != sent.bytes || frames.Err() != nil {
		t.Errorf("the stream counts %d bytes, want %d; %v", p.Bytes(), sent.bytes, frames.Err())
	}
}

// A drain is over when its span is, and ends the streams spread over it.
func TestADrainEndsAllInItsSpan(t *testing.T) {
	g := newGround(t, 0, 0, stream.Config{})
	const span = 300 * time.Millisecond
	var streams []*parked
	for range 100 {
		_, p := g.enter(t, stream.Request{}, "n")
		streams = append(streams, p)
	}
	late := g.open(t, stream.Request{}, "n") // not parked yet when the drain begins
	began, drained := time.Now(), make(chan error, 1)
	go func() { drained <- g.registry.Drain(within(t), span) }()
	var most time.Duration
	for _, p := range streams {
		p.ends(t, stream.Drained)
		most = max(most, time.Since(began))
	}
	if most < span/4 {
		t.Errorf("all ended within %v: they are not spread", most)
	}
	_, own := g.pair(t)
	must(t, g.Enter(own, late.Stream))
	late.ends(t, stream.Drained)
	must(t, <-drained)
	if took := time.Since(began); took > 2*span+10*time.Second {
		t.Errorf("the drain took %v", took)
	}
}

// When the park has ended, all is closed and it takes nothing more.
func TestTheEndLeavesNothing(t *testing.T) {
	before := descriptors(t)
	g := newGround(t, 0, 3, stream.Config{})
	var streams []*parked
	var peers []net.Conn
	for range 20 {
		peer, p := g.enter(t, stream.Request{}, "n")
		peers, streams = append(peers, peer), append(streams, p)
	}
	if g.Len() != 20 {
		t.Errorf("%d are parked", g.Len())
	}
	g.end()
	for _, p := range streams {
		select {
		case why := <-p.closed:
			if why != stream.Gone {
				t.Errorf("a stream ended because: %s", why)
			}
		default:
			t.Error("the park has ended, but one of its streams is open")
		}
	}
	peer, own := g.pair(t)
	p := g.open(t, stream.Request{}, "n")
	if err := g.Enter(own, p.Stream); !errors.Is(err, park.ErrClosed) || p.Info().State != stream.StateLive {
		t.Errorf("entered after the end: %v, %s", err, p.Info().State)
	}
	g.log.Publish(t, "n", "x") // a wake-up of a closed park does no harm
	_, err := own.Write([]byte("y"))
	must(t, err) // it stayed ours
	p.Close(stream.Gone)
	must(t, errors.Join(peer.Close(), own.Close(), g.listen.Close()))
	for _, peer := range peers {
		must(t, peer.Close())
	}
	if err := apptest.Until(within(t), func() bool { return descriptors(t) <= before }); err != nil {
		t.Errorf("%d descriptors are open, %d before", descriptors(t), before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func TestWhatCannotBeParkedStaysTheCallers(t *testing.T) {
	g := newGround(t, 0, 0, stream.Config{})
	own, peer := net.Pipe()
	p := g.open(t, stream.Request{}, "n")
	if err := g.Enter(own, p.Stream); err == nil || g.Len() != 0 {
		t.Errorf("a pipe is parked: %v", err)
	}
	must(t, errors.Join(own.Close(), peer.Close()))

	low, err := park.New(g.registry, park.Config{MaxDescriptors: 3})
	must(t, err)
	peer, own = g.pair(t)
	before := descriptors(t)
	if err := low.Enter(own, p.Stream); err == nil || low.Len() != 0 || descriptors(t) != before {
		t.Errorf("a descriptor above the limit is parked: %v; %d are open, %d before", err, descriptors(t), before)
	}
	_, err = own.Write([]byte("x"))
	must(t, err)
	must(t, peer.Close())
	p.Close(stream.Gone)
	ended, end := context.WithCancel(t.Context())
	end()
	must(t, low.Run(ended))
	if _, err := park.New(g.registry, park.Config{Shards: -1}); err == nil {
		t.Error("a negative number of shards is accepted")
	}
}

// Streams come and go while events are published: each ends once, and those that stay have all.
func TestComingAndGoingUnderLoad(t *testing.T) {
	g := newGround(t, 0, 0, stream.Config{CounterInterval: 3 * time.Millisecond, Heartbeat: 2 * time.Millisecond})
	const clients, rounds = 8, 25
	stop := make(chan struct{})
	var publisher, readers sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				g.log.Publish(t, "n", fmt.Sprint(i, strings.Repeat("x", i%3000)))
				if i%50 == 0 { // as fast as they are delivered, more or less
					_ = apptest.Until(t.Context(), func() bool { return g.hub.Stats().Published+50 > uint64(i) })
				}
			}
		}
	})
	var mu sync.Mutex
	var streams []*parked
	for range clients {
		readers.Go(func() {
			for range rounds {
				peer, err := net.Dial("tcp", g.listen.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				own, err := g.listen.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				p := g.open(t, stream.Request{Counter: true}, "n")
				if err := g.Enter(own, p.Stream); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				streams = append(streams, p)
				mu.Unlock()
				// The accepted connection may be another client's: read the own one, and close it.
				frames, _ := readBody(peer)
				last := uint64(0)
				for range rand.IntN(200) {
					if !frames.Scan() {
						t.Errorf("a stream ended: %v", frames.Err())
						return
					}
					if f := frames.Frame(); f.Type == "n" {
						id, err := event.ParseID(f.ID)
						if err != nil || last > 0 && id.Seq() != last+1 {
							t.Errorf("event %s after %d", f.ID, last)
							return
						}
						last = id.Seq()
					}
				}
				_ = peer.Close()
			}
		})
	}
	readers.Wait()
	close(stop)
	publisher.Wait()
	if len(streams) != clients*rounds {
		t.Errorf("%d streams were parked", len(streams))
	}
	for _, p := range streams {
		p.ends(t, stream.Gone)
	}
	g.end()
	for _, p := range streams {
		if len(p.closed) > 0 {
			t.Error("a stream was closed more than once")
		}
	}
	if n := g.hub.Stats().Subscribers; n != 0 || g.Len() != 0 || g.registry.Len() != 0 {
		t.Errorf("%d subscribers and %d streams are left", n, g.Len())
	}
}
