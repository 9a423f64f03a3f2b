package eventlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Tickets is a store of small values beside the log, on the same servers and kept in as many
// copies: a JetStream key-value bucket that all nodes share. Keys are letters, digits, dashes,
// underscores and dots. What is written is told to whoever watches, on every node and in order.
type Tickets struct {
	log    *Log
	stream jetstream.Stream
}

const (
	ticketsBucket  = streamName + "-tickets"
	ticketsStream  = "KV_" + ticketsBucket
	ticketsSubject = "$KV." + ticketsBucket + "."
	operationKey   = "KV-Operation"

	// maxTickets is how many keys there are at most: whoever makes tickets without end fills
	// no disk.
	maxTickets = 1_000_000
	// deletedFor is how long a deleted key is told to a watch that begins.
	deletedFor = 10 * time.Minute
)

// Tickets opens the store, making it where it is missing.
func (l *Log) Tickets(ctx context.Context) (*Tickets, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	replicas := max(l.stream.CachedInfo().Config.Replicas, 1)
	stream, err := l.js.Stream(ctx, ticketsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = l.js.CreateStream(ctx, ticketsConfig(jetstream.StreamConfig{}, replicas))
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
		stream, err = l.js.Stream(ctx, ticketsStream)
	}
	if err == nil {
		have := stream.CachedInfo().Config
		if want := ticketsConfig(have, replicas); !reflect.DeepEqual(have, want) {
			stream, err = l.js.UpdateStream(ctx, want)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the key-value bucket %q: %w", ticketsBucket, answer(err))
	}
	return &Tickets{l, stream}, nil
}

// ticketsConfig is what makes a stream the bucket. Its values are only asked of the stream's
// leader: a server that lags would not know the ticket that another node has just made.
func ticketsConfig(base jetstream.StreamConfig, replicas int) jetstream.StreamConfig {
	base.Name = ticketsStream
	base.Subjects = []string{ticketsSubject + ">"}
	base.Storage = jetstream.FileStorage
	base.Replicas = replicas
	base.MaxMsgsPerSubject = 1
	base.MaxMsgs = maxTickets
	base.Discard = jetstream.DiscardNew
	base.AllowRollup = true
	base.DenyDelete = true
	base.AllowMsgTTL = true
	base.AllowDirect = false
	return base
}

// Get returns the key's value and its revision; the revision 0 if there is none.
func (t *Tickets) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	if err := t.log.broken(); errors.Is(err, ErrRenewed) {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := t.stream.GetLastMsgForSubject(ctx, ticketsSubject+key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, answer(err)
	case m.Header.Get(operationKey) != "":
		return nil, 0, nil
	}
	return m.Data, m.Sequence, nil
}

// Put writes the value of a key that has the revision now, or is new where that is 0, to be
// kept for so long, in whole seconds. It returns the new revision; 0 if the key has another
// one by now, and then nothing was written. A key that was deleted is not written again.
func (t *Tickets) Put(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error) {
	if err := t.log.broken(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ack, err := t.log.js.PublishMsg(ctx, &nats.Msg{Subject: ticketsSubject + key, Data: value, Header: nats.Header{}},
		jetstream.WithExpectStream(ticketsStream),
		jetstream.WithExpectLastSequencePerSubject(revision),
		jetstream.WithMsgTTL(max(keep.Truncate(time.Second), time.Second)))
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, nil
	case err != nil:
		return 0, answer(err)
	}
	return ack.Sequence, nil
}

// Delete deletes the key, if it is there.
func (t *Tickets) Delete(ctx context.Context, key string) error {
	if err := t.log.broken(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	header := nats.Header{operationKey: {"PURGE"}, jetstream.MsgRollup: {jetstream.MsgRollupSubject}}
	_, err := t.log.js.PublishMsg(ctx, &nats.Msg{Subject: ticketsSubject + key, Header: header},
		jetstream.WithExpectStream(ticketsStream), jetstream.WithMsgTTL(deletedFor))
	return answer(err)
}

// Last returns the revision of what was written last, and how many keys there are.
func (t *Tickets) Last(ctx context.Context) (revision, keys uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	info, err := t.stream.Info(ctx)
	if err != nil {
		return 0, 0, answer(err)
	}
	return info.State.LastSeq, info.State.Msgs, nil
}

// Keys returns the keys that begin with prefix, which ends with a dot: at most a thousand.
func (t *Tickets) Keys(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	info, err := t.stream.Info(ctx, jetstream.WithSubjectFilter(ticketsSubject+prefix+">"))
	if err != nil {
		return nil, answer(err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		if keys = append(keys, strings.TrimPrefix(subject, ticketsSubject)); len(keys) == 1000 {
			break
		}
	}
	return keys, nil
}

// Watch calls fn for what was written after the revision and is still there, and for all that
// is written from then on, in order; the value is nil where the key was deleted, and a key
// that has only run out is not told. It returns when ctx is done. A lost connection is taken
// up again where it broke.
func (t *Tickets) Watch(ctx context.Context, after uint64, fn func(key string, value []byte, revision uint64)) error {
	again := t.log.nc.StatusChanged(nats.CONNECTED)
	defer t.log.nc.RemoveStatusListener(again)
	for {
		told := uint64(0)
		for m, err := range t.follow(ctx, after, again) {
			var meta *jetstream.MsgMetadata
			if err == nil {
				meta, err = m.Metadata()
			}
			if told++; err == nil && meta.Sequence.Consumer != told {
				err = errBroken // the connection has dropped some
			}
			if err != nil {
				t.log.logger.Debug("the watch of the tickets is taken up again", "after", after, "error", err)
				break
			}
			after = meta.Sequence.Stream
			value := m.Data()
			if m.Headers().Get(operationKey) != "" {
				value = nil
			} else if value == nil {
				value = []byte{}
			}
			fn(strings.TrimPrefix(m.Subject(), ticketsSubject), value, after)
		}
		if err := pause(ctx, tailPause); err != nil {
			return err
		}
	}
}

// follow reads the bucket from behind the revision on, until that fails or the connection is
// another one: to what was asked on the last one, nothing may come any more.
//
// It is not one of the client's ordered consumers: told to stop while it makes itself anew,
// such a one may go on for ever (nats.go 1.55).
func (t *Tickets) follow(ctx context.Context, after uint64, again <-chan nats.Status) iter.Seq2[jetstream.Msg, error] {
	return func(yield func(jetstream.Msg, error) bool) {
		opening, opened := context.WithTimeout(ctx, answerTimeout)
		defer opened()
		consumer, err := t.stream.CreateConsumer(opening, jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: idleConsumer,
		})
		if err != nil {
			yield(nil, err)
			return
		}
		messages, err := consumer.Messages(jetstream.PullHeartbeat(answerTimeout / 3))
		if err != nil {
			yield(nil, err)
			return
		}
		defer messages.Stop()
		same, end := context.WithCancel(ctx)
		defer end()
		go func() {
			select {
			case <-again:
				end()
			case <-same.Done():
			}
		}()
		for {
			m, err := messages.Next(jetstream.NextContext(same))
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}
