package event_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"freshet/event"

	"github.com/google/go-cmp/cmp"
)

func TestScannerKeepsToTheStandard(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []event.Frame
	}{
		"line ends":            {"data: a\rdata: b\r\ndata: c\n\n", []event.Frame{{Type: "message", Data: "a\nb\nc", HasData: true}}},
		"byte order mark":      {"\ufeffdata: a\n\n", []event.Frame{{Type: "message", Data: "a", HasData: true}}},
		"no space, no colon":   {"data:a\ndata\n\n", []event.Frame{{Type: "message", Data: "a\n", HasData: true}}},
		"one space is cut":     {"data:  a\n\n", []event.Frame{{Type: "message", Data: " a", HasData: true}}},
		"comments and unknown": {": hi\n\nfoo: bar\ndata: a\n\n", []event.Frame{{Type: "message", Data: "a", HasData: true}}},
		"id lasts":             {"id: 7\n\ndata: a\n\n", []event.Frame{{Type: "message", ID: "7", HasID: true}, {Type: "message", Data: "a", HasData: true, ID: "7"}}},
		"id with NUL":          {"id: 7\x00\ndata: a\n\n", []event.Frame{{Type: "message", Data: "a", HasData: true}}},
		"retry":                {"retry: 1500\nretry: x\nretry: +1\n\n", []event.Frame{{Type: "message", Retry: 1500 * time.Millisecond, HasRetry: true}}},
		"type without data":    {"event: a\n\ndata: b\n\n", []event.Frame{{Type: "message", Data: "b", HasData: true}}},
		"cut off":              {"data: a\n\ndata: b\n", []event.Frame{{Type: "message", Data: "a", HasData: true}}},
		"empty data":           {"data\n\n", []event.Frame{{Type: "message", HasData: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				if diff := cmp.Diff(c.want, scanAll(t, r)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// The scanner must not wait for the byte after the last CR: on a quiet stream there is none.
func TestScannerReturnsAFrameAtItsLastLineEnd(t *testing.T) {
	r, w := io.Pipe()
	go func() { _, _ = w.Write([]byte("data: a\r\r")) }() // the pipe stays open
	s := event.NewScanner(r, 100)
	if !s.Scan() || s.Frame().Data != "a" {
		t.Errorf("frame %+v, error %v", s.Frame(), s.Err())
	}
}

// A frame that is skipped keeps its ID, so that a reader can go on behind it.
func TestScannerSkipsLongFrames(t *testing.T) {
	long := strings.Repeat("x", 200)
	want := []event.Frame{
		{Type: "message", Data: "a", HasData: true, ID: "1", HasID: true},
		{Type: "big", HasData: true, ID: "2", HasID: true, TooLong: true},
		{Type: "message", Data: "b", HasData: true, ID: "3", HasID: true},
	}
	for name, frame := range map[string]string{
		"one line":      "event: big\ndata: " + long + "\nid: 2\n\n",
		"many lines":    "event: big\n" + strings.Repeat("data: x\n", 50) + "id: 2\n\n",
		"id first, CR":  "id: 2\revent: big\rdata: " + long + "\r\r",
		"lines after":   "event: big\ndata: " + long + "\ndata: more\ndata: " + long + "\nid: 2\n\n",
		"a long field":  long + "\nevent: big\nid: 2\n\n",
		"a long ID too": "event: big\ndata: " + long + "\nid: 2\nid: " + strings.Repeat("9", 5000) + "\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			in := "id: 1\ndata: a\n\n" + frame + "id: 3\ndata: b\n\n"
			for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
				checkSkipping(t, r, want)
			}
		})
	}
	for name, line := range map[string]string{"one line": "data: " + strings.Repeat(long, 100) + "\n", "data": "data: x\n", "comments": ": x\n", "unknown fields": "x: x\n"} {
		s := event.NewScanner(strings.NewReader("data: "+long+"\n"+strings.Repeat(line, 5000)+"\n"), 100)
		s.SkipLongFrames(10_000)
		if s.Scan() || !errors.Is(s.Err(), event.ErrFrameTooLong) {
			t.Errorf("%s beyond the limit: %v", name, s.Err())
		}
	}
}

// A comment of any length changes no event.
func TestScannerSkipsLongComments(t *testing.T) {
	comment := ":" + strings.Repeat("x", 200) + "\n"
	want := []event.Frame{{Type: "message", Data: strings.Repeat("a", 90), HasData: true}, {Type: "message", Data: "b", HasData: true}}
	in := comment + "\n" + comment + "data: " + want[0].Data + "\n" + ": short\n" + comment + "\n" + "data: b\n" + comment + "\n"
	for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
		checkSkipping(t, r, want)
	}
}

// Some servers end the comments that keep a connection open with one line end, so that they belong to the next frame.
func TestScannerDoesNotCountComments(t *testing.T) {
	have := scanAll(t, strings.NewReader(strings.Repeat(": keep-alive\n", 100_000)+"data: a\n\n"))
	if diff := cmp.Diff([]event.Frame{{Type: "message", Data: "a", HasData: true}}, have); diff != "" {
		t.Error(diff)
	}
}

func TestScannerRefusesFramesThatAreTooLong(t *testing.T) {
	for _, in := range []string{"data: " + strings.Repeat("x", 100) + "\n\n", strings.Repeat("data: x\n", 20) + "\n", strings.Repeat("x", 101)} {
		s := event.NewScanner(strings.NewReader(in), 100)
		if s.Scan() || !errors.Is(s.Err(), event.ErrFrameTooLong) {
			t.Errorf("%.20q…: error %v", in, s.Err())
		}
	}
}

// Every event arrives as one frame with exactly its type, its lines and its ID.
func FuzzFrameRoundTrip(f *testing.F) {
	f.Add("news", "news", "hello", uint64(36), uint64(7))
	f.Add("a.b", "message", "a\r\nb\rc\n\nid: 1\n\ndata: x", uint64(1), uint64(0))
	f.Add("a", "x: y", ": comment", uint64(1), uint64(1))
	f.Add("a", "\ufeff", "\ufeff", uint64(1), uint64(1))
	f.Fuzz(func(t *testing.T, topicName, typeName, data string, epoch, seq uint64) {
		topic, err := event.ParseTopic(topicName)
		if err != nil {
			return
		}
		typ, err := event.ParseType(typeName)
		if err != nil {
			typ = event.TypeOf(topic)
		}
		e, err := event.New(topic, typ, data)
		if err != nil {
			return
		}
		e = e.Stored(event.NewID(epoch, seq), time.Unix(0, 0))
		cursor := event.NewID(epoch|1, seq)

		wire := event.Frames.AppendCursor(nil, cursor, time.Second)
		wire = event.Frames.AppendEvent(wire, e)
		got := scanAll(t, bytes.NewReader(wire))

		lastID := e.ID().String()
		if lastID == "" {
			lastID = cursor.String()
		}
		lines := strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
		want := []event.Frame{
			{Type: "message", ID: cursor.String(), HasID: true, Retry: time.Second, HasRetry: true},
			{Type: typ.String(), Data: lines, HasData: true, ID: lastID, HasID: e.ID().String() != ""},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("wire %q:\n%s", wire, diff)
		}
		if line := event.Lines.AppendEvent(nil, e); bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("not one line: %q", line)
		}
	})
}

// With any bytes, the scanner ends, and its frames have no line end within a field.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("retry: 10\nid: 1\n\nevent: a\ndata: b\ndata\n\n:c\n\n"))
	f.Add([]byte("\ufeffdata: a\r\rdata: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, frame := range scanAll(t, bytes.NewReader(in)) {
			if strings.ContainsAny(frame.Type+frame.ID, "\r\n") || strings.Contains(frame.Data, "\r") {
				t.Errorf("line end within a field: %+v", frame)
			}
			if id, err := event.ParseID(frame.ID); err == nil && id.String() != frame.ID {
				t.Errorf("ID %q reads as %v", frame.ID, id)
			}
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("a.*", "a.b")
	f.Add(">", "news")
	f.Add("s.>", segments(33))
	f.Add("*", "a,b")
	f.Fuzz(func(t *testing.T, patternText, topicName string) {
		topic, err := event.ParseStoredTopic(topicName)
		if err != nil {
			return
		}
		own, err := event.ParsePattern(topicName)
		requestable := strings.Count(topicName, ".") < event.MaxSegments && !strings.Contains(topicName, ",")
		if requestable != (err == nil) || requestable != own.Match(topic) || !event.All.Match(topic) {
			t.Errorf("topic %q: its pattern %v, %v; selected by it: %v", topicName, own, err, own.Match(topic))
		}
		if pattern, err := event.ParsePattern(patternText); err == nil && pattern.Match(topic) &&
			strings.Count(patternText, ".") > strings.Count(topicName, ".") {
			t.Errorf("%q, which has more segments, matches %q", patternText, topicName)
		}
	})
}

func scanAll(t *testing.T, r io.Reader) []event.Frame {
	t.Helper()
	frames, err := framesOf(event.NewScanner(r, 1<<20))
	if err != nil && !errors.Is(err, event.ErrFrameTooLong) {
		t.Errorf("scan: %v", err)
	}
	return frames
}

// checkSkipping scans frames of up to 100 bytes, and skips longer ones.
func checkSkipping(t *testing.T, r io.Reader, want []event.Frame) {
	t.Helper()
	s := event.NewScanner(r, 100)
	s.SkipLongFrames(10_000)
	have, err := framesOf(s)
	if diff := cmp.Diff(want, have); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func framesOf(s *event.Scanner) (frames []event.Frame, err error) {
	for s.Scan() {
		frames = append(frames, s.Frame())
	}
	return frames, s.Err()
}
