// Package park holds the connections of caught-up event streams without a goroutine each.
//
// A stream that has nothing to do but to wait costs net/http about 25 KiB: two stacks and
// the buffers. Handed over to a [Park] it costs less than one. The park's shards, one for
// each processor but one, own the sockets. A shard writes what the hub's window has, ready
// frames of which all connections share the bytes, with non-blocking writes; counts and
// heartbeats go by a wheel of timers, and a peer that closes is seen by epoll at once.
//
// A connection is over plain HTTP/1.1 and in the middle of a chunked answer (RFC 9112, 7.1),
// at the end of a chunk. It stays parked as long as what it is due is in the window. One that
// falls behind goes back to its [Owner], as the log is read by goroutines: nothing that a shard
// does ever waits. A socket that takes nothing keeps at most one frame, and is closed after
// [Config].Stall. Bytes that the peer sends are not read.
//
// Parking needs epoll: on other systems than Linux [New] returns [ErrUnsupported].
package park

import (
	"context"
	"errors"
	"net"
	"time"

	"freshet/event"
	"freshet/hub"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrUnsupported: connections cannot be parked here.
	ErrUnsupported = errors.New("park: not on this system")
	// ErrClosed: the park takes no more connections.
	ErrClosed = errors.New("park: closed")
)

// Config says what a parked stream sends of itself. An interval of 0 turns the thing off.
type Config struct {
	Shards          int           // 0: one for each processor but one
	CounterInterval time.Duration // between the counts of a connection
	StatsInterval   time.Duration // between two events of the topic stats
	Heartbeat       time.Duration // after so long without an ID, or a little less, a stream sends its cursor
	Stall           time.Duration // how long a socket may take nothing; 0 means 30 s

	Stats func() *event.Event  // what is sent then; nil while there is none
	Retry func() time.Duration // the reconnection time for a stream that is drained
}

// Stream is what a connection streams.
type Stream struct {
	Sub     *hub.Subscriber // it has handed out all that there was; the park wakes by it from now on
	Counter bool            // sends the topic counter
	Stats   bool            // sends the topic stats
	Lines   bool            // is NDJSON
	Account Account
	Owner   Owner
}

// Account is what a stream has sent.
type Account struct {
	Count  uint64 // of the counter
	Events int    // frames that dispatch an event
	Bytes  int    // without the framing of chunks
}

// Owner gets a stream back, by one of its methods, once. They are called on goroutines that
// [Park.Run] waits for.
type Owner interface {
	// Behind: what the stream is due next has left the window. It has until ctx is done, which
	// is when the park closes, or enters the stream again.
	Behind(ctx context.Context, conn net.Conn, a Account)
	// Why is [Expired] or [Ended], of a stream whose subscriber was ended. It does not wait.
	Why() Reason
	// Ended: the connection is closed, and this is why.
	Ended(a Account, why Reason)
}

// Reason says why a stream has ended.
type Reason string

// Why streams end.
const (
	Gone    Reason = "gone"    // the peer has closed, or is lost
	Stalled Reason = "stalled" // the peer took nothing for Config.Stall
	Drained Reason = "drain"
	Ended   Reason = "ended"        // by an operator; told as a drain is
	Expired Reason = "auth-expired" // its reader may read no longer
)
