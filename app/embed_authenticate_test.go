package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/app"
	"freshet/app/apptest"
	"freshet/auth"
	"freshet/config"
	"freshet/event"
)

// errStore is what an app's own session store may say.
var errStore = errors.New("dial tcp: connection to user:password@db refused")

// authenticate knows the cookie login, and bearer tokens such as app-17.
func authenticate(r *http.Request) (auth.Grant, error) {
	user := ""
	if cookie, err := r.Cookie("login"); err == nil {
		user = cookie.Value
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer app-"); ok {
		user = token
	}
	grant := auth.Grant{Subject: user, Expires: time.Now().Add(time.Hour)}
	var err error
	switch user {
	case "":
		grant.Subscribe, err = event.ParsePatterns([]string{"public"})
	case "broken":
		err = errStore
	case "blocked":
		err = fmt.Errorf("%w: your account is blocked", auth.ErrForbidden)
	case "nameless":
		grant.Subject, grant.Publish = "", event.Patterns{event.All}
	case "expired":
		grant.Expires = time.Now().Add(-time.Second)
	default:
		if grant.Subscribe, err = event.ParsePatterns([]string{"public", "user." + user + ".>"}); err == nil {
			grant.Publish, err = event.ParsePatterns([]string{"user." + user + ".sent"})
		}
		grant.Operator = user == "admin"
	}
	return grant, err
}

func TestAnAppDecidesWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Authenticate = authenticate
	cfg.JWTSecret = "thirty-two-bytes-of-a-JWT-secret"
	logged := new(apptest.Buffer)
	live, err := app.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(logged, nil)))
	must(t, err)
	t.Cleanup(func() { must(t, live.Close()) })
	server := httptest.NewServer(http.StripPrefix("/live", live))
	t.Cleanup(server.Close)
	read, err := event.ParsePatterns([]string{"user.>"})
	must(t, err)
	service, err := auth.Sign(string(cfg.JWTSecret), auth.Grant{Subscribe: read, Subject: "service", Expires: time.Now().Add(time.Hour)})
	must(t, err)

	expired, err := auth.Sign(string(cfg.JWTSecret), auth.Grant{Subscribe: read, Subject: "service", Expires: time.Now().Add(-time.Hour)})
	must(t, err)

	login := func(user string) string { return "login=" + user }
	for _, c := range []struct {
		name, method, path, cookie string
		headers                    []string
		status                     int
		text                       string // in the answer
	}{
		{"somebody unknown reads", "GET", "/history?topic=public", "", nil, 200, ""},
		{"somebody unknown reads more", "GET", "/history?topic=user.17.paid", "", nil, 401, "log in, or send a token"},
		{"somebody unknown publishes", "POST", "/event/public", "", nil, 401, "log in"},
		{"a user reads", "GET", "/history?topic=user.17.paid", login("17"), nil, 200, ""},
		{"a user reads what another may", "GET", "/history?topic=user.18.paid", login("17"), nil, 403, "user.18.paid"},
		{"a user publishes from the app's page", "POST", "/event/user.17.sent", login("17"), []string{"Origin", server.URL}, 201, "id"},
		{"a user publishes without Origin", "POST", "/event/user.17.sent", login("17"), nil, 403, "the header Origin"},
		{"a user publishes from another site", "POST", "/event/user.17.sent", login("17"), []string{"Origin", "https://evil.example"}, 403, "this origin"},
		{"a user publishes elsewhere", "POST", "/event/news", login("17"), []string{"Origin", server.URL}, 403, "news"},
		{"a user with the app's token", "POST", "/event/user.17.sent", "", []string{"Authorization", "Bearer app-17"}, 201, "id"},
		{"a user operates", "GET", "/connections", login("17"), nil, 403, "operator"},
		{"an operator", "GET", "/connections", login("admin"), nil, 200, "connections"},
		{"a blocked user", "GET", "/history?topic=public", login("blocked"), nil, 403, "your account is blocked"},
		{"an expired login", "GET", "/history", login("expired"), nil, 401, "the login has expired"},
		{"a store that fails", "GET", "/history?topic=public", login("broken"), nil, 503, "auth_unavailable"},
		{"a ticket while the store fails", "POST", "/ticket", login("broken"), []string{"Origin", server.URL}, 503, "auth_unavailable"},
		{"a ticket for a blocked user", "POST", "/ticket", login("blocked"), []string{"Origin", server.URL}, 403, "your account is blocked"},
		{"a ticket for somebody unknown", "POST", "/ticket", "", nil, 401, "log in, or send a token"},
		{"a grant without a subject", "GET", "/history?topic=public", login("nameless"), nil, 503, "auth_unavailable"},
		{"health while the store fails", "GET", "/livez", login("broken"), nil, 200, ""},
		{"a JSON web token", "GET", "/history?topic=user.18.paid", "", []string{"Authorization", "Bearer " + service}, 200, ""},
		{"an old cookie with a token", "GET", "/history?topic=public", "freshet_token=unknown", nil, 200, ""},
		{"an old cookie with a token reads more", "GET", "/history?topic=user.17.paid", "freshet_token=unknown", nil, 401, "not valid here"},
		{"a user with an expired cookie", "GET", "/history?topic=user.17.paid", login("17") + "; freshet_token=" + expired, nil, 200, ""},
		{"a blocked user with an expired cookie", "GET", "/history?topic=public", login("blocked") + "; freshet_token=" + expired, nil, 403, "blocked"},
		{"a token that nobody knows", "GET", "/history?topic=public", "", []string{"Authorization", "Bearer unknown"}, 401, "not valid here"},
	} {
		headers := c.headers
		if c.cookie != "" {
			headers = append([]string{"Cookie", c.cookie}, headers...)
		}
		status, text := ask(t, c.method, server.URL+"/live"+c.path, "data", headers...)
		if status != c.status || !strings.Contains(text, c.text) || strings.Contains(text, "password") {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	for i := range 40 { // a different token each, and none is a guess
		if status, text := ask(t, "GET", server.URL+"/live/history?topic=public", "", "Authorization", fmt.Sprintf("Bearer app-%d", i)); status != http.StatusOK {
			t.Fatalf("token %d: %d %s", i, status, text)
		}
	}
	// A user's ticket is for a page that cannot send the cookie.
	status, text := ask(t, "POST", server.URL+"/live/ticket", `{"topics":["user.17.paid"]}`, "Cookie", login("17"), "Origin", server.URL)
	var ticket struct{ URL string }
	must(t, json.Unmarshal([]byte(text), &ticket))
	if status != http.StatusCreated {
		t.Errorf("a ticket: %d %s", status, text)
	}
	if status, text := ask(t, "GET", server.URL+"/live"+strings.Replace(ticket.URL, "/event", "/history", 1), "", "Origin", server.URL); status != http.StatusOK {
		t.Errorf("with the ticket: %d %s", status, text)
	}
	// A ticket takes precedence over the cookie, which the page of another origin may send too.
	const page = "https://page.example"
	stop, err := live.IssueTicket(t.Context(), app.Ticket{Publish: []string{"job.stop"}, Origin: page})
	must(t, err)
	for target, want := range map[string]int{
		"/event/job.stop?ticket=" + stop:     201,
		"/event/job.stop?ticket=bad":         401,
		"/event/user.17.sent?ticket=" + stop: 403,
		"/ticket?ticket=" + stop:             400,
	} {
		if status, text := ask(t, "POST", server.URL+"/live"+target, "{}", "Cookie", login("17"), "Origin", page); status != want {
			t.Errorf("with a ticket and a cookie, %s: %d %s", target, status, text)
		}
	}
	if log := logged.String(); strings.Count(log, "the function Authenticate of the configuration has failed") != 1 || !strings.Contains(log, errStore.Error()) {
		t.Errorf("the log says\n%s", log)
	}
}

// An app that decides itself has no token that may do everything.
func TestAnAppThatDecidesHasNoPublishToken(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Authenticate = authenticate
	live, err := app.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, live.Close()) })
	if _, err := os.Stat(filepath.Join(cfg.Data, "publish-token")); !errors.Is(err, os.ErrNotExist) || live.PublishToken() != "" {
		t.Errorf("the token %q, and the file: %v", live.PublishToken(), err)
	}
}
