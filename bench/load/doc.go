//go:build linux

// Package load is the clients' side of the benchmarks:
//
//   - A [Swarm] is many readers. Each is a socket and a few words of memory, and one goroutine reads
//     all of them through epoll. So ten thousand readers leave the machine to the server.
//   - A [Publisher] is one connection that publishes.
//   - A [Writer] is one connection that sends an answer piece by piece.
//
// The data of an event contains its number and when it was published ([Data]). Readers check
// every byte, whatever the pieces in which it arrives, and count events that are missing, repeated
// or out of order.
package load

import "time"

// Target is a server.
type Target struct {
	Address string // host:port
	Read    string // path of the stream
	Publish string // path to which an event is posted
	Bulk    string // path to which many events are posted as NDJSON, if there is one
	Header  string // header lines for publishing, each with CRLF
}

// dataBytes is the length of every event's data.
const dataBytes = 128

// tokenBytes is the length of the part of the data that has the number and the time.
const tokenBytes = 33

// marker comes before an event's number and nowhere else in a stream.
const marker = '#'

const hexDigits = "0123456789abcdef"

// started is the zero of all times. Publishers and readers share the process's monotonic clock.
var started = time.Now()

// Data returns the data of the event with the number, published now. Its length is always the same.
func Data(number uint64) []byte {
	data := make([]byte, dataBytes)
	for i := range data {
		data[i] = 'x'
	}
	data[0] = marker
	putHex(data[1:17], number)
	putHex(data[17:33], uint64(time.Since(started)))
	return data
}

func putHex(to []byte, n uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = hexDigits[n&15]
		n >>= 4
	}
}
