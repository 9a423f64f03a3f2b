package auth

import (
	"net/url"
	"strings"

	"freshet/event"
)

// ParseOrigin returns the origin in the form that browsers send: lower case, without the default port. The error is an
// [event.InvalidError].
func ParseOrigin(text string) (string, error) {
	bad := &event.InvalidError{Field: "origin", Reason: `must be the page's scheme://host[:port], such as "https://app.example"`}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || len(text) > 300 || (u.Path != "" && u.Path != "/") ||
		u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Opaque != "" {
		return "", bad
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if strings.ContainsFunc(host+scheme, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", bad
	}
	if port := u.Port(); scheme == "http" && port == "80" || scheme == "https" && port == "443" || port == "" {
		host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	}
	return scheme + "://" + host, nil
}
