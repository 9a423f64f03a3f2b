package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"
)

// A backup has the events of all topics, so it is for operators alone who may read them.
func TestBackupsAreForOperators(t *testing.T) {
	t.Parallel()
	var log apptest.Buffer
	a := apptest.Wire(t, &log, "--jwt-secret", jwtSecret, "--publish-token", "a-token-of-your-own", "--anonymous", "news")
	if w := a.Publish("news", "hello", "Authorization", "Bearer a-token-of-your-own"); w.Code != http.StatusCreated {
		t.Fatal(w.Body)
	}
	token := func(operator bool, subscribe ...event.Pattern) string {
		text, err := auth.Sign(jwtSecret, auth.Grant{Subject: "u", Operator: operator, Subscribe: subscribe, Publish: event.Patterns{event.All}, Expires: time.Now().Add(time.Hour)})
		must(t, err)
		return text
	}
	for bearer, code := range map[string]int{
		"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, token(false, event.All): http.StatusForbidden, token(true): http.StatusForbidden,
		token(true, event.All): http.StatusOK, "a-token-of-your-own": http.StatusOK,
	} {
		var headers []string
		if bearer != "" {
			headers = []string{"Authorization", "Bearer " + bearer}
		}
		w := a.Do("GET", "/backup", "", headers...)
		if w.Code != code {
			t.Errorf("with %q: %d %s, want %d", bearer, w.Code, w.Body, code)
		}
		if code != http.StatusOK {
			continue
		}
		summary, err := eventlog.CheckBackup(bytes.NewReader(w.Body.Bytes()), int64(w.Body.Len()))
		if err != nil || summary.Events != 1 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/zip" ||
			!strings.Contains(w.Header().Get("Content-Disposition"), summary.Last.String()) {
			t.Errorf("the backup %+v, %v, %v", summary, err, w.Header())
		}
		for name, secret := range map[string]string{"the publish token": "a-token-of-your-own", "the secret": jwtSecret} {
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("the backup has %s", name)
			}
		}
	}
	if n := strings.Count(log.String(), `msg="backup complete"`); n != 2 {
		t.Errorf("%d backups in the log:\n%s", n, &log)
	}
}

// A backup that is cut on the way leaves no file, and says so in one line. So does an answer that is no backup.
func TestACutBackupLeavesNoFile(t *testing.T) {
	t.Parallel()
	a := apptest.Wire(t, io.Discard)
	a.Publish("news", "hello")
	whole := a.Do("GET", "/backup", "", "Authorization", "Bearer "+a.PublishToken()).Body.Bytes()
	half := whole[:len(whole)/2]
	answers := map[string]struct {
		kind  string
		body  []byte
		abort bool
		want  string
	}{
		"cut by the server": {"application/zip", half, true, "the backup was cut after "},
		"cut by a proxy":    {"application/zip", half, false, "not a whole backup of Freshet"},
		"empty":             {"application/zip", nil, false, "not a whole backup of Freshet"},
		"a page":            {"text/html", []byte("<p>hello"), false, `the answer is "text/html", not a backup`},
	}
	for name, answer := range answers {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", answer.kind)
			_, _ = w.Write(answer.body)
			if answer.abort {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
		}))
		dir := t.TempDir()
		r := runProgram(t, nil, "", "backup", dir+"/b.zip", "--url", server.URL)
		server.Close()
		if r.code != 1 || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, answer.want) {
			t.Errorf("%s: %+v", name, r)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: left %v, %v", name, entries, err)
		}
	}
}
