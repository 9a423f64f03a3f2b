package auth_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"freshet/auth"
)

const token = "correct-horse-battery"

func TestAuthenticate(t *testing.T) {
	keys, err := auth.New(auth.Config{PublishToken: token})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := keys.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.MayPublish("prices"); err != nil {
		t.Errorf("the publish token may not publish: %v", err)
	}
	for _, bad := range []string{"", " ", token + " ", token[1:], strings.ToUpper(token), "another-token-of-the-kind"} {
		caller, err := keys.Authenticate(t.Context(), bad)
		if !errors.Is(err, auth.ErrUnauthenticated) || !strings.Contains(err.Error(), "the token is not valid here") {
			t.Errorf("%q: got %v, want ErrUnauthenticated", bad, err)
		}
		if bad != "" && bad != " " && strings.Contains(err.Error(), bad) {
			t.Errorf("the error shows the token: %v", err)
		}
		if caller.MayPublish("prices") == nil {
			t.Errorf("%q may publish", bad)
		}
	}
}

func TestNoPublishToken(t *testing.T) {
	keys, err := auth.New(auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", token} {
		if _, err := keys.Authenticate(t.Context(), bad); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("%q: got %v, want ErrUnauthenticated", bad, err)
		}
	}
	if _, err := (&auth.Keys{}).Authenticate(t.Context(), ""); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("zero Keys: got %v, want ErrUnauthenticated", err)
	}
}

func TestNewRefusesWeakTokens(t *testing.T) {
	for _, bad := range []string{"fifteen-letters", "with a space inside", "with-a-newline-at-end\n", "mit-Umläuten-drin"} {
		if _, err := auth.New(auth.Config{PublishToken: bad}); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, want an error without the token", bad, err)
		}
	}
}

func TestAnonymous(t *testing.T) {
	err := auth.FromContext(context.Background()).MayPublish("prices")
	if !errors.Is(err, auth.ErrUnauthenticated) || errors.Is(err, auth.ErrForbidden) {
		t.Fatalf("got %v, want ErrUnauthenticated", err)
	}
	if want := `send "Authorization: Bearer <publish token>"`; !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say what to do: %s", err, want)
	}
}

func TestContextCarriesCaller(t *testing.T) {
	keys, err := auth.New(auth.Config{PublishToken: token})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := keys.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if got := auth.FromContext(auth.NewContext(context.Background(), caller)); got != caller {
		t.Errorf("got %v, want %v", got, caller)
	}
}

// Whatever is sent for a token is refused without a word of it, and nothing panics.
func FuzzAuthenticate(f *testing.F) {
	for _, text := range []string{
		"", ".", "..", "...", "a.b.c", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "eyJhbGciOiJIUzI1NiJ9.bnVsbA.AAAA",
		"eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.AAAA", "bnVsbA.bnVsbA.bnVsbA", "\xff.\x00.=",
	} {
		f.Add(text)
	}
	keys, err := auth.New(auth.Config{PublishToken: token, JWTSecret: secret})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == token {
			return
		}
		caller, err := keys.Authenticate(t.Context(), text)
		if err == nil || err.Error() != "not authenticated: the token is not valid here" || caller != (auth.Caller{}) {
			t.Errorf("%q: %+v, %v", text, caller, err)
		}
	})
}
