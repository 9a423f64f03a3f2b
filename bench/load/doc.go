//go:build linux

// Package load is the other side of the benchmarks: a [Swarm] of readers that are sockets
// and a few words of memory each, read by one goroutine through epoll, so that ten thousand
// of them leave the machine to the server; and a [Publisher], one connection that publishes.
//
// The data of an event says its number and when it was published ([Data]). Readers look
// into every byte, whatever the pieces in which it comes: an event that is missing, comes
// twice or out of order is counted, never passed over.
package load

import "time"

// Target is a server.
type Target struct {
	Address string // host:port
	Read    string // path of the stream
	Publish string // path to which an event is posted
	Bulk    string // path to which many are posted as NDJSON, if there is one
	Header  string // lines that publishing needs, each with CRLF
}

// dataBytes is the length of every event's data.
const dataBytes = 128

// marker comes before an event's number and nowhere else in a stream.
const marker = '#'

const hexDigits = "0123456789abcdef"

// started is what times are counted from: the monotonic clock is one for all of the process.
var started = time.Now()

// Data is the data of the event of the number, published now. Its length is always the same.
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
