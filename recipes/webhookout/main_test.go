package main // it runs main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/app/apptest"
)

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

// Each event is delivered, in order, to a webhook that fails, and by a program that is killed at any moment. A repeated one has the same key.
func TestWebhookOut(t *testing.T) {
	const events = 30
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := apptest.Start(t, t.TempDir(), "")
	var want []string
	for n := range events {
		id, err := server.Publish(ctx, "orders.paid", "", fmt.Sprint(n), "")
		must(t, err)
		want = append(want, fmt.Sprintf("%s orders.paid %d", id, n))
	}

	posts := make(chan string)
	var n atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte("a secret"))
		mac.Write(body)
		if signature := "sha256=" + hex.EncodeToString(mac.Sum(nil)); err != nil || r.Header.Get("X-Hub-Signature-256") != signature {
			t.Errorf("the signature %q of %q, %v", r.Header.Get("X-Hub-Signature-256"), body, err)
		}
		select {
		case posts <- r.Header.Get("Idempotency-Key") + " " + r.Header.Get("Event-Type") + " " + string(body):
		case <-ctx.Done():
		}
		if n.Add(1)%5 == 0 { // after it was received
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(receiver.Close)

	dir := t.TempDir()
	var program *exec.Cmd
	begin := func() {
		var err error
		program, err = apptest.Command(context.WithoutCancel(ctx), "orders.>", receiver.URL)
		must(t, err)
		program.Dir, program.Stderr = dir, t.Output()
		program.Env = append(program.Env, "FRESHET_URL="+server.URL, "WEBHOOK_SECRET=a secret")
		must(t, program.Start())
	}
	end := func() {
		_ = program.Process.Kill()
		_ = program.Wait()
	}
	begin()
	t.Cleanup(func() { end() })
	var got []string
	repeats := 0
	for len(got) < events {
		select {
		case post := <-posts:
			if len(got) > 0 && post == got[len(got)-1] {
				repeats++
				continue
			}
			if got = append(got, post); len(got)%10 == 0 && len(got) < events {
				end()
				begin()
			}
		case <-ctx.Done():
			t.Fatalf("%d events were delivered", len(got))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the webhook got %q, want %q", got, want)
	}
	if repeats < events/5-1 {
		t.Errorf("%d events were sent again", repeats)
	}
}

// What stops the program is a line on standard error, and an exit code.
func TestErrors(t *testing.T) {
	server := apptest.Start(t, t.TempDir(), "")
	for _, c := range []struct{ url, topic, hook, want string }{
		{server.URL, "orders.>", "example.com/hook", `webhookout: the URL of the webhook is "example.com/hook"`},
		{"localhost", "orders.>", "https://example.com/hook", `webhookout: FRESHET_URL: client: Config.URL is "localhost"`},
		{server.URL, "orders..", "https://example.com/hook", "invalid_topic"},
	} {
		program, err := apptest.Command(t.Context(), c.topic, c.hook)
		must(t, err)
		program.Dir, program.Env = t.TempDir(), append(program.Env, "FRESHET_URL="+c.url)
		output, err := program.CombinedOutput()
		if text := string(output); program.ProcessState.ExitCode() != 1 || !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s %s %s: %v, and it says %q", c.url, c.topic, c.hook, err, text)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
