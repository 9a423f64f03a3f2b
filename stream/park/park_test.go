//go:build linux

package park_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/stream"
)

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
