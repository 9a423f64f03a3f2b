package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"

	"freshet/event"

	"golang.org/x/net/http/httpguts"
)

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// ReadFile reads relays from a JSON file. In the values of headers, ${NAME} stands for an environment variable, so that no secret is in the
// file:
//
//	[{"topic": "wiki", "url": "https://events.example.com/stream", "headers": {"Authorization": "Bearer ${WIKI_TOKEN}"}, "silence": "5m"}]
func ReadFile(name string, lookup func(string) (string, bool)) ([]Source, error) {
	contents, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var relays []struct {
		Topic   string
		URL     string
		Headers map[string]string
		Silence string
	}
	d := json.NewDecoder(bytes.NewReader(contents))
	d.DisallowUnknownFields()
	if err = d.Decode(&relays); err == nil && d.More() {
		err = errors.New("data follows the list")
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return nil, fmt.Errorf(`%s: want a JSON list of {"topic","url","headers","silence"}: %w`, name, err)
	}
	var sources []Source
	for i, r := range relays {
		s := Source{URL: r.URL, Header: http.Header{}}
		if s.Topic, err = event.ParseTopic(r.Topic); err != nil {
			return nil, fmt.Errorf("%s: relay %d: %w", name, i+1, err)
		}
		if r.Silence != "" {
			if s.Silence, err = event.ParseDuration(r.Silence); err != nil || s.Silence < time.Second {
				return nil, fmt.Errorf("%s: relay %d: silence %q is not allowed: want a duration of at least a second, such as 5m or 1h", name, i+1, r.Silence)
			}
		}
		for header, value := range r.Headers {
			if !httpguts.ValidHeaderFieldName(header) {
				return nil, fmt.Errorf("%s: relay %d: %q is not a header's name", name, i+1, header)
			}
			var missing string
			s.Header.Set(header, variable.ReplaceAllStringFunc(value, func(m string) string {
				text, ok := lookup(m[2 : len(m)-1])
				if !ok {
					missing = m[2 : len(m)-1]
				}
				return text
			}))
			if missing != "" {
				return nil, fmt.Errorf("%s: relay %d, header %s: the environment variable %s is not set", name, i+1, header, missing)
			}
			if !httpguts.ValidHeaderFieldValue(s.Header.Get(header)) { // the error must not show a secret
				return nil, fmt.Errorf("%s: relay %d, header %s: the value has a line end or another control character", name, i+1, header)
			}
		}
		sources = append(sources, s)
	}
	return sources, nil
}
