package auth_test

import (
	"testing"

	"freshet/auth"
)

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example": "https://app.example", "HTTPS://App.Example:443/": "https://app.example", "http://127.0.0.1:3000": "http://127.0.0.1:3000",
		"http://app.example:80": "http://app.example", "http://[::1]:80": "http://[::1]", "capacitor://localhost": "capacitor://localhost",
		"": "", "null": "", "*": "", "app.example": "", "https://app.example/page": "", "https://u@app.example": "", "https://app.example?x": "",
		"https://a b": "", "file:///x": "", "https://äpp.example": "",
	} {
		got, err := auth.ParseOrigin(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}
