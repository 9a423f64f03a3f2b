package config

import "fmt"

// Secret is text that is, or may hold, credentials. It prints and logs as `[redacted]`, in any format; string(s) is the text.
type Secret string

// Format redacts for every verb of package fmt, including wrong ones, which would print the content of a Stringer.
func (s Secret) Format(state fmt.State, _ rune) {
	text, _ := s.MarshalText()
	_, _ = state.Write(text) // never fails: it writes to a buffer of fmt
}

// MarshalText redacts for log/slog and encoding/json.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte("[redacted]"), nil
}
