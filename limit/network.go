package limit

import "net/netip"

// Network is what a client address counts as: the IPv4 address, or the /64 of an IPv6 address, which is the least that one customer
// has. The invalid address, such as that of a client on a Unix socket, gives the zero Prefix.
func Network(address netip.Addr) netip.Prefix {
	bits := 64
	if address = address.Unmap(); address.Is4() {
		bits = 32
	}
	network, _ := address.Prefix(bits) // no error: both lengths are valid
	return network
}
