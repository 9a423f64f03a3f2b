package e2e_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/ssetest"

	"github.com/golang-jwt/jwt/v5"
)

const jwtSecret = "thirty-two-bytes-of-a-JWT-secret"

func mint(t *testing.T, in time.Duration, publish, subscribe string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"exp": time.Now().Add(in).Unix(), "sub": "u", "freshet": map[string]any{"publish": []string{publish}, "subscribe": []string{subscribe}},
	}).SignedString([]byte(jwtSecret))
	must(t, err)
	return token
}

// With a secret of the operator's there is no token that nobody asked for, and tokens say who may do what.
func TestTokensOfTheOperator(t *testing.T) {
	a := apptest.Wire(t, io.Discard, "--jwt-secret", jwtSecret, "--anonymous", "news")
	if a.PublishToken() != "" {
		t.Error("a publish token was made")
	}
	bearer := "Bearer " + mint(t, time.Minute, "orders.*", "orders.>")
	own := ssetest.Get(t, a, "/event", "Authorization", bearer)
	byCookie := ssetest.Get(t, a, "/event/orders.%3E", "Cookie", "freshet_token="+strings.TrimPrefix(bearer, "Bearer "))
	anybody := ssetest.Get(t, a, "/event?topic=news")
	for _, c := range []struct {
		method, target string
		authorization  string
		want           int
	}{
		{"POST", "/event/orders.eu", bearer, 201}, {"POST", "/event/news", bearer, 403}, {"POST", "/event/news", "", 401},
		{"GET", "/event/secret", bearer, 403}, {"GET", "/event/orders.eu", "", 401}, {"GET", "/history", "", 200},
		{"GET", "/history?topic=orders.eu", "", 401}, {"GET", "/history?topic=orders.eu", bearer, 200},
		{"POST", "/event/orders.eu", "Bearer " + mint(t, -time.Minute, ">", ">"), 401},
	} {
		body := ""
		if c.method == "POST" {
			body = "x"
		}
		if w := a.Do(c.method, c.target, body, "Authorization", c.authorization); w.Code != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.target, w.Code, w.Body, c.want)
		}
	}
	for _, stream := range []*ssetest.Stream{own, byCookie} {
		f := stream.NextEvent()
		for f.Type == "message" {
			f = stream.NextEvent() // a count
		}
		if f.Type != "orders.eu" {
			t.Errorf("event %+v", f)
		}
	}
	if w := a.Do("POST", "/event/news", "x", "Authorization", "Bearer "+mint(t, time.Minute, "news", "a")); w.Code != http.StatusCreated {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if f := anybody.NextEvent(); f.Type != "news" {
		t.Errorf("anybody reads %+v", f)
	}
}

// Secrets of a process are in no line that it prints or logs, whether they are configured or made at the first start.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const publish = "the-publish-token-of-this-test"
	for name, env := range map[string][]string{
		"made":       nil,
		"configured": {"FRESHET_PUBLISH_TOKEN=" + publish, "FRESHET_JWT_SECRET=" + jwtSecret},
		"JWT only":   {"FRESHET_JWT_SECRET=" + jwtSecret},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		dir := t.TempDir()
		cmd, err := apptest.Command(ctx, "--listen", "127.0.0.1:0", "--data", dir, "--log-level", "debug")
		must(t, err)
		var printed, logged apptest.Buffer
		cmd.Env, cmd.Stdout, cmd.Stderr = append(cmd.Env, env...), &printed, &logged
		must(t, cmd.Start())
		if err := apptest.Until(ctx, func() bool { return strings.Contains(printed.String(), "subscribe") }); err != nil {
			t.Errorf("%s: not ready: %v\n%s", name, err, logged.String())
		}
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: ended with %v", name, err)
		}
		secrets := []string{publish, jwtSecret}
		if env == nil {
			token, err := os.ReadFile(filepath.Join(dir, "publish-token"))
			must(t, err)
			secrets = []string{strings.TrimSpace(string(token))}
		}
		for _, secret := range secrets {
			if text := printed.String() + logged.String(); strings.Contains(text, secret) || !strings.Contains(text, "draining") {
				t.Errorf("%s: the output has %q, or is not complete:\n%s", name, secret, text)
			}
		}
	}
}

// What is secret is in no line of the log and in no answer, wherever it was sent.
func TestSecretsAreNotTold(t *testing.T) {
	var logged apptest.Buffer
	good := mint(t, time.Minute, ">", ">")
	old, forged := mint(t, -time.Minute, ">", ">"), mint(t, time.Minute, ">", ">")+"x"
	const publish, guess = "the-publish-token-of-this-test", "a-guess-at-the-publish-token"
	a := apptest.Wire(t, &logged, "--publish-token", publish, "--jwt-secret", jwtSecret, "--anonymous", "news")
	var answers strings.Builder
	for _, route := range []string{
		"GET /", "GET /event", "GET /event/news", "GET /event/secret", "POST /event", "POST /event/news", "POST /ticket", "DELETE /ticket/SECRET",
		"POST /ticket/SECRET", "GET /history", "GET /history?topic=secret", "GET /connections", "GET /metrics", "GET /livez", "GET /readyz",
		"GET /assets/freshet.js", "GET /nowhere", "PUT /event", "OPTIONS /event",
	} {
		for _, secret := range []string{good, old, forged, publish, guess} {
			for _, place := range []string{"Authorization", "Cookie", "query", "both"} {
				method, target, _ := strings.Cut(strings.ReplaceAll(route, "SECRET", secret), " ")
				headers := []string{"Accept", "text/event-stream", "Content-Type", "application/x-ndjson", "Origin", "http://example.com"}
				if place == "Authorization" || place == "both" {
					headers = append(headers, "Authorization", "Bearer "+secret)
				}
				if place == "Cookie" || place == "both" {
					headers = append(headers, "Cookie", "freshet_token="+secret)
				}
				if place == "query" || place == "both" {
					separator := "?"
					if strings.Contains(target, "?") {
						separator = "&"
					}
					target += separator + "ticket=" + secret + "&access_token=" + secret + "&jwt=" + secret + "&Authorization=" + secret
				}
				if method == http.MethodGet && strings.HasPrefix(target, "/event") {
					stream := ssetest.Get(t, a, target, headers...)
					if stream.Status() == http.StatusOK {
						stream.Next()
						stream.Close()
					}
					answers.WriteString(stream.Body())
					continue
				}
				w := a.Do(method, target, `{"topic":"news","data":"x"}`, headers...)
				for _, values := range w.Header() {
					answers.WriteString(strings.Join(values, " ") + "\n")
				}
				answers.WriteString(w.Body.String())
			}
		}
	}
	for _, secret := range []string{good, old, forged, publish, guess, jwtSecret} {
		for name, text := range map[string]string{"the log": logged.String(), "an answer": answers.String()} {
			// A part is enough: the payload and the signature of a token, say.
			for _, part := range strings.Split(secret, ".") {
				if at := strings.Index(text, part); part != "" && at >= 0 && !strings.HasPrefix(part, "eyJhbGci") {
					t.Errorf("%s has %q: %s", name, part, text[max(0, at-200):min(len(text), at+100)])
				}
			}
		}
	}
	if n := strings.Count(logged.String(), "[redacted]"); n < 100 || !strings.Contains(answers.String(), "invalid_token") {
		t.Errorf("%d values were redacted", n)
	}
}

// The page works under a policy that allows nothing inline.
func TestThePageHasNothingInline(t *testing.T) {
	a := apptest.Wire(t, io.Discard)
	w := a.Get("/")
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || len(w.Header().Values("Content-Security-Policy")) != 1 {
		t.Errorf("the policy is %q", w.Header().Values("Content-Security-Policy"))
	}
	if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v", w.Header())
	}
	for _, inline := range []string{`<style`, `\sstyle=`, `\son[a-z]+=`, `<script>`, `<script[^>]*>[^<]`, `javascript:`} {
		if found := regexp.MustCompile(inline).FindString(w.Body.String()); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
}
