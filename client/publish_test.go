package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/client"
	"freshet/event"

	"github.com/google/go-cmp/cmp"
)

// stored answers as the server does.
func stored(w io.Writer, seq int) { write(w, fmt.Sprintf(`{"id":"e-%d","topic":"news"}`+"\n", seq)) }

func write(w io.Writer, text string) { fmt.Fprint(w, text) }

func refuse(w http.ResponseWriter, status int, code, retryAfter string) {
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	write(w, `{"error":{"code":"`+code+`","message":"no"}}`)
}

func TestPublish(t *testing.T) {
	type request struct{ Target, Token, Key, Body string }
	var got []request
	c, closeAll := connect(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, request{r.Method + " " + r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"), string(body)})
		stored(w, len(got))
	}, client.Config{Token: "secret"})
	defer closeAll()
	messages := []client.Message{
		{Topic: "news", Data: "one\r\n", Key: "mine"},
		{Topic: "a.b%?ü", Type: "x y", Data: ""},
		{Topic: "news", Data: "again", TTL: 90 * time.Second},
	}
	for i, m := range messages {
		id, err := c.Publish(t.Context(), m)
		if err != nil || id.Seq() != uint64(i+1) {
			t.Errorf("%+v: %v, %v", m, id, err)
		}
	}
	if len(got) != 3 || len(got[1].Key) < 20 || got[1].Key == got[2].Key {
		t.Fatalf("the keys are not random: %+v", got)
	}
	got[1].Key, got[2].Key = "", ""
	want := []request{
		{"POST /event/news", "Bearer secret", "mine", "one\r\n"},
		{"POST /event/a.b%25%3F%C3%BC?type=x+y", "Bearer secret", "", ""},
		{"POST /event/news?ttl=1m30s", "Bearer secret", "", "again"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMessageThatCannotBePublishedIsNotSent(t *testing.T) {
	c, closeAll := connect(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }, client.Config{})
	defer closeAll()
	bad := []client.Message{{}, {Topic: "a..b"}, {Topic: "counter"}, {Topic: "x", Type: "gap"}, {Topic: "x", Type: " "}, {Topic: "x", Data: "\xff"}, {Topic: "x", TTL: time.Millisecond}, {Topic: "x", TTL: -time.Hour}}
	results, err := c.PublishAll(t.Context(), bad)
	if err != nil || len(results) != len(bad) {
		t.Fatal(results, err)
	}
	for i, m := range bad {
		var invalid *event.InvalidError
		if _, err := c.Publish(t.Context(), m); !errors.As(err, &invalid) || !errors.As(results[i].Err, &invalid) {
			t.Errorf("%+v: %v, %v", m, err, results[i].Err)
		}
	}
	if results, err := c.PublishAll(t.Context(), []client.Message{{Topic: "x", Key: "k"}}); err != nil || results[0].Err == nil {
		t.Error("PublishAll accepts a key for one message")
	}
}

// What a retry may mend is sent again with the same key, after the wait that the server asks for.
func TestPublishRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, n := map[string]int{}, 0
		began := time.Now()
		var last time.Duration
		c, closeAll := connect(t, func(w http.ResponseWriter, r *http.Request) {
			keys[r.Header.Get("Idempotency-Key")]++
			n++
			switch n {
			case 1:
				refuse(w, http.StatusServiceUnavailable, "log_unavailable", "5")
			case 2:
				panic(http.ErrAbortHandler) // the connection breaks
			case 3:
				refuse(w, http.StatusTooManyRequests, "rate_limited", "7")
			case 4:
				http.Error(w, "<h1>Bad Gateway</h1>", http.StatusBadGateway)
			case 5:
				<-r.Context().Done() // no answer at all
			default:
				last = time.Since(began)
				stored(w, n)
			}
		}, client.Config{})
		defer closeAll()
		id, err := c.Publish(t.Context(), client.Message{Topic: "news"})
		if err != nil || id.Seq() != 6 || len(keys) != 1 {
			t.Errorf("%v, %v, keys %v", id, err, keys)
		}
		if last < 42*time.Second || last > 50*time.Second {
			t.Errorf("stored after %v, want 5 s, 7 s and 30 s for the answer that never comes, and a little", last)
		}
	})
}

func TestPublishDoesNotRetryWhatItCannotMend(t *testing.T) {
	for _, c := range []client.Error{
		{Status: 400, Code: "invalid_topic"}, {Status: 401, Code: "unauthorized"}, {Status: 403, Code: "forbidden"},
		{Status: 409, Code: "ended"}, {Status: 413, Code: "too_large"}, {Status: 500, Code: "internal"}, {Status: 507, Code: "log_full"},
	} {
		n := 0
		cl, closeAll := connect(t, func(w http.ResponseWriter, _ *http.Request) {
			n++
			refuse(w, c.Status, c.Code, "3")
		}, client.Config{})
		_, err := cl.Publish(t.Context(), client.Message{Topic: "news"})
		c.Message, c.RetryAfter = "no", 3*time.Second
		var got *client.Error
		if !errors.As(err, &got) || *got != c || n != 1 {
			t.Errorf("%d: %v after %d attempts", c.Status, err, n)
		}
		closeAll()
	}
}

// Retries end before the server forgets the key, and with the context.
func TestRetriesEnd(t *testing.T) {
	for name, c := range map[string]struct {
		code        string
		timeout     time.Duration
		attempts    int
		least, most time.Duration
	}{
		"the key is forgotten":   {"log_unavailable", time.Hour, 0, 110 * time.Second, 110 * time.Second},
		"the context ends first": {"log_unavailable", 20 * time.Second, 0, 20 * time.Second, 20 * time.Second},
		"three attempts":         {"draining", time.Hour, 3, 10 * time.Second, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, closeAll := connect(t, func(w http.ResponseWriter, _ *http.Request) {
					refuse(w, http.StatusServiceUnavailable, c.code, "5")
				}, client.Config{Attempts: c.attempts})
				defer closeAll()
				ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
				defer cancel()
				began := time.Now()
				_, err := cl.Publish(ctx, client.Message{Topic: "news"})
				var refused *client.Error
				if took := time.Since(began); !errors.As(err, &refused) || refused.Code != c.code || took < c.least || took > c.most {
					t.Errorf("ended after %v: %v", took, err)
				}
				if errors.Is(err, context.DeadlineExceeded) != (ctx.Err() != nil) {
					t.Errorf("the error does not tell the end of the context: %v", err)
				}
			})
		})
	}
}

func TestPublishAll(t *testing.T) {
	var sizes []int
	keys, seq := map[string]bool{}, 0
	c, closeAll := connect(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) > 300 && bytes.Count(body, []byte("\n")) > 1 || r.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%d bytes, %v, %v", len(body), r.Header, err)
		}
		sizes = append(sizes, bytes.Count(body, []byte("\n")))
		keys[r.Header.Get("Idempotency-Key")] = true
		if len(body) > 300 {
			refuse(w, http.StatusRequestEntityTooLarge, "too_large", "")
			return
		}
		for line := range bytes.Lines(body) {
			var m struct{ Topic, Type, Data string }
			if err := json.Unmarshal(line, &m); err != nil {
				t.Error(err)
			}
			if m.Data == "forbidden" {
				write(w, `{"error":{"code":"forbidden","message":"no"}}`+"\n")
				continue
			}
			seq++
			if m.Data != fmt.Sprintf("<%d>", seq) || m.Topic != "a" || m.Type != "b" {
				t.Errorf("line %d is %+v", seq, m)
			}
			stored(w, seq)
		}
	}, client.Config{MaxBody: 300})
	defer closeAll()
	var messages []client.Message
	for i := range 20 {
		messages = append(messages, client.Message{Topic: "a", Type: "b", Data: fmt.Sprintf("<%d>", i+1)})
	}
	bad := map[int]string{3: "forbidden", 5: "\xff", 12: strings.Repeat("x", 400)}
	all := messages
	for i := range 23 {
		if data, ok := bad[i]; ok {
			all = append(all[:i:i], append([]client.Message{{Topic: "a", Type: "b", Data: data}}, all[i:]...)...)
		}
	}
	results, err := c.PublishAll(t.Context(), all)
	if err != nil || len(results) != 23 || seq != 20 || len(sizes) < 4 || len(keys) != len(sizes) {
		t.Fatalf("%d results, %d stored, requests of %v lines, %d keys: %v", len(results), seq, sizes, len(keys), err)
	}
	next := uint64(1)
	for i, r := range results {
		if _, isBad := bad[i]; isBad != (r.Err != nil) {
			t.Errorf("message %d: %+v", i, r)
		} else if !isBad {
			if r.ID.Seq() != next {
				t.Errorf("message %d has ID %v", i, r.ID)
			}
			next++
		}
	}
}

// A request in which the log did not answer for a line is sent again with its key.
func TestPublishAllRetriesLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, keys := 0, map[string]bool{}
		c, closeAll := connect(t, func(w http.ResponseWriter, r *http.Request) {
			keys[r.Header.Get("Idempotency-Key")] = true
			stored(w, 1)
			if n++; n < 3 {
				write(w, `{"error":{"code":"log_unavailable","message":"no"}}`+"\n")
				return
			}
			stored(w, 2)
		}, client.Config{})
		defer closeAll()
		results, err := c.PublishAll(t.Context(), []client.Message{{Topic: "a"}, {Topic: "a"}})
		if err != nil || len(results) != 2 || results[0].ID.Seq() != 1 || results[1].ID.Seq() != 2 || n != 3 || len(keys) != 1 {
			t.Errorf("%+v after %d attempts with %d keys: %v", results, n, len(keys), err)
		}
	})
}

// What was stored before a request that fails is known.
func TestPublishAllThatFails(t *testing.T) {
	n := 0
	c, closeAll := connect(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n == 3 {
			refuse(w, http.StatusInsufficientStorage, "log_full", "")
			return
		}
		stored(w, n)
	}, client.Config{MaxBody: 1})
	defer closeAll()
	results, err := c.PublishAll(t.Context(), slices.Repeat([]client.Message{{Topic: "a"}}, 4))
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Code != "log_full" || len(results) != 2 || results[1].ID.Seq() != 2 {
		t.Errorf("%+v, %v", results, err)
	}
}

// A server with a smaller limit gets the messages in smaller requests. Only a message that is too large alone is refused.
func TestPublishAllMakesRequestsSmaller(t *testing.T) {
	var received []string
	c, closeAll := connect(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) > 300 {
			refuse(w, http.StatusRequestEntityTooLarge, "too_large", "")
			return
		}
		for line := range bytes.Lines(body) {
			var m struct{ Data string }
			if err := json.Unmarshal(line, &m); err != nil {
				t.Error(err)
			}
			received = append(received, m.Data)
			stored(w, len(received))
		}
	}, client.Config{})
	defer closeAll()
	var messages []client.Message
	var want []string
	for i := range 30 {
		m := client.Message{Topic: "a", Data: fmt.Sprint(i)}
		if i == 17 {
			m.Data = strings.Repeat("x", 400)
		} else {
			want = append(want, m.Data)
		}
		messages = append(messages, m)
	}
	results, err := c.PublishAll(t.Context(), messages)
	if diff := cmp.Diff(want, received); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for i, r := range results {
		if (r.Err != nil) != (i == 17) {
			t.Errorf("message %d: %+v", i, r)
		}
	}
}
