package ssetest

import (
	"cmp"
	"context"
	"io"
	"testing/synctest"

	"freshet/event"
)

// maxFrame is the largest frame that a stream may have.
const maxFrame = 64 << 20

// frames reads frames in a goroutine, so that its user can stop waiting and loses nothing.
type frames struct {
	scanner  *event.Scanner
	scanning chan bool // the result of the scan that runs; nil: none runs
}

func newFrames(r io.Reader) *frames { return &frames{scanner: event.NewScanner(r, maxFrame)} }

// next waits for the next frame. The error is io.EOF at the stream's end, ctx's error if that comes first, or why the stream broke. After
// ctx's error, the next call continues the wait. In fake time, a frame that arrives at the very moment when ctx ends is returned.
func (f *frames) next(ctx context.Context) (event.Frame, error) {
	if f.scanning == nil {
		scanned := make(chan bool, 1)
		f.scanning = scanned
		go func() { scanned <- f.scanner.Scan() }()
	}
	select {
	case more := <-f.scanning:
		return f.result(more)
	case <-ctx.Done():
	}
	settle()
	select {
	case more := <-f.scanning:
		return f.result(more)
	default:
		return event.Frame{}, ctx.Err()
	}
}

func (f *frames) result(more bool) (event.Frame, error) {
	f.scanning = nil
	if !more {
		return event.Frame{}, cmp.Or(f.scanner.Err(), io.EOF)
	}
	return f.scanner.Frame(), nil
}

// settle waits until all goroutines of a synctest bubble wait. Outside of a bubble it does nothing: synctest cannot be asked, but it
// panics there.
func settle() {
	defer func() { _ = recover() }()
	synctest.Wait()
}
