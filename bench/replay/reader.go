package replay

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"freshet/client"
	"freshet/event"
)

// reader resumes after a sequence and reads the events of its selection.
type reader struct {
	selection
	after uint64
}

// read reads until it has every event that is due so far, and returns the number of events. The
// error says which event was wrong or did not come.
func (r reader) read(ctx context.Context, c *client.Client, p *publisher) (events int, err error) {
	stream, err := c.Open(ctx, client.Subscription{
		Topics:      []string{r.pattern},
		LastEventID: event.NewID(p.epoch, r.after).String(),
		Header:      http.Header{"Accept": {"text/event-stream"}},
		Heartbeat:   -1,
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
		f, err := next(stream)
		if err != nil {
			return events, fmt.Errorf("%s from %d: waiting for event %d: %w", r.pattern, r.after, last, err)
		}
		if err := check(f, last); err != nil {
			return events, fmt.Errorf("%s from %d: %w", r.pattern, r.after, err)
		}
	}
}

// next returns the next frame with data.
func next(stream *client.Reader) (client.Frame, error) {
	for {
		f, err := stream.Next()
		if err != nil || f.HasData {
			return f, err
		}
	}
}

// check compares the frame with the event of the sequence.
func check(f client.Frame, seq uint64) error {
	want := strconv.FormatUint(seq, 10)
	_, id, _ := strings.Cut(f.ID, "-")
	number, rest, _ := strings.Cut(f.Data, " ")
	if id != want || number != want || rest != filler {
		return fmt.Errorf("got event %s with data %.20q, want event %s", f.ID, f.Data, want)
	}
	return nil
}
