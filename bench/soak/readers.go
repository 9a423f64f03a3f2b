package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"freshet/bench/drive"
	"freshet/event"
)

// steady reads the pattern for as long as the load goes on, and then until it has what was
// published last. It must never be cut off, nor told a gap.
func (l *load) steady(ctx context.Context, pattern string, opened func(), reached *atomic.Uint64) error {
	r, err := drive.Open(ctx, drive.Request{URL: l.url(pattern, "")})
	if err != nil {
		return err
	}
	defer r.Close()
	f := newFollower()
	f.all, f.first = pattern == ">", true
	for {
		frame, err := r.Next()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the steady reader of %s at %v: %w", pattern, f.last, err)
		}
		if err := f.see(frame); err != nil {
			return fmt.Errorf("the steady reader of %s: %w", pattern, err)
		}
		if f.gaps > 0 {
			return fmt.Errorf("the steady reader of %s was told of a gap: %s", pattern, frame.Data)
		}
		if frame.HasData {
			l.seen.Add(1)
		}
		if reached.Swap(f.last.Seq()) == 0 {
			opened()
		}
	}
}

// churning comes and goes: it reads something for a while, is away for a while, and goes
// on where it was or begins with something else.
func (l *load) churning(ctx context.Context) error {
	for ctx.Err() == nil {
		pattern, since := l.draw()
		f := newFollower()
		f.all = pattern == ">" && since != "last"
		for range 1 + rand.IntN(4) { //nolint:gosec // no secret
			stay := time.Duration(rand.Int64N(int64(2 * time.Second))) //nolint:gosec // no secret
			if err := l.visit(ctx, f, drive.Request{URL: l.url(pattern, since)}, stay); err != nil {
				return fmt.Errorf("a reader of %s since %q: %w", pattern, since, err)
			}
			if !pause(ctx, time.Duration(rand.Int64N(int64(time.Second)))) { //nolint:gosec // no secret
				return nil
			}
		}
	}
	return nil
}

// slow reads a little, takes nothing for a while, and reads on. The server may have closed
// the stream by then, and retention may have passed it by, which has to be told.
func (l *load) slow(ctx context.Context) error {
	f := newFollower()
	f.all = true
	for ctx.Err() == nil {
		r, err := drive.Open(ctx, drive.Request{URL: l.url(">", "all"), LastEventID: f.last.String(), ReadBuffer: 4096})
		if err != nil {
			return unlessDone(ctx, err)
		}
		l.opened.Add(1)
		for n := 1; ; n++ {
			frame, err := r.Next()
			if err != nil {
				l.cutOff.Add(1)
				break
			}
			if err := f.see(frame); err != nil {
				r.Close()
				return fmt.Errorf("a slow reader: %w", err)
			}
			if n%2000 == 0 && !pause(ctx, time.Duration(rand.Int64N(int64(45*time.Second)))) { //nolint:gosec // no secret
				break
			}
		}
		r.Close()
		pause(ctx, 50*time.Millisecond)
	}
	l.gaps.Add(int64(f.gaps))
	return nil
}

// expired comes back with an ID that is long gone, and must be told.
func (l *load) expired(ctx context.Context) error {
	for pause(ctx, time.Second) {
		first, err := l.first(ctx)
		if err != nil {
			return unlessDone(ctx, err)
		}
		if first.Seq() < 3 {
			continue // nothing has expired yet
		}
		f := newFollower()
		f.all = true
		f.last = event.NewID(first.Epoch(), 1)
		if err := l.visit(ctx, f, drive.Request{URL: l.url(">", "")}, 500*time.Millisecond); err != nil {
			return fmt.Errorf("a reader whose ID is expired: %w", err)
		}
		if f.last.Seq() > 1 && f.gaps == 0 {
			return fmt.Errorf("the log begins at %v; who came back with sequence 1 is at %v and was told of no gap", first, f.last)
		}
		l.gaps.Add(int64(f.gaps))
	}
	return nil
}

// visit opens a stream where the follower is and reads it for as long as it stays.
func (l *load) visit(ctx context.Context, f *follower, request drive.Request, stay time.Duration) error {
	request.LastEventID = f.last.String()
	r, err := drive.Open(ctx, request)
	if err != nil {
		return unlessDone(ctx, err)
	}
	defer r.Close()
	l.opened.Add(1)
	leaving := time.AfterFunc(stay, r.Close)
	defer leaving.Stop()
	for {
		frame, err := r.Next()
		if err != nil {
			if leaving.Stop() && ctx.Err() == nil {
				l.cutOff.Add(1) // the server is full
			}
			return nil
		}
		if err := f.see(frame); err != nil {
			return err
		}
	}
}

// history reads page after page from the beginning.
func (l *load) history(ctx context.Context) error {
	cursor := ""
	f := newFollower()
	f.all = true
	for pause(ctx, 100*time.Millisecond) {
		text, err := l.client.Get(ctx, "/history?since=all&limit=500&cursor="+cursor)
		if err != nil {
			return unlessDone(ctx, fmt.Errorf("history: %w", err))
		}
		var page struct {
			Events []struct{ ID, Type, Data string }
			Cursor string
			More   bool
		}
		if err := json.Unmarshal(text, &page); err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := f.see(event.Frame{Type: e.Type, Data: e.Data, HasData: true, ID: e.ID}); err != nil {
				return fmt.Errorf("history: %w", err)
			}
		}
		l.pages.Add(1)
		if cursor = page.Cursor; !page.More {
			cursor, f = "", newFollower()
			f.all = true
		}
	}
	return nil
}

// draw chooses what a churning reader reads, and from where.
func (l *load) draw() (pattern, since string) {
	publisher := l.publishers[rand.IntN(len(l.publishers))].name //nolint:gosec // no secret
	switch rand.IntN(4) {                                        //nolint:gosec // no secret
	case 0:
		pattern = ">"
	case 1:
		pattern = publisher + "." + strconv.Itoa(rand.IntN(groups)) + ".*" //nolint:gosec // no secret
	default:
		pattern = topicOf(publisher, rand.IntN(groups*each)) //nolint:gosec // no secret
	}
	since = []string{"", "", "all", "last", "-20", "5s"}[rand.IntN(6)] //nolint:gosec // no secret
	return pattern, since
}

func (l *load) url(pattern, since string) string {
	return l.client.URL + "/event?topic=" + url.QueryEscape(pattern) + "&since=" + since
}

func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// first is the ID of the first event that is kept.
func (l *load) first(ctx context.Context) (event.ID, error) {
	text, err := l.client.Get(ctx, "/history?since=all&limit=1")
	if err != nil {
		return event.ID{}, err
	}
	var page struct{ Events []struct{ ID string } }
	if err := json.Unmarshal(text, &page); err != nil || len(page.Events) == 0 {
		return event.ID{}, err
	}
	return event.ParseID(page.Events[0].ID)
}
