package auth_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"freshet/auth"
)

// What is known of a user lasts as long as the grant, and is the same on every node.
func TestRecognize(t *testing.T) {
	expires := time.Now().Add(time.Hour)
	config := auth.Config{Authenticate: func(r *http.Request) (auth.Grant, error) {
		return auth.Grant{Subject: r.Header.Get("User"), Subscribe: patterns(t, "news"), Expires: expires}, nil
	}}
	recognize := func(user string) auth.Caller {
		r := httptest.NewRequest(http.MethodGet, "/event", nil)
		r.Header.Set("User", user)
		return newKeys(t, config).Recognize(r, nil)
	}
	one, again, operator := recognize("one"), recognize("one"), recognize("operator")
	if !one.Expires().Equal(expires) || one.Subject() == "" || one.Subject() != again.Subject() || one.Subject() == operator.Subject() {
		t.Errorf("the subjects %q, %q and %q, until %v", one.Subject(), again.Subject(), operator.Subject(), one.Expires())
	}
	if one.Shared() || operator.Shared() || operator.MayOperate() == nil {
		t.Error("a user with the name of the publish token's subject shares its rights or limits")
	}
}

// Pages with tickets that name no user may be those of anybody, so they do not share one publish rate.
func TestATicketWithoutAUserIsShared(t *testing.T) {
	unnamed, named := auth.NewCaller(auth.Grant{Publish: patterns(t, "news")}), auth.NewCaller(auth.Grant{Subject: "one"})
	if unnamed.Subject() == "" || unnamed.MayPublish("news") != nil || !unnamed.Shared() || named.Shared() {
		t.Errorf("the subjects %q and %q are shared: %v, %v", unnamed.Subject(), named.Subject(), unnamed.Shared(), named.Shared())
	}
}
