// Webhookout posts each event of Freshet to a URL.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"freshet/client"
)

// deliver posts events to the webhook, one after the other. The file has the ID of the last event that the webhook has accepted.
func deliver(ctx context.Context, c *client.Client, topic string, hook webhook, file string) error {
	last, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{topic}, Since: "all", LastEventID: string(last)}) {
		if err != nil {
			return err
		}
		if e.Gap != nil {
			log.Printf("events are lost: %s", e.Data)
			continue
		}
		if err := hook.deliver(ctx, e); err != nil {
			return err
		}
		if err := replace(file, e.ID); err != nil {
			return err
		}
	}
	return nil
}

// webhook is where the events go.
type webhook struct {
	url    string
	secret []byte // of the signature
	client *http.Client
}

// deliver posts the event until the webhook accepts it, or ctx is done.
func (w webhook) deliver(ctx context.Context, e client.Event) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Minute) {
		err := w.post(ctx, e)
		if err == nil {
			return nil
		}
		log.Printf("event %s is not delivered, and will be sent again in %v: %v", e.ID, wait, err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w webhook) post(ctx context.Context, e client.Event) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, strings.NewReader(e.Data))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, w.secret)
	mac.Write([]byte(e.Data))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Event-Type", e.Type)
	r.Header.Set("Idempotency-Key", e.ID)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	response, err := w.client.Do(r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // the connection can be used again
	_ = response.Body.Close()
	if response.StatusCode/100 != 2 {
		return errors.New(response.Status)
	}
	return nil
}

// replace writes the file as a whole, or leaves the old one.
func replace(file, text string) error {
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func run(ctx context.Context, topic, hookURL string) error {
	if u, err := url.Parse(hookURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("the URL of the webhook is %q; want a URL like https://example.com/hook", hookURL)
	}
	c, err := client.New(client.Config{URL: os.Getenv("FRESHET_URL"), Token: os.Getenv("FRESHET_TOKEN")})
	if err != nil {
		return fmt.Errorf("FRESHET_URL: %w", err)
	}
	hook := webhook{hookURL, []byte(os.Getenv("WEBHOOK_SECRET")), &http.Client{Timeout: 30 * time.Second}}
	return deliver(ctx, c, topic, hook, "last-event-id")
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: webhookout TOPIC URL")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1], os.Args[2])
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "webhookout:", err)
		os.Exit(1)
	}
}
