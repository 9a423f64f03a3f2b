package main // it runs main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

// Signed deliveries become events, and a repeated one does not. Others are refused.
func TestWebhookIn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	address := apptest.FreeAddress(t)
	cmd, err := apptest.Command(ctx)
	must(t, err)
	cmd.Dir, cmd.Stderr = t.TempDir(), t.Output()
	cmd.Env = append(cmd.Env, "ADDRESS="+address, "WEBHOOK_SECRET=a secret of the webhook")
	must(t, cmd.Start())
	t.Cleanup(func() { // a kill, because the context may be done
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	must(t, apptest.Until(ctx, func() bool {
		response, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil && response.StatusCode == http.StatusOK
	}))

	deliver := func(id, kind, body, signature string) int {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/github", strings.NewReader(body))
		must(t, err)
		r.Header.Set("X-GitHub-Delivery", id)
		r.Header.Set("X-GitHub-Event", kind)
		r.Header.Set("X-Hub-Signature-256", signature)
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		must(t, response.Body.Close())
		return response.StatusCode
	}
	// openssl dgst -sha256 -hmac 'a secret of the webhook'
	const hello = "sha256=a7b2834e517fc6f905e5b4e2f84326b727e30843f61bfc2eed088ca411c39d89"
	for _, d := range []struct {
		id, kind, body, signature string
		want                      int
	}{
		{"1", "push", "Hello, World!", hello, http.StatusNoContent},
		{"1", "push", "Hello, World!", hello, http.StatusNoContent},
		{"2", "push", "Hello, World?", hello, http.StatusUnauthorized},
		{"3", "push", "Hello, World!", "", http.StatusUnauthorized},
		{"4", "push", "Hello, World!", "sha256=zz", http.StatusUnauthorized},
		{"5", "gap", "Hello, World!", hello, http.StatusBadRequest},
		{"6", "push", strings.Repeat("x", 1<<20+1), hello, http.StatusBadRequest},
		{"7", "ping", "Hello, World!", hello, http.StatusNoContent},
	} {
		if status := deliver(d.id, d.kind, d.body, d.signature); status != d.want {
			t.Errorf("delivery %s: %d, want %d", d.id, status, d.want)
		}
	}

	c, err := client.New(client.Config{URL: "http://" + address})
	must(t, err)
	var types []string
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{"github"}, Since: "all"}) {
		must(t, err)
		if types = append(types, e.Type+" "+e.Data); e.Type == "ping" {
			break
		}
	}
	if got := strings.Join(types, ", "); got != "push Hello, World!, ping Hello, World!" {
		t.Errorf("the events are %s", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
