package app

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// newcomers are the connections whose first or next request is not answered yet. [http.Server.Shutdown] closes a connection without an answer if
// its request arrives after the call, so the connections that are accepted shortly before need a moment.
type newcomers struct {
	accepting sync.WaitGroup // the listeners

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// track is the ConnState of the server.
func (n *newcomers) track(conn net.Conn, state http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		if n.conns == nil {
			n.conns = map[net.Conn]bool{}
		}
		n.conns[conn] = true
	default:
		delete(n.conns, conn)
	}
}

// finish closes the listeners, and then waits until all connections are answered, at most for newcomerGrace.
func (n *newcomers) finish(listeners []net.Listener) {
	timeout := time.After(newcomerGrace)
	closeAll(listeners)
	ended := make(chan struct{})
	go func() { n.accepting.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-timeout: // without descriptors, net/http pauses before it accepts again
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !n.answered() {
		select {
		case <-tick.C:
		case <-timeout:
			return
		}
	}
}

func (n *newcomers) answered() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns) == 0
}
