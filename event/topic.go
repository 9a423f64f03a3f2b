package event

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxTopic is the longest topic or pattern, in bytes.
const MaxTopic = 200

// Topic names what an event is about: 1 to [MaxTopic] bytes, tokens of printable UTF-8
// parted by dots; a token is not empty and has no space, '*', '>' or '/'. The zero
// value is no topic; it matches nothing.
type Topic struct{ name string }

// ParseTopic returns the topic named s, or an [InvalidError] for the field "topic".
func ParseTopic(s string) (Topic, error) {
	if err := checkTokens(s, false); err != nil {
		return Topic{}, err
	}
	return Topic{s}, nil
}

// String returns the topic's name.
func (t Topic) String() string { return t.name }

// Reserved reports whether the topic is one that the server itself fills: counter, stats.
func (t Topic) Reserved() bool { return t == TopicCounter || t == TopicStats }

// Pattern selects topics as NATS subjects do: a token '*' stands for any one token, a
// last token '>' for one or more. A topic is a pattern that selects itself. The zero
// value selects nothing.
type Pattern struct{ text string }

// All selects every topic.
var All = Pattern{">"}

// ParsePattern returns the pattern written s, or an [InvalidError] for the field "topic".
func ParsePattern(s string) (Pattern, error) {
	if err := checkTokens(s, true); err != nil {
		return Pattern{}, err
	}
	return Pattern{s}, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern selects the topic.
func (p Pattern) Match(t Topic) bool { return p.Covers(Pattern{t.name}) }

// Covers reports whether the pattern selects every topic that the other one selects.
func (p Pattern) Covers(other Pattern) bool {
	wide, narrow := p.text, other.text
	for wide != "" && narrow != "" {
		var want, have string
		want, wide, _ = strings.Cut(wide, ".")
		if want == ">" {
			return true
		}
		have, narrow, _ = strings.Cut(narrow, ".")
		if want != have && (want != "*" || have == ">") {
			return false
		}
	}
	return wide == "" && narrow == "" && p.text != ""
}

// Patterns selects what any of its members selects.
type Patterns []Pattern

// Match reports whether any of the patterns selects the topic.
func (ps Patterns) Match(t Topic) bool {
	for _, p := range ps {
		if p.Match(t) {
			return true
		}
	}
	return false
}

func checkTokens(s string, wildcards bool) error {
	switch {
	case s == "":
		return invalid("topic", "must not be empty")
	case len(s) > MaxTopic:
		return invalid("topic", "must not be longer than %d bytes", MaxTopic)
	case !utf8.ValidString(s):
		return invalid("topic", "must be UTF-8")
	}
	for rest, more := s, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if token == "" {
			return invalid("topic", "must not have an empty token: no dot at either end, no two in a row")
		}
		if wildcards && (token == "*" || token == ">" && !more) {
			continue
		}
		for _, r := range token {
			if r == ' ' || r == '*' || r == '>' || r == '/' || !unicode.IsPrint(r) {
				return invalid("topic", "%q is not allowed in a token", r)
			}
		}
	}
	return nil
}
