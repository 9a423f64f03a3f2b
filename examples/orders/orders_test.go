package main // it runs main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"

	"freshet/app/apptest"
)

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

func TestWhoMayDoWhat(t *testing.T) {
	program := apptest.StartProgram(t, "-listen", apptest.FreeAddress(t), "-data", t.TempDir())
	alice, staff, nobody, forger := newUser(t, program, "alice"), newUser(t, program, "staff"), newUser(t, program, "mallory"), newUser(t, program, "")
	forger.setSession(t, "alice.17.00")
	const packed = "state=packed"
	for i, c := range []struct {
		user   user
		path   string
		values string
		want   int
	}{
		{alice, "/orders", "item=tea", http.StatusNoContent},
		{alice, "/orders", "item=", http.StatusBadRequest},
		{alice, "/orders", "item=" + strings.Repeat("a", 61), http.StatusBadRequest},
		{alice, "/orders/alice/17", packed, http.StatusForbidden},
		{staff, "/orders", "item=tea", http.StatusForbidden},
		{staff, "/orders/alice/17", packed, http.StatusNoContent},
		{staff, "/orders/alice/17", packed, http.StatusNoContent},
		{staff, "/orders/alice/17", "state=placed", http.StatusBadRequest},
		{staff, "/orders/alice/%3E", packed, http.StatusBadRequest},
		{nobody, "/orders", "item=tea", http.StatusUnauthorized},
		{nobody, "/ticket", "", http.StatusUnauthorized},
		{forger, "/ticket", "", http.StatusUnauthorized},
		{forger, "/orders/alice/17", packed, http.StatusUnauthorized},
	} {
		if status, text := c.user.post(t, c.path, c.values, program.URL); status != c.want {
			t.Errorf("%d: POST %s with %q was answered %d %s, want %d", i, c.path, c.values, status, text, c.want)
		}
	}
	if status, text := alice.post(t, "/orders", "item=tea", "https://other.example"); status != http.StatusForbidden {
		t.Errorf("a page of another site ordered: %d %s", status, text)
	}

	mine, all := alice.ticket(t), staff.ticket(t)
	if status, text := alice.history(t, "orders.>", all); status != http.StatusOK || strings.Count(text, `"topic"`) != 2 {
		t.Errorf("the staff reads %d %s, want 2 events", status, text)
	}
	if status, text := alice.history(t, "orders.alice.*", mine); status != http.StatusOK {
		t.Errorf("alice reads her orders: %d %s", status, text)
	}
	for _, topic := range []string{"orders.bob.*", "orders.>", "orders.*.17"} {
		if status, text := alice.history(t, topic, mine); status != http.StatusForbidden {
			t.Errorf("alice reads %s: %d %s", topic, status, text)
		}
	}
	if status, text := alice.history(t, "orders.alice.*", ""); status != http.StatusUnauthorized {
		t.Errorf("without a ticket: %d %s", status, text)
	}
	tab := newUser(t, program, "")
	tab.setSession(t, alice.session(t))
	tab.ticket(t)
	alice.post(t, "/logout", "", program.URL)
	if status, text := alice.history(t, "orders.alice.*", mine); status != http.StatusUnauthorized {
		t.Errorf("after the logout: %d %s", status, text)
	}
	if status, text := tab.post(t, "/ticket", "", program.URL); status != http.StatusUnauthorized {
		t.Errorf("after the logout, another tab with the session got %d %s", status, text)
	}
	if status, text := alice.history(t, "orders.>", all); status != http.StatusOK {
		t.Errorf("after the logout of another user: %d %s", status, text)
	}
}

// user is an HTTP client with a session.
type user struct {
	*http.Client
	app string
}

func newUser(t *testing.T, program *apptest.Program, name string) user {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u := user{&http.Client{Jar: jar}, program.URL}
	u.post(t, "/login", url.Values{"user": {name}}.Encode(), program.URL)
	return u
}

func (u user) session(t *testing.T) string {
	t.Helper()
	cookies := u.Jar.Cookies(u.parsed(t))
	if len(cookies) != 1 {
		t.Fatalf("the user has the cookies %v, want one", cookies)
	}
	return cookies[0].Value
}

func (u user) setSession(t *testing.T, session string) {
	t.Helper()
	u.Jar.SetCookies(u.parsed(t), []*http.Cookie{{Name: cookie, Value: session}})
}

func (u user) parsed(t *testing.T) *url.URL {
	t.Helper()
	parsed, err := url.Parse(u.app)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func (u user) post(t *testing.T, path, values, origin string) (status int, text string) {
	t.Helper()
	return u.do(t, http.MethodPost, path, values, origin)
}

func (u user) history(t *testing.T, topic, ticket string) (status int, text string) {
	t.Helper()
	query := url.Values{"topic": {topic}}
	if ticket != "" {
		query.Set("ticket", ticket)
	}
	return u.do(t, http.MethodGet, "/live/history?"+query.Encode(), "", u.app)
}

func (u user) ticket(t *testing.T) string {
	t.Helper()
	var answer struct{ Ticket string }
	status, text := u.post(t, "/ticket", "", u.app)
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Ticket == "" {
		t.Fatalf("no ticket: %d %s", status, text)
	}
	return answer.Ticket
}

func (u user) do(t *testing.T, method, path, values, origin string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, u.app+path, strings.NewReader(values))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", origin)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := u.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
