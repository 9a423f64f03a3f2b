package eventlog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The requests with which JetStream sends a snapshot of a stream, and receives one (NATS ADR-8 and the API's schema).
const (
	snapshotSubject = "$JS.API.STREAM.SNAPSHOT."
	restoreSubject  = "$JS.API.STREAM.RESTORE."

	// chunkSize is also what JetStream sends before an acknowledgement, so that it reads no faster than the chunks are written.
	chunkSize = 256 << 10
	// JetStream gives up a snapshot five seconds after the last acknowledgement. A client's disk may take longer, so a chunk is acknowledged
	// at this interval even if it was not written. The next chunks wait in memory: maxWaiting of them, for the time that a write may take.
	ackInterval = 2 * time.Second
	maxWaiting  = 32
	// restoreTimeout bounds the wait for the answer to a chunk. JetStream may have to write it to three disks.
	restoreTimeout = 30 * time.Second
	// peersPause is how long a restore waits for servers of a cluster before it asks again.
	peersPause = 200 * time.Millisecond
)

// snapshot is a snapshot of a stream that JetStream has begun to send. It has the messages with their sequences and times, and no consumers.
type snapshot struct {
	config jetstream.StreamConfig
	state  jetstream.StreamState

	chunks chan *nats.Msg
	sub    *nats.Subscription

	mu       sync.Mutex
	received []*nats.Msg // not acknowledged
}

// beginSnapshot asks for a snapshot. The caller calls copyTo, or close.
func beginSnapshot(ctx context.Context, nc *nats.Conn, stream string) (_ *snapshot, err error) {
	s := &snapshot{chunks: make(chan *nats.Msg, maxWaiting)}
	inbox := nc.NewInbox()
	if s.sub, err = nc.Subscribe(inbox, s.receive); err != nil {
		return nil, wrapError(err)
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	body, err := json.Marshal(map[string]any{"deliver_subject": inbox, "no_consumers": true, "chunk_size": chunkSize, "window_size": chunkSize})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := nc.RequestWithContext(ctx, snapshotSubject+stream, body)
	if err != nil {
		return nil, wrapError(err)
	}
	var response struct {
		Config jetstream.StreamConfig `json:"config"`
		State  jetstream.StreamState  `json:"state"`
		Error  *jetstream.APIError    `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &response); err != nil {
		return nil, wrapError(err)
	}
	if response.Error != nil {
		return nil, wrapError(response.Error)
	}
	s.config, s.state = response.Config, response.State
	return s, nil
}

// receive is called for each chunk.
func (s *snapshot) receive(m *nats.Msg) {
	s.mu.Lock()
	if m.Reply != "" {
		s.received = append(s.received, m)
	}
	s.mu.Unlock()
	s.chunks <- m
}

// acknowledge lets JetStream send another chunk.
func (s *snapshot) acknowledge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) > 0 {
		_ = s.received[0].Respond(nil) // a lost connection ends ctx
		s.received = s.received[1:]
	}
}

func (s *snapshot) close() { _ = s.sub.Unsubscribe() }

// copyTo writes the snapshot to w and closes it. Without an error it is complete. ctx must end when the connection is lost. If it is gentle,
// it pauses after each chunk for as long as JetStream took to read it, so that publishers and readers have the disk and a processor too.
func (s *snapshot) copyTo(ctx context.Context, w io.Writer, gentle bool) error {
	defer s.close()
	ctx, cancel := context.WithCancel(ctx)
	var ticking sync.WaitGroup
	defer ticking.Wait()
	defer cancel()
	ticking.Go(func() {
		tick := time.NewTicker(ackInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.acknowledge()
			case <-ctx.Done():
				return
			}
		}
	})
	for number := 1; ; number++ {
		var chunk *nats.Msg
		asked := time.Now()
		select {
		case chunk = <-s.chunks:
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(chunk.Data) == 0 {
			status, description := chunk.Header.Get("Status"), chunk.Header.Get("Description")
			if status != "" && status != "204" {
				return fmt.Errorf("JetStream ended the snapshot: %s", cmp.Or(description, status))
			}
			return nil
		}
		// The last chunk may have no number.
		if got := chunk.Reply[strings.LastIndexByte(chunk.Reply, '.')+1:]; got != "" && got != strconv.Itoa(number) {
			return fmt.Errorf("chunk %d of the snapshot did not arrive", number)
		}
		took := time.Since(asked)
		if _, err := w.Write(chunk.Data); err != nil {
			return err
		}
		if gentle && pause(ctx, took) != nil {
			return ctx.Err()
		}
		s.acknowledge()
	}
}

var (
	// errExists: NATS has a stream with this name already.
	errExists = errors.New("the stream exists already")
	// errNoPeers: servers of the cluster are away, or have just started.
	errNoPeers = errors.New("no suitable peers for placement")
	// errNoServer: no server listens for the request, which is therefore nowhere.
	errNoServer = fmt.Errorf("%w: no server takes a stream", ErrUnavailable)
)

// restoreStream creates the stream from a snapshot. After an error other than errExists, a part of the stream may be there.
func restoreStream(ctx context.Context, nc *nats.Conn, config jetstream.StreamConfig, state jetstream.StreamState, r io.Reader) error {
	body, err := json.Marshal(map[string]any{"config": config, "state": state})
	if err != nil {
		return err
	}
	deliver, err := restoreRequest(ctx, nc, restoreSubject+config.Name, body)
	if err != nil {
		return err
	}
	chunk := make([]byte, chunkSize)
	for err == nil {
		var n int
		if n, err = io.ReadFull(r, chunk); n > 0 {
			if _, errSend := restoreRequest(ctx, nc, deliver, chunk[:n]); errSend != nil {
				return errSend
			}
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		_, err = restoreRequest(ctx, nc, deliver, nil)
		return err
	}
	// JetStream refuses a snapshot without its end. Otherwise it would wait for the next chunk for five seconds.
	_, _ = restoreRequest(context.WithoutCancel(ctx), nc, deliver, nil)
	return err
}

// restoreRequest sends the request to restore a stream, a chunk, or the end, which is nil. It returns the subject for chunks. In a cluster that
// has just started, servers do not know each other yet: it waits for them.
func restoreRequest(ctx context.Context, nc *nats.Conn, subject string, body []byte) (deliver string, err error) {
	for end := time.Now().Add(targetWait); ; {
		deliver, err = restoreRequestOnce(ctx, nc, subject, body)
		tooEarly := errors.Is(err, errNoPeers) || errors.Is(err, errNoServer)
		if !tooEarly || time.Now().After(end) || pause(ctx, peersPause) != nil {
			return deliver, err
		}
	}
}

func restoreRequestOnce(ctx context.Context, nc *nats.Conn, subject string, body []byte) (deliver string, err error) {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return "", errNoServer
	}
	if err != nil || len(m.Data) == 0 {
		return "", wrapError(err)
	}
	var answer struct {
		Deliver string              `json:"deliver_subject"`
		Error   *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return "", wrapError(err)
	case answer.Error != nil && (answer.Error.ErrorCode == codeRestoreExists || answer.Error.ErrorCode == jetstream.JSErrCodeStreamNameInUse):
		return "", errExists
	case answer.Error != nil && answer.Error.ErrorCode == codeNoPeers:
		return "", fmt.Errorf("NATS says: %w", errNoPeers)
	case answer.Error != nil:
		return "", fmt.Errorf("NATS says: %s", strings.TrimPrefix(answer.Error.Description, "restore failed: "))
	}
	return answer.Deliver, nil
}
