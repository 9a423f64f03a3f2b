package config

import "fmt"

// Secret is text that is, or may hold, credentials. Printed or logged, in any format, it is `[redacted]`; string(s) is the text.
type Secret string

// Format redacts for every verb of package fmt, also the wrong ones, which would print a Stringer's content.
func (s Secret) Format(state fmt.State, _ rune) {
	text, _ := s.MarshalText()
	// fmt's own state: it has nobody to report an error to.
	_, _ = state.Write(text)
}

// MarshalText redacts for log/slog and encoding/json.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte("[redacted]"), nil
}
