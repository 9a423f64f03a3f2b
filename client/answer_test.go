package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// readAnswer returns the text of an answer that has ended, and how many events it has.
func readAnswer(ctx context.Context, t *testing.T, c *client.Client, topic string) (text string, events int) {
	t.Helper()
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{topic}, Since: "all"}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Gap != nil {
			t.Errorf("a gap: %+v", e.Gap)
		}
		if e.Type != "end" {
			text += e.Data
			events++
		}
	}
	return text, events
}

// An answer continues over a restart of the server, whole and once.
func TestAnswer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	s := apptest.Start(t, dir, "")
	c := newClient(t, client.Config{URL: s.URL, Token: s.Token, HTTP: s.HTTP})
	a, err := c.Answer(ctx, "answers.17")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range 2000 {
		if i == 1000 {
			s.Stop()
		}
		if i == 1500 {
			s = apptest.Start(t, dir, s.Addr)
		}
		word := fmt.Sprintf("größe\n%d ", i)
		want.WriteString(word)
		for piece := []byte(word); len(piece) > 0; piece = piece[min(3, len(piece)):] { // a rune may be in two pieces
			if _, err := a.Write(piece[:min(3, len(piece))]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := a.Write([]byte("gr\xc3")); err != nil { // half a rune
		t.Fatal(err)
	}
	want.WriteString("gr\ufffd")
	if err := a.End(); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, client.Config{URL: s.URL, Token: s.Token, HTTP: s.HTTP})
	if text, events := readAnswer(ctx, t, c, "answers.17"); text != want.String() || events > 1000 {
		t.Errorf("%d events have %d bytes, want %d", events, len(text), want.Len())
	}

	again, err := c.Answer(ctx, "answers.17")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = again.Write([]byte("late")) // End has the error
	if err := again.End(); !isCode(err, "ended") {
		t.Errorf("another answer in the topic: %v", err)
	}
	if _, err := again.Write([]byte("later")); !isCode(err, "ended") {
		t.Errorf("a write after the refusal: %v", err)
	}
}

func TestAnswerIsStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := apptest.Start(t, t.TempDir(), "")
	c := newClient(t, client.Config{URL: s.URL, Token: s.Token, HTTP: s.HTTP})
	a, err := c.Answer(ctx, "answers.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if a.Stopped().Err() != nil {
		t.Error("it is stopped before anybody has asked for it")
	}
	if _, err := c.Publish(ctx, client.Message{Topic: "answers.1.stop"}); err != nil {
		t.Fatal(err)
	}
	<-a.Stopped().Done()
	if err := a.End(); err != nil {
		t.Fatal(err)
	}
	if text, _ := readAnswer(ctx, t, c, "answers.1"); text != "half" {
		t.Errorf("the answer is %q", text)
	}

	// Without an end, the answer stays open.
	leaving, leave := context.WithCancel(ctx)
	if a, err = c.Answer(leaving, "answers.2"); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := a.End(); !errors.Is(err, context.Canceled) {
		t.Errorf("an end after the context: %v", err)
	}
	if _, err := c.Publish(ctx, client.Message{Topic: "answers.2", Data: "still open"}); err != nil {
		t.Error(err)
	}
	if _, err := c.Answer(ctx, "a..b"); err == nil {
		t.Error("a topic that is none has no error")
	}
}
