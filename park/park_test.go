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

	"freshet/bench/drive"
	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
	"freshet/park"
)

// ground is a park of streams of a hub of a log in memory, in real time.
type ground struct {
	*park.Park
	log    *eventlogtest.Memory
	hub    *hub.Hub
	listen net.Listener
	end    func() // ends the park and waits for it
}

func newGround(t *testing.T, window int64, cfg park.Config) *ground {
	t.Helper()
	log := eventlogtest.NewMemory()
	h, err := hub.New(t.Context(), log, hub.Config{WindowBytes: window})
	must(t, err)
	if cfg.Stats == nil {
		cfg.Stats = func() *event.Event { return nil }
	}
	cfg.Retry = func() time.Duration { return 1500 * time.Millisecond }
	p, err := park.New(cfg)
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
	return &ground{p, log, h, l, end}
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

// owner is told what becomes of a stream.
type owner struct {
	sub    *hub.Subscriber
	behind chan handedBack
	ended  chan ending
	why    park.Reason // of a subscriber that is ended
}

type handedBack struct {
	ctx     context.Context // it is what the test looks at
	conn    net.Conn
	account park.Account
}

type ending struct {
	account park.Account
	why     park.Reason
}

func (o *owner) Behind(ctx context.Context, conn net.Conn, a park.Account) {
	o.behind <- handedBack{ctx, conn, a}
}

func (o *owner) Why() park.Reason { return o.why }

func (o *owner) Ended(a park.Account, why park.Reason) { o.ended <- ending{a, why} }

// end waits for the stream's end.
func (o *owner) end(t *testing.T, why park.Reason) park.Account {
	t.Helper()
	select {
	case e := <-o.ended:
		if e.why != why {
			t.Errorf("ended because: %s, want %s", e.why, why)
		}
		return e.account
	case <-o.behind:
		t.Fatal("the stream is behind")
	case <-within(t).Done():
		t.Fatalf("the stream does not end, want %s", why)
	}
	return park.Account{}
}

// subscribe returns the owner of a subscriber that has been handed out all there is.
func (g *ground) subscribe(t *testing.T, patterns ...string) *owner {
	t.Helper()
	var r hub.Request
	for _, text := range patterns {
		p, err := event.ParsePattern(text)
		must(t, err)
		r.Patterns = append(r.Patterns, p)
	}
	r.Wake = func() {}
	sub, err := g.hub.Subscribe(t.Context(), r)
	must(t, err)
	if entries, err := sub.Next(nil); len(entries) > 0 || err != nil {
		t.Fatalf("the subscriber has %d entries, %v", len(entries), err)
	}
	return &owner{sub, make(chan handedBack, 100), make(chan ending, 100), park.Ended}
}

// enter parks a stream and returns the peer's end.
func (g *ground) enter(t *testing.T, s park.Stream, patterns ...string) (net.Conn, *owner) {
	t.Helper()
	peer, own := g.pair(t)
	o := g.subscribe(t, patterns...)
	s.Sub, s.Owner = o.sub, o
	must(t, g.Enter(own, s))
	return peer, o
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

// A stream whose subscriber was ended says why, and ends whole.
func TestAStreamIsEndedFromOutside(t *testing.T) {
	for why, typ := range map[park.Reason]event.Type{park.Ended: event.TypeDrain, park.Expired: event.TypeAuthExpired} {
		g := newGround(t, 0, park.Config{})
		peer, o := g.enter(t, park.Stream{}, "n")
		o.why = why
		o.sub.End()
		frames, _ := readBody(peer)
		if why == park.Ended && (!frames.Scan() || !frames.Frame().HasRetry) {
			t.Errorf("before the drain: %+v, %v", frames.Frame(), frames.Err())
		}
		if !frames.Scan() || frames.Frame().Type != typ.String() {
			t.Errorf("%s: the last words are %+v, %v", why, frames.Frame(), frames.Err())
		}
		if frames.Scan() || frames.Err() != nil {
			t.Errorf("%s: after them came %+v, %v", why, frames.Frame(), frames.Err())
		}
		if a := o.end(t, why); a.Events != 1 {
			t.Errorf("%s: %+v", why, a)
		}
	}
}

// What is sent is what the account says, and ends as a chunked body ends.
func TestAParkedStreamSendsAllThereIs(t *testing.T) {
	g := newGround(t, 0, park.Config{CounterInterval: 5 * time.Millisecond, StatsInterval: 7 * time.Millisecond,
		Heartbeat: 11 * time.Millisecond, Stats: func() *event.Event {
			e := event.Stats([]byte(`{"streams":1}`))
			return &e
		}})
	began := park.Account{Count: 41, Events: 1, Bytes: 7}
	peer, o := g.enter(t, park.Stream{Counter: true, Stats: true, Account: began}, "n.*", "n.>")
	const events = 3000
	go func() {
		for i := range events {
			g.log.Publish(t, "n.a", fmt.Sprint(i))
			g.log.Publish(t, "other", "")
		}
	}()
	frames, sent := readBody(peer)
	count, seen, stats, beats, dispatched := 41, 0, 0, 0, 1
	for seen < events || count < 45 || stats == 0 || beats == 0 {
		if !frames.Scan() {
			t.Fatalf("the stream ended after %d events: %v", seen, frames.Err())
		}
		f := frames.Frame()
		if f.HasData {
			dispatched++
		}
		switch {
		case !f.HasData && f.ID != "":
			beats++
		case f.Type == "stats":
			stats++
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
	g.Drain(0)
	var last event.Frame
	for frames.Scan() {
		if last = frames.Frame(); last.HasData {
			dispatched++
		}
	}
	if frames.Err() != nil || last.Type != "drain" {
		t.Errorf("the stream ended with %+v, %v", last, frames.Err())
	}
	a := o.end(t, park.Drained)
	if a.Events != dispatched || a.Bytes != sent.bytes+began.Bytes {
		t.Errorf("the account has %d events and %d bytes, want %d and %d", a.Events, a.Bytes, dispatched, sent.bytes+began.Bytes)
	}
	if n := g.hub.Stats().Subscribers; n != 0 || g.Len() != 0 {
		t.Errorf("%d subscribers and %d streams are left", n, g.Len())
	}
}

// A frame that the socket takes in many parts is not broken up by others that come due.
func TestALargeEventArrivesWhole(t *testing.T) {
	g := newGround(t, 256<<20, park.Config{CounterInterval: time.Millisecond, Heartbeat: time.Millisecond})
	peer, _ := g.enter(t, park.Stream{Counter: true}, "n")
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

// One that takes nothing is closed; its neighbours notice nothing of it.
func TestAStalledStreamIsClosed(t *testing.T) {
	const stall = 300 * time.Millisecond
	g := newGround(t, 0, park.Config{Shards: 1, Stall: stall, CounterInterval: time.Millisecond})
	_, stuck := g.enter(t, park.Stream{Counter: true}, "n")
	peer, _ := g.enter(t, park.Stream{}, "n")
	frames, _ := readBody(peer)
	g.log.Publish(t, "n", strings.Repeat("x", 2<<20))
	began := time.Now()
	if !frames.Scan() || len(frames.Frame().Data) != 2<<20 {
		t.Errorf("the other one gets no event: %v", frames.Err())
	}
	stuck.end(t, park.Stalled)
	if took := time.Since(began); took < stall {
		t.Errorf("closed after %v", took)
	}
	if g.Len() != 1 {
		t.Errorf("%d streams are parked, want the other one", g.Len())
	}
}

// A slow one is not: it takes less in the time than epoll would tell of.
func TestASlowReaderIsNotStalled(t *testing.T) {
	g := newGround(t, 0, park.Config{Stall: time.Second})
	peer, o := g.enter(t, park.Stream{}, "n")
	data := strings.Repeat("x", 4<<20)
	g.log.Publish(t, "n", data)
	var taken []byte
	piece := make([]byte, 16<<10)
	tick := time.NewTicker(40 * time.Millisecond) // 400 KB a second: loopback tells of 64 KB at a time
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
	if !frames.Scan() || frames.Frame().Data != data {
		t.Errorf("no event: %v", frames.Err())
	}
	select {
	case e := <-o.ended:
		t.Errorf("ended because: %s", e.why)
	default:
	}
}

// A peer that goes is seen at once, however it goes, and whatever it has sent.
func TestAPeerThatGoesIsSeen(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn) error{
		"close": (*net.TCPConn).Close,
		"half":  (*net.TCPConn).CloseWrite,
		"reset": func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
		"bytes": func(c *net.TCPConn) error {
			_, err := c.Write(make([]byte, 10_000))
			return errors.Join(err, c.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, 0, park.Config{})
			peer, o := g.enter(t, park.Stream{}, "n")
			must(t, leave(peer.(*net.TCPConn)))
			o.end(t, park.Gone)
			if n := g.hub.Stats().Subscribers; n != 0 || g.Len() != 0 {
				t.Errorf("%d subscribers and %d streams are left", n, g.Len())
			}
		})
		t.Run(name+" while it takes nothing", func(t *testing.T) {
			g := newGround(t, 0, park.Config{})
			peer, o := g.enter(t, park.Stream{}, "n")
			g.log.Publish(t, "n", strings.Repeat("x", 4<<20))
			_, err := io.ReadFull(peer, make([]byte, 1000)) // it is being written
			must(t, err)
			must(t, leave(peer.(*net.TCPConn)))
			o.end(t, park.Gone)
		})
	}
}

// One that falls behind the window comes back at the end of a frame, and can go on from there.
func TestAStreamThatIsBehindComesBack(t *testing.T) {
	g := newGround(t, 64<<10, park.Config{})
	peer, o := g.enter(t, park.Stream{}, "n")
	large := strings.Repeat("x", 1<<20)
	g.log.Publish(t, "n", large)
	r := bufio.NewReader(peer)
	_, err := r.Peek(1) // it is being written
	must(t, err)
	frames, sent := readBody(r)
	for i := range 100 {
		g.log.Publish(t, "n", fmt.Sprint(i, strings.Repeat("y", 1000)))
	}
	must(t, drive.Until(within(t), func() bool { return g.hub.Stats().Published == 101 }))
	for frames.Scan() && frames.Frame().Data != large {
	}
	var back handedBack
	select {
	case back = <-o.behind:
	case <-within(t).Done():
		t.Fatal("the stream does not come back")
	}
	if g.Len() != 0 || back.ctx.Err() != nil {
		t.Errorf("%d streams are parked, the context says %v", g.Len(), back.ctx.Err())
	}
	if entries, err := o.sub.Replay(t.Context()); err != nil || len(entries) != 100 {
		t.Errorf("%d entries are due, want 100: %v", len(entries), err)
	}
	// In the middle of the body, at the end of a chunk.
	_, err = io.WriteString(back.conn, "9\r\nid: 1-1\n\n\r\n0\r\n\r\n")
	must(t, err)
	for frames.Scan() {
	}
	if frames.Err() != nil || frames.Frame().ID != "1-1" || sent.bytes != back.account.Bytes+len("id: 1-1\n\n") {
		t.Errorf("%v, %+v; %d bytes, and %d before", frames.Err(), frames.Frame().ID, sent.bytes, back.account.Bytes)
	}
	g.end()
	if back.ctx.Err() == nil {
		t.Error("the park has ended, but not its context")
	}
	must(t, back.conn.Close())
	o.sub.Close()
}

// A drain is over when its span is, also for those who come late.
func TestADrainEndsAllInItsSpan(t *testing.T) {
	g := newGround(t, 0, park.Config{})
	const span = 300 * time.Millisecond
	var owners []*owner
	began := time.Now()
	for range 50 {
		_, o := g.enter(t, park.Stream{}, "n")
		owners = append(owners, o)
		if len(owners) == 25 {
			began = time.Now()
			g.Drain(span)
		}
	}
	var least, most time.Duration = time.Hour, 0
	for i, o := range owners {
		o.end(t, park.Drained)
		took := time.Since(began)
		least, most = min(least, took), max(most, took)
		if i == 24 && most < span/4 {
			t.Errorf("all ended within %v: they are not spread", most)
		}
	}
	if most > 2*span+10*time.Second {
		t.Errorf("the last ended after %v", most)
	}
	_, late := g.enter(t, park.Stream{}, "n")
	entered := time.Now()
	late.end(t, park.Drained)
	if took := time.Since(entered); took > span && took > 10*time.Second {
		t.Errorf("one that came after the drain ended after %v", took)
	}
}

// When the park has ended all is closed, the owners know, and it takes nothing more.
func TestTheEndLeavesNothing(t *testing.T) {
	before := descriptors(t)
	g := newGround(t, 0, park.Config{Shards: 3})
	var owners []*owner
	var peers []net.Conn
	for range 20 {
		peer, o := g.enter(t, park.Stream{}, "n")
		peers, owners = append(peers, peer), append(owners, o)
	}
	if g.Len() != 20 {
		t.Errorf("%d are parked", g.Len())
	}
	g.end()
	for _, o := range owners {
		select {
		case e := <-o.ended:
			if e.why != park.Gone {
				t.Errorf("ended because: %s", e.why)
			}
		default:
			t.Error("the park has ended, and an owner does not know")
		}
	}
	peer, own := g.pair(t)
	o := g.subscribe(t, "n")
	if err := g.Enter(own, park.Stream{Sub: o.sub, Owner: o}); !errors.Is(err, park.ErrClosed) {
		t.Errorf("entered after the end: %v", err)
	}
	g.Drain(0)
	g.log.Publish(t, "n", "x") // a wake-up of a closed park is no harm
	_, err := own.Write([]byte("y"))
	must(t, err) // it stayed ours
	o.sub.Close()
	must(t, errors.Join(peer.Close(), own.Close(), g.listen.Close()))
	for _, peer := range peers {
		must(t, peer.Close())
	}
	if err := drive.Until(within(t), func() bool { return descriptors(t) <= before }); err != nil {
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
	g := newGround(t, 0, park.Config{})
	own, peer := net.Pipe()
	o := g.subscribe(t, "n")
	if err := g.Enter(own, park.Stream{Sub: o.sub, Owner: o}); err == nil || g.Len() != 0 {
		t.Errorf("a pipe is parked: %v", err)
	}
	must(t, errors.Join(own.Close(), peer.Close()))
	o.sub.Close()
	if _, err := park.New(park.Config{Stall: -1}); err == nil {
		t.Error("a negative interval is none")
	}
}

// Streams come and go while events are published: each ends once, and whoever stays has all.
func TestComingAndGoingUnderLoad(t *testing.T) {
	g := newGround(t, 0, park.Config{CounterInterval: 3 * time.Millisecond, Heartbeat: 2 * time.Millisecond})
	const streams, rounds = 8, 25
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
					_ = drive.Until(t.Context(), func() bool { return g.hub.Stats().Published+50 > uint64(i) })
				}
			}
		}
	})
	var mu sync.Mutex
	var owners []*owner
	for range streams {
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
				o := &owner{behind: make(chan handedBack, 10), ended: make(chan ending, 10)}
				p, err := event.ParsePattern("n")
				if err == nil {
					o.sub, err = g.hub.Subscribe(t.Context(), hub.Request{Patterns: event.Patterns{p}, Wake: func() {}})
				}
				if err == nil {
					err = g.Enter(own, park.Stream{Sub: o.sub, Owner: o, Counter: true})
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				owners = append(owners, o)
				mu.Unlock()
				// Whoever accepted got one of the connections, not his own: read, and close it.
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
	if len(owners) != streams*rounds {
		t.Errorf("%d streams were parked", len(owners))
	}
	for _, o := range owners {
		o.end(t, park.Gone)
	}
	g.end()
	for _, o := range owners {
		if len(o.ended) > 0 || len(o.behind) > 0 {
			t.Error("an owner was told more than once")
		}
	}
	if n := g.hub.Stats().Subscribers; n != 0 || g.Len() != 0 {
		t.Errorf("%d subscribers and %d streams are left", n, g.Len())
	}
}
