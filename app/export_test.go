package app

import "net"

// Certificates is the interface that the ready message reads names from.
type Certificates = certificates

// BaseURL is what the ready message prints.
func BaseURL(addr net.Addr, certs Certificates) string { return baseURL(addr, certs) }

// ListenError is the error of Serve for an address that cannot be used.
func ListenError(address string, err error) error { return listenError("--listen", address, err) }
