package event

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a topic or pattern.
const (
	MaxTopic    = 200 // bytes
	MaxSegments = 32  // each segment of a subscription costs a few hundred bytes
)

// Topic names what an event is about: 1 to [MaxTopic] bytes, in at most [MaxSegments] segments of printable UTF-8 that are
// separated by dots. A segment is not empty and has no space, comma, '*', '>' or '/'. The zero value is no topic and matches nothing.
type Topic struct{ name string }

// ParseTopic returns the topic s, or an [InvalidError] for the field "topic".
func ParseTopic(s string) (Topic, error) {
	if err := checkRequested(s, false); err != nil {
		return Topic{}, err
	}
	return Topic{s}, nil
}

// ParseStoredTopic is [ParseTopic] without the limit of segments, and with commas, for events that are in the log already: earlier
// versions and other NATS clients stored such topics.
func ParseStoredTopic(s string) (Topic, error) {
	if err := checkSegments(s, false, MaxTopic); err != nil {
		return Topic{}, err
	}
	return Topic{s}, nil
}

// String returns the topic's name.
func (t Topic) String() string { return t.name }

// Pattern returns the pattern that selects the topic alone.
func (t Topic) Pattern() Pattern { return Pattern{t.name} }

// Reserved reports whether only the server may publish to the topic.
func (t Topic) Reserved() bool { return t == TopicCounter || t == TopicStats }

// Pattern selects topics as NATS subjects do: a segment '*' matches any one segment, a last segment '>' matches one or
// more. A topic is a pattern that selects itself. The zero value selects nothing.
type Pattern struct{ text string }

// All selects every topic.
var All = Pattern{">"}

// ParsePattern returns the pattern s, or an [InvalidError] for the field "topic".
func ParsePattern(s string) (Pattern, error) {
	if err := checkRequested(s, true); err != nil {
		return Pattern{}, err
	}
	return Pattern{s}, nil
}

// String returns the pattern's text.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern selects the topic.
func (p Pattern) Match(t Topic) bool { return p.Covers(Pattern{t.name}) }

// Covers reports whether the pattern selects every topic that the other pattern selects.
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

// Patterns selects the topics that any of its patterns selects.
type Patterns []Pattern

// ParsePatterns returns the patterns of the texts. The error is that of [ParsePattern].
func ParsePatterns(texts []string) (ps Patterns, err error) {
	for _, text := range texts {
		p, err := ParsePattern(text)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// Strings returns the texts of the patterns, which is not nil.
func (ps Patterns) Strings() []string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.text
	}
	return texts
}

// Match reports whether any of the patterns selects the topic.
func (ps Patterns) Match(t Topic) bool {
	return slices.ContainsFunc(ps, func(p Pattern) bool { return p.Match(t) })
}

// Exact reports whether the patterns are topics, without wildcards.
func (ps Patterns) Exact() bool {
	return !slices.ContainsFunc(ps, func(p Pattern) bool { return strings.ContainsAny(p.text, "*>") })
}

// Segments returns how many segments the patterns have together.
func (ps Patterns) Segments() (n int) {
	for _, p := range ps {
		n += strings.Count(p.text, ".") + 1
	}
	return n
}

// Widest returns the patterns without duplicates and without those that another one covers.
func (ps Patterns) Widest() (widest Patterns) {
	for _, p := range ps {
		if !slices.ContainsFunc(widest, func(q Pattern) bool { return q.Covers(p) }) {
			widest = append(slices.DeleteFunc(widest, p.Covers), p)
		}
	}
	return widest
}

// checkRequested checks a topic or pattern that somebody names. A comma is an error, because it is always a list of topics where one
// is expected: as a topic of its own, it would select nothing.
func checkRequested(s string, wildcards bool) error {
	err := checkSegments(s, wildcards, MaxSegments)
	if err == nil && strings.Contains(s, ",") {
		err = invalid("topic", "must not have a comma")
	}
	return err
}

func checkSegments(s string, wildcards bool, most int) error {
	switch {
	case s == "":
		return invalid("topic", "must not be empty")
	case len(s) > MaxTopic:
		return invalid("topic", "must not be longer than %d bytes", MaxTopic)
	case !utf8.ValidString(s):
		return invalid("topic", "must be UTF-8")
	case strings.Count(s, ".") >= most:
		return invalid("topic", "must not have more than %d segments", most)
	}
	for rest, more := s, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, ".")
		if segment == "" {
			return invalid("topic", "must not have an empty segment: no dot at either end, no two dots in a row")
		}
		if wildcards && (segment == "*" || segment == ">" && !more) {
			continue
		}
		for _, r := range segment {
			if r == ' ' || r == '*' || r == '>' || r == '/' || !unicode.IsPrint(r) {
				return invalid("topic", "must not have %q in a segment", r)
			}
		}
	}
	return nil
}
