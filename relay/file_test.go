package relay_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/event"
	"freshet/relay"

	"github.com/google/go-cmp/cmp"
)

func TestReadFile(t *testing.T) {
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"TOKEN": "secret", "EMPTY": "", "LINES": "secret\n"}[name]
		return value, ok
	}
	for name, c := range map[string]struct {
		text    string
		want    []relay.Source
		problem string
	}{
		"a header of the environment": {
			text: `[{"topic":"a","url":"http://a.example/","headers":{"authorization":"Bearer ${TOKEN}${EMPTY}","x-cost":"$5 {TOKEN}"}},{"topic":"b.c","url":"http://b.example/"}]`,
			want: []relay.Source{
				{Topic: topic(t, "a"), URL: "http://a.example/", Header: http.Header{"Authorization": {"Bearer secret"}, "X-Cost": {"$5 {TOKEN}"}}},
				{Topic: topic(t, "b.c"), URL: "http://b.example/", Header: http.Header{}},
			},
		},
		"a line end in a variable": {text: `[{"topic":"a","url":"http://a.example/","headers":{"Authorization":"Bearer ${LINES}"}}]`, problem: "relay 1, header Authorization: the value has a line end"},
		"a bad header":             {text: `[{"topic":"a","url":"http://a.example/","headers":{"a b":"x"}}]`, problem: `relay 1: "a b" is not a header's name`},
		"a silence": {
			text: `[{"topic":"a","url":"http://a.example/","silence":"1h"}]`,
			want: []relay.Source{{Topic: topic(t, "a"), URL: "http://a.example/", Header: http.Header{}, Silence: time.Hour}},
		},
		"a bad silence":       {text: `[{"topic":"a","url":"http://a.example/","silence":"0"}]`, problem: `relay 1: silence "0" is not allowed: want a duration`},
		"no relays":           {text: "[]"},
		"an unset variable":   {text: `[{"topic":"a","url":"http://a.example/","headers":{"A":"${OTHER}"}}]`, problem: "relay 1, header A: the environment variable OTHER is not set"},
		"a bad topic":         {text: `[{"topic":"a..b","url":"http://a.example/"}]`, problem: "relay 1: topic"},
		"a misspelt field":    {text: `[{"topic":"a","uri":"http://a.example/"}]`, problem: `unknown field "uri"`},
		"no list":             {text: `{"topic":"a"}`, problem: "want a JSON list"},
		"nothing":             {text: " ", problem: "it is empty"},
		"more than one value": {text: "[] []", problem: "data follows"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "relays.json")
			must(t, os.WriteFile(file, []byte(c.text), 0o600))
			have, err := relay.ReadFile(file, lookup)
			if diff := cmp.Diff(c.want, have, cmp.Comparer(func(a, b event.Topic) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (c.problem == "") || err != nil && (!strings.Contains(err.Error(), c.problem) || !strings.HasPrefix(err.Error(), file) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error %v, want %q", err, c.problem)
			}
		})
	}
	if _, err := relay.ReadFile(filepath.Join(t.TempDir(), "missing"), lookup); err == nil {
		t.Error("a missing file is no error")
	}
}
