//go:build !linux

package park

import (
	"context"
	"net"

	"freshet/stream"
)

// Park holds connections, on Linux.
type Park struct{}

// New returns [ErrUnsupported].
func New(*stream.Registry, Config) (*Park, error) { return nil, ErrUnsupported }

// Run returns [ErrUnsupported].
func (*Park) Run(context.Context) error { return ErrUnsupported }

// Enter returns [ErrUnsupported].
func (*Park) Enter(net.Conn, *stream.Stream) error { return ErrUnsupported }

// Len is 0.
func (*Park) Len() int { return 0 }
