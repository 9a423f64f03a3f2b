package stream

// Transport is the HTTP version that a stream's client speaks to this server. A proxy may speak another one to the browser.
type Transport uint8

// The transports.
const (
	OtherTransport Transport = iota
	HTTP10
	HTTP11
	HTTP2

	transports // how many there are
)

// TransportOf is the transport of a request with this major and minor version.
func TransportOf(major, minor int) Transport {
	switch {
	case major == 1 && minor == 0:
		return HTTP10
	case major == 1 && minor == 1:
		return HTTP11
	case major == 2:
		return HTTP2
	}
	return OtherTransport
}

func (t Transport) String() string {
	return [transports]string{"other", "HTTP/1.0", "HTTP/1.1", "HTTP/2"}[t]
}

// Stats is a snapshot of a registry's counts. All but Open count since the registry was made.
type Stats struct {
	Open   map[Transport]int // now
	Opened map[Transport]uint64
	Closed map[Reason]uint64
	Bytes  uint64 // written to streams, in all formats
}

// Stats returns a snapshot of the counts.
func (r *Registry) Stats() Stats {
	s := Stats{Open: map[Transport]int{}, Opened: map[Transport]uint64{}, Closed: map[Reason]uint64{}, Bytes: r.bytes.Load()}
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range transports {
		s.Open[t], s.Opened[t] = r.openBy[t], r.openedBy[t]
	}
	for why := Gone; why < reasons; why++ {
		s.Closed[why] = r.closed[why]
	}
	return s
}
