package stream

import "errors"

// Reason says why a stream ended.
type Reason uint8

// Why a stream ended.
const (
	// Open: it has not ended.
	Open Reason = iota
	// Gone: the client has closed the connection, or is lost.
	Gone
	// Stalled: the client took nothing for Config.Stall.
	Stalled
	// Drained: the server is shutting down.
	Drained
	// Ended: an operator ended the stream. The client is told the same as at a drain.
	Ended
	// Expired: the credentials have expired or were revoked.
	Expired
	// LogUnavailable: the log could not be read.
	LogUnavailable
	// Complete: all topics of the stream have ended.
	Complete
	// Sent: the client sent more than MaxUnread after its request.
	Sent

	reasons // how many there are
)

func (r Reason) String() string {
	return [reasons]string{"open", "gone", "stalled", "drain", "ended", "auth-expired", "log unavailable", "complete", "sent data"}[r]
}

// ReasonOf is why a stream ends whose output returned the error; Open for nil.
func ReasonOf(err error) Reason {
	switch {
	case err == nil:
		return Open
	case errors.Is(err, ErrStalled):
		return Stalled
	case errors.Is(err, ErrSent):
		return Sent
	}
	return Gone
}

// Whole reports whether the server ended the stream with a last event.
func (r Reason) Whole() bool { return r == Drained || r == Ended || r == Expired || r == Complete }
