//go:build linux

package park_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/stream"
	"freshet/stream/park"
)

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
