//go:build !linux

package park

import (
	"context"
	"net"
	"time"
)

// Park holds connections, on Linux.
type Park struct{}

// New returns [ErrUnsupported].
func New(Config) (*Park, error) { return nil, ErrUnsupported }

// Run returns [ErrUnsupported].
func (*Park) Run(context.Context) error { return ErrUnsupported }

// Enter returns [ErrUnsupported].
func (*Park) Enter(net.Conn, Stream) error { return ErrUnsupported }

// Len is 0.
func (*Park) Len() int { return 0 }

// Drain does nothing.
func (*Park) Drain(time.Duration) {}
