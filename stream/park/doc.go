// Package park runs caught-up streams over plain HTTP/1.1 without a goroutine each.
//
// A stream that only waits costs net/http about 25 KiB: two stacks and the buffers. In a
// [Park] it costs less than one. The park's shards, one for each processor but one, own the
// sockets and step the streams: ready events, of which all connections share the bytes, with
// non-blocking writes; deadlines by a wheel of timers; peers that close by epoll.
//
//   - A connection enters in the middle of a chunked response (RFC 9112, 7.1), at the end of
//     a chunk, and stays until its stream ends. Bytes that the peer sends are discarded, and end
//     the stream if they are more than [stream.MaxUnread].
//   - Nothing that a shard does ever waits. If a stream falls behind the hub's window,
//     a goroutine reads the log for it, a piece at a time.
//   - A socket that takes nothing keeps at most one event and one piece of a replay, and is
//     closed after the registry's stall time.
//   - [Park.Run] waits for every goroutine that it starts.
//
// Parking needs epoll: on other systems than Linux [New] returns [ErrUnsupported].
package park

import "errors"

// Errors that callers tell apart with errors.Is.
var (
	// ErrUnsupported: connections cannot be parked on this system.
	ErrUnsupported = errors.New("park: not supported on this system")
	// ErrClosed: the park takes no more connections.
	ErrClosed = errors.New("park: closed")
)

// Config is the configuration of a park. Its zero value is ready.
type Config struct {
	Shards         int // 0: one for each processor but one
	MaxDescriptors int // above the numbers of the connections' descriptors; 0: no limit
}
