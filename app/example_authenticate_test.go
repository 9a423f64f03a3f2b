package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"freshet/app"
	"freshet/auth"
	"freshet/config"
	"freshet/event"
)

// sessions are the logged-in users of an app, by session cookie.
type sessions map[string]string

func (s sessions) user(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return s[cookie.Value]
}

// authenticate lets each user of the app read the orders of that user.
func (s sessions) authenticate(r *http.Request) (auth.Grant, error) {
	user := s.user(r) // your own: who is logged in?
	if user == "" {
		return auth.Grant{}, nil // an unknown user may do nothing
	}
	read, err := event.ParsePatterns([]string{"orders." + user + ".>"})
	return auth.Grant{Subject: user, Subscribe: read, Expires: time.Now().Add(time.Hour)}, err
}

// The users of an app read with its session cookie.
func ExampleApp_authenticate() {
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	users := sessions{"s3ss10n": "17"}

	cfg := config.Default()
	cfg.Data = dir
	cfg.Authenticate = users.authenticate
	live, err := app.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = live.Close() }()
	for _, topic := range []string{"orders.17.paid", "orders.18.paid"} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/history?topic="+topic, nil)
		r.AddCookie(&http.Cookie{Name: "session", Value: "s3ss10n"})
		response := httptest.NewRecorder()
		live.ServeHTTP(response, r)
		fmt.Println(topic, response.Code)
	}
	// Output:
	// orders.17.paid 200
	// orders.18.paid 403
}
