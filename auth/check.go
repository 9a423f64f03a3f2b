package auth

import (
	"errors"
	"net/url"
	"strings"
)

// CheckPublishToken returns an error that says what a publish token has to be. The error does not contain the token.
func CheckPublishToken(token string) error {
	if len(token) < 16 || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("too weak or malformed: want at least 16 printable ASCII characters and no space")
	}
	return nil
}

// CheckSecret returns an error that says what a secret for HS256 has to be. The error does not contain the secret.
func CheckSecret(secret string) error {
	if len(secret) < 32 { // the length of the hash (RFC 7518, section 3.2)
		return errors.New("too short: want at least 32 bytes, ideally random ones")
	}
	return nil
}

// CheckKeySetURL returns an error that says what the URL of a key set has to be. The error does not contain the URL, which may hold a
// password.
func CheckKeySetURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("not allowed: want http:// or https://, a host and a path, without user or password")
	}
	return nil
}
