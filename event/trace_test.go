package event_test

import (
	"strings"
	"testing"

	"freshet/event"
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParseTrace(t *testing.T) {
	for _, c := range []struct{ parent, state, want, wantState string }{
		{traceParent, "", traceParent, ""},
		{traceParent, "a=1,b=2", traceParent, "a=1,b=2"},
		{traceParent[:53] + "03", "", traceParent, ""},                   // another flag
		{"cc" + traceParent[2:], "", traceParent, ""},                    // a later version
		{"cc" + traceParent[2:] + "-more", "", traceParent, ""},          // with another field
		{traceParent, strings.Repeat("a", 513), traceParent, ""},         // too long
		{traceParent, "a=\r\nEvent-Type: forged", traceParent, ""},       // not printable
		{traceParent, strings.Repeat("a=é,", 10), traceParent, ""},       // not ASCII
		{traceParent[:53] + "00", "a=1", "", ""},                         // not sampled
		{traceParent + "-more", "", "", ""},                              // of version 00
		{"cc" + traceParent[2:] + "more", "", "", ""},                    // not a field
		{"ff" + traceParent[2:], "", "", ""},                             // no version
		{strings.ToUpper(traceParent), "", "", ""},                       // not lower case
		{strings.Replace(traceParent, "-", "_", 1), "", "", ""},          // no separator
		{"00-" + strings.Repeat("0", 32) + traceParent[35:], "", "", ""}, // no trace ID
		{traceParent[:36] + strings.Repeat("0", 16) + "-01", "", "", ""}, // no span ID
		{strings.Repeat("0", 1<<20), "", "", ""},
		{"", "a=1", "", ""},
	} {
		got := event.ParseTrace(c.parent, c.state)
		if got.Parent() != c.want || got.State() != c.wantState || got.IsZero() != (c.want == "") {
			t.Errorf("%.80q %.80q: %q %q", c.parent, c.state, got.Parent(), got.State())
		}
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add(traceParent, "a=1")
	f.Add("cc"+traceParent[2:]+"-more", "")
	f.Fuzz(func(t *testing.T, parent, state string) {
		got := event.ParseTrace(parent, state)
		if again := event.ParseTrace(got.Parent(), got.State()); again != got {
			t.Errorf("%q %q: %v is not %v", parent, state, again, got)
		}
		if len(got.Parent()) > len(traceParent) || len(got.State()) > event.MaxTraceState || got.IsZero() && got.State() != "" {
			t.Errorf("%q %q: %v", parent, state, got)
		}
	})
}
