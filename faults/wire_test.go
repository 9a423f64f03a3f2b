package faults_test

import (
	"context"
	"net"
	"sync"
	"testing"
)

// wire forwards TCP connections to an address. While it is cut, no bytes pass, and both ends wait for them, as they do while a
// network drops all packets.
type wire struct {
	addr string

	mu     sync.Mutex
	passes chan struct{} // closed while bytes pass
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{addr: listener.Addr().String(), passes: make(chan struct{})}
	close(w.passes)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.forward(ctx, near, to) })
		}
	})
	return w
}

// cut stops all bytes until heal is called.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passes = make(chan struct{})
}

func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.passes)
}

// wait waits until bytes pass. It returns false once ctx is done.
func (w *wire) wait(ctx context.Context) bool {
	w.mu.Lock()
	passes := w.passes
	w.mu.Unlock()
	select {
	case <-passes:
		return true
	case <-ctx.Done():
		return false
	}
}

// forward connects near with the address until one of them closes the connection.
func (w *wire) forward(ctx context.Context, near net.Conn, to string) {
	defer near.Close()
	if !w.wait(ctx) {
		return
	}
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var copies sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
		copies.Go(func() {
			buffer := make([]byte, 64<<10)
			for {
				n, err := from.Read(buffer)
				if !w.wait(ctx) { // nor does the end of the connection pass
					return
				}
				if n > 0 {
					_, _ = to.Write(buffer[:n]) // if it fails, so does the next read
				}
				if err != nil {
					to.Close()
					return
				}
			}
		})
	}
	copies.Wait()
}
