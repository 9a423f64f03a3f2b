package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"freshet/bench/drive"
	"freshet/event"
)

// reader resumes behind a sequence and reads what its selection has from there.
type reader struct {
	selection
	after uint64
}

// read reads until it has all that is due up to where upto is by then, and returns how
// much that was. The error says what came that was not due, or did not come.
func (r reader) read(ctx context.Context, p *publisher) (events int, err error) {
	stream, err := drive.Open(ctx, drive.Request{
		URL:         p.client.URL + "/event?topic=" + url.QueryEscape(r.pattern),
		LastEventID: event.NewID(p.epoch, r.after).String(),
	})
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	for last := r.after; ; events++ {
		upto := p.last.Load()
		for last++; last <= upto && !r.due(last); last++ {
		}
		if last > upto {
			return events, nil
		}
		f, err := stream.Event("")
		if err != nil {
			return events, fmt.Errorf("%s from %d: waiting for event %d: %w", r.pattern, r.after, last, err)
		}
		if err := check(f, last); err != nil {
			return events, fmt.Errorf("%s from %d: %w", r.pattern, r.after, err)
		}
	}
}

// check compares the frame with the event of the sequence.
func check(f event.Frame, seq uint64) error {
	want := strconv.FormatUint(seq, 10)
	_, id, _ := strings.Cut(f.ID, "-")
	begin, rest, _ := strings.Cut(f.Data, " ")
	if id != want || begin != want || rest != payload {
		return fmt.Errorf("event %s, data %.20q, came instead of event %s", f.ID, f.Data, want)
	}
	return nil
}
