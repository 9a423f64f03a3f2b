package ssetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	longData = 100_000 // bytes
	manyData = 100     // events
)

// checkFraming: an event arrives with its type and its data, in UTF-8 (HTML 9.2.6, Interpreting an event stream).
func checkFraming(ctx context.Context, e *endpoint) error {
	if err := unchanged(ctx, e, "größer ≠ 小さい 🎉: \"id: 1\", {\"json\": true}", ""); err != nil {
		return err
	}
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	mark := marker()
	f, err := c.exchange(ctx, mark, mark)
	if err != nil {
		return err
	}
	if !f.asTyped {
		return fmt.Errorf("the event has the type %q, want %q", f.Type, e.Type)
	}
	text, _ := c.raw.arrived()
	text = text[:strings.LastIndexByte(text, '\n')+1] // the rest can end within a character
	if !utf8.ValidString(text) {
		return errors.New("the stream is not UTF-8, and browsers decode it as nothing else")
	}
	return nil
}

// checkLineEnds: LF, CR and CRLF all end a line of the data, and a browser joins the lines with LF (HTML 9.2.6).
func checkLineEnds(ctx context.Context, e *endpoint) error {
	return unchanged(ctx, e, " one\ntwo\r\nthree\rfour\n", " one\ntwo\nthree\nfour\n")
}

// checkLeadingSpace: a browser removes one space after the colon, so a server must write one if the data begin with a space (HTML 9.2.6).
func checkLeadingSpace(ctx context.Context, e *endpoint) error {
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	mark := marker()
	for _, data := range []string{" " + mark, "  " + mark, mark + "\n  - item"} {
		f, err := c.exchange(ctx, mark, data)
		if err != nil {
			return err
		}
		if f.data != data {
			return fmt.Errorf("data %q arrived as %q", data, f.data)
		}
	}
	return nil
}

// checkForgedFields: data cannot end its event or set fields, however its lines end (HTML 9.2.6).
func checkForgedFields(ctx context.Context, e *endpoint) error {
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	for _, end := range []string{"\n", "\r", "\r\n"} {
		mark := marker()
		data := mark + strings.Join([]string{"", "", "event: forged", "id: forged", "retry: 1", "data: forged", mark}, end)
		f, err := c.exchange(ctx, mark, data)
		if err != nil {
			return err
		}
		if f.Type == "forged" || f.ID == "forged" || f.HasRetry || strings.Count(f.data, mark) != 2 {
			return fmt.Errorf("a line of the data that ends with %q sets a field or ends the event: a publisher can forge events", end)
		}
	}
	return nil
}

// checkEmptyData: a line "data" alone dispatches an event with empty data (HTML 9.2.6, data: "Append a line feed").
func checkEmptyData(ctx context.Context, e *endpoint) error {
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if err := e.Publish(ctx, ""); err != nil {
		return skipped("an event without data cannot be published: " + err.Error())
	}
	mark := marker()
	if err := c.publish(ctx, mark); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	for empty := false; ; {
		f, err := c.frames.next(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errMissing, err)
		}
		data, ok := c.Unwrap(f)
		switch {
		case f.HasData && ok && data == "":
			empty = true
		case !strings.Contains(f.Data, mark):
		case !empty:
			return errors.New("an event with empty data did not arrive: it needs a line data, or a browser dispatches nothing")
		default:
			return nil
		}
	}
}

// checkLongData: a long line arrives whole; there is no limit (HTML 9.2.6).
func checkLongData(ctx context.Context, e *endpoint) error {
	return unchanged(ctx, e, strings.Repeat("long data ", longData/10), "")
}

// checkOrder: events arrive in the order in which they were published, each once (HTML 9.2.6).
func checkOrder(ctx context.Context, e *endpoint) error {
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	mark := marker()
	for n := range manyData {
		if err := c.publish(ctx, numbered(mark, n)); err != nil {
			return err
		}
	}
	for n := range manyData {
		f, err := c.find(ctx, mark, c.Patience)
		if err != nil {
			return fmt.Errorf("event %d of %d: %w", n+1, manyData, err)
		}
		if f.data != numbered(mark, n) {
			return fmt.Errorf("in the place of event %d of %d came %q", n+1, manyData, f.data)
		}
	}
	return nil
}

func numbered(mark string, n int) string { return fmt.Sprintf("%s %d", mark, n) }

// unchanged checks that the data arrive in one event, between two markers. An empty want is the data.
func unchanged(ctx context.Context, e *endpoint, data, want string) error {
	if want == "" {
		want = data
	}
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	mark := marker()
	f, err := c.exchange(ctx, mark, mark+data+mark)
	if err != nil {
		return err
	}
	if got := f.data; got != mark+want+mark && got != mark+data+mark { // an envelope can keep line ends
		return fmt.Errorf("data %s arrived as %s", clip(data), clip(strings.ReplaceAll(got, mark, "")))
	}
	return nil
}

func clip(data string) string {
	if len(data) > maxShown {
		return fmt.Sprintf("%q… (%d bytes)", data[:maxShown], len(data))
	}
	return fmt.Sprintf("%q", data)
}
