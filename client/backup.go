package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// backupSilence is how long the server may send nothing of a backup. It ends a copy itself that makes no progress for 30 seconds.
const backupSilence = time.Minute

var errBackupSilent = errors.New("the server has sent nothing for a minute")

// Backup writes a backup of all events that are stored now to w: a ZIP archive, which the command freshet restore reads. The token must be
// an operator's. Without an error, all of it was written. An answer without a backup is an [*Error].
func (c *Client) Backup(ctx context.Context, w io.Writer) (size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(backupSilence, func() { cancel(errBackupSilent) })
	defer silence.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/backup", nil)
	if err != nil {
		return 0, err
	}
	response, err := c.send(c.streams, request, "")
	if err != nil {
		return 0, causeOf(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return 0, refusal(response)
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/zip" {
		return 0, &Error{Status: http.StatusOK, Message: fmt.Sprintf("the answer is %q, not a backup", kind)}
	}
	buffer := make([]byte, 64<<10)
	for {
		n, errRead := response.Body.Read(buffer)
		silence.Stop() // the writer has its own time
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return size, err
			}
			size += int64(n)
		}
		switch {
		case errors.Is(errRead, io.EOF):
			return size, nil
		case errRead != nil:
			return size, fmt.Errorf("the backup was cut after %d bytes: %w", size, causeOf(ctx, errRead))
		}
		silence.Reset(backupSilence)
	}
}

// causeOf returns why ctx has ended, or the error if it has not.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
