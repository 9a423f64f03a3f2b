package app_test

import (
	"log/slog"
	"net"
	"testing"

	"freshet/app"
	"freshet/app/apptest"
	"freshet/certificate"
)

// What is printed first can be opened.
func TestTheURLThatIsPrinted(t *testing.T) {
	files := func(names ...string) app.Certificates {
		flags := apptest.Certificate(t, names...)
		f, err := certificate.OpenFiles(flags[1], flags[3], slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	acme, err := certificate.NewACME(certificate.ACMEConfig{Domains: []string{"a.example", "b.example"}, Folder: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address string
		certs   app.Certificates
		want    string
	}{
		{"[::]:8080", nil, "http://localhost:8080"},
		{"192.0.2.1:80", nil, "http://192.0.2.1:80"},
		{"[::]:8443", files("localhost"), "https://localhost:8443"},
		{"[::]:8443", files("*.a.example", "b.example", "localhost"), "https://localhost:8443"},
		{"[::]:443", files("*.a.example", "b.example"), "https://b.example"},
		{"[::]:8443", files("*.a.example"), "https://localhost:8443"},
		{"127.0.0.1:8443", files("b.example"), "https://127.0.0.1:8443"},
		{"[::1]:443", files("b.example"), "https://[::1]"},
		{"[::]:8443", acme, "https://a.example"},
	} {
		address, err := net.ResolveTCPAddr("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := app.BaseURL(address, c.certs); got != c.want {
			t.Errorf("%s: %s, want %s", c.address, got, c.want)
		}
	}
}
