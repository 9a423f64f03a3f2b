package nearest_test

import (
	"strings"
	"testing"

	"freshet/nearest"
)

func TestWord(t *testing.T) {
	known := []string{"listen", "log", "log-level", "nats", "publish-token", "topic", "type", "since", "limit", "lastEventId"}
	for word, want := range map[string]string{
		"listen":                     "listen",
		"lisen":                      "listen", // deleted
		"listten":                    "listen", // inserted
		"lizten":                     "listen", // replaced
		"litsen":                     "listen", // swapped: one edit
		"lstn":                       "listen", // two edits
		"publish-tkoen":              "publish-token",
		"publish_token":              "publish-token",
		"topics":                     "topic",
		"Topic":                      "topic",
		"tpoic":                      "topic",
		"tpics":                      "",     // two edits in a short word
		"nat":                        "nats", // a letter more
		"logs":                       "log",
		"loglevel":                   "log-level",
		"lasteventid":                "lastEventId",
		"port":                       "",
		"park":                       "",
		"":                           "",
		"l":                          "",
		"ünknown":                    "",
		strings.Repeat("topic", 1e6): "",
	} {
		got, near := nearest.Word(word, known)
		if got != want || near != (want != "") {
			t.Errorf("nearest to %.20q: got %q, %v; want %q", word, got, near, want)
		}
	}
	if got, near := nearest.Word("limit", nil); near {
		t.Errorf("near %q, though no word is known", got)
	}
	if got, _ := nearest.Word("tope", []string{"tops", "topc"}); got != "tops" {
		t.Errorf("of two equally near words: got %q, want the first", got)
	}
}
