package app

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pipeClosed waits until nobody can read the pipe any more, or ctx ends. It returns false at once if out is no file. Without it, a
// program that has no more to write would not end.
func pipeClosed(ctx context.Context, out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(file.Fd())}}
	for ctx.Err() == nil {
		if n, _ := unix.Poll(poll, 200); n > 0 { // milliseconds: ctx cannot end a poll
			return poll[0].Revents&unix.POLLERR != 0
		}
	}
	return false
}
