package event

import "strings"

// MaxTraceState is the length in bytes at which a tracestate is too long: W3C Trace Context asks for no more.
const MaxTraceState = 512

const (
	traceParentLength = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	noTraceID         = "00000000000000000000000000000000"
)

// Trace is the context of a sampled trace (W3C Trace Context): which span has published an event. The zero Trace says that none is known.
type Trace struct {
	text string // the traceparent, in version 00, and then the tracestate
}

// ParseTrace returns the Trace of the two headers, and the zero Trace if the traceparent is invalid or not sampled: then nobody records the
// trace. A tracestate is optional. One that is too long or has other characters than printable ASCII is dropped.
func ParseTrace(traceParent, traceState string) Trace {
	if len(traceParent) < traceParentLength {
		return Trace{}
	}
	text, rest := traceParent[:traceParentLength], traceParent[traceParentLength:]
	version, traceID, spanID, flags := text[:2], text[3:35], text[36:52], text[53:]
	switch {
	case text[2] != '-' || text[35] != '-' || text[52] != '-' || !lowerHex(version) || !lowerHex(traceID) || !lowerHex(spanID) || !lowerHex(flags):
		return Trace{}
	case version == "ff" || version == "00" && rest != "" || rest != "" && rest[0] != '-': // later versions may append fields
		return Trace{}
	case traceID == noTraceID || spanID == noTraceID[:len(spanID)]:
		return Trace{}
	case strings.IndexByte("13579bdf", flags[1]) < 0: // the flag "sampled" is the lowest bit
		return Trace{}
	}
	if len(traceState) > MaxTraceState || strings.ContainsFunc(traceState, func(r rune) bool { return r < ' ' || r > '~' }) {
		traceState = ""
	}
	return Trace{"00-" + traceID + "-" + spanID + "-01" + traceState}
}

func lowerHex(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// IsZero reports whether no trace is known.
func (t Trace) IsZero() bool { return t.text == "" }

// Parent returns the header traceparent; empty for the zero Trace.
func (t Trace) Parent() string { return t.text[:min(len(t.text), traceParentLength)] }

// State returns the header tracestate; empty if there is none.
func (t Trace) State() string { return t.text[len(t.Parent()):] }
