package eventlog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go/jetstream"
)

// Requests of the JetStream API that the stream's leader answers. With the methods of nats.go,
// a server that lags could answer where the stream allows direct access.
const (
	getSubject   = "$JS.API.STREAM.MSG.GET."
	infoSubject  = "$JS.API.STREAM.INFO."
	purgeSubject = "$JS.API.STREAM.PURGE."
)

// messageRequest selects the last message of LastFor, or the first message of NextFor from Seq on.
type messageRequest struct {
	Seq     uint64 `json:"seq,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
}

// message is what the log needs to know of a stored message.
type message struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Header []byte    `json:"hdrs"` // as NATS encodes it
}

// getMessage returns nil if the stream's leader finds no such message. It also finds none if
// it cannot read its files.
func (l *Log) getMessage(ctx context.Context, stream string, request messageRequest) (*message, error) {
	var response struct {
		Message *message            `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := l.request(ctx, getSubject+stream, request, &response); err != nil {
		return nil, err
	}
	if e := response.Error; e != nil && e.ErrorCode != jetstream.JSErrCodeMessageNotFound {
		return nil, wrapError(e)
	}
	return response.Message, nil
}

// lastOf returns the sequence of the newest message of the subjects, or 0 if there is none.
func (l *Log) lastOf(ctx context.Context, stream, filter string) (uint64, error) {
	for range 2 { // the first message may come between the two questions
		m, err := l.getMessage(ctx, stream, messageRequest{LastFor: filter})
		if m != nil || err != nil {
			return m.sequence(), err
		}
		subjects, err := l.countSubjects(ctx, stream, filter)
		if err != nil || subjects == 0 {
			return 0, err
		}
	}
	return 0, errUnproven
}

func (m *message) sequence() uint64 {
	if m == nil {
		return 0
	}
	return m.Seq
}

func (m *message) header() []byte {
	if m == nil {
		return nil
	}
	return m.Header
}

// countTopics returns how many topics with events the patterns select, or more if patterns cross.
func (l *Log) countTopics(ctx context.Context, patterns event.Patterns) (topics uint64, err error) {
	for _, filter := range eventSubjects(patterns) {
		n, err := l.countSubjects(ctx, streamName, filter)
		if err != nil {
			return 0, err
		}
		topics += n
	}
	return topics, nil
}

// countSubjects returns how many subjects have messages. JetStream has the answer in memory.
func (l *Log) countSubjects(ctx context.Context, stream, filter string) (uint64, error) {
	var response struct {
		State struct {
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
		Error *jetstream.APIError `json:"error"`
	}
	err := l.request(ctx, infoSubject+stream, map[string]string{"subjects_filter": filter}, &response)
	if err == nil && response.Error != nil {
		err = wrapError(response.Error)
	}
	return uint64(len(response.State.Subjects)), err
}

// ProvedBounds is [Log.Bounds], and whether it is proved that no server has a later event: the
// log has one copy, or its leader has heard from a majority of the copies after the time. A leader
// that was frozen or cut off does not know what its cluster has stored since. With the zero time,
// only a log with one copy is proof.
//
// A leader may store an event a moment after other servers have stored and delivered it, so one
// proof of a majority is not enough.
func (l *Log) ProvedBounds(ctx context.Context, after time.Time) (first, last uint64, proved bool, err error) {
	info, err := l.info(ctx)
	if err != nil {
		return 0, 0, false, err
	}
	s := stateOf(info)
	return s.First, s.Last, info.Config.Replicas < 2 || !after.IsZero() && heardMajority(info.Cluster, time.Since(after)), nil
}

// heardMajority reports whether the leader, and so many others that they are a majority, were active within the time.
func heardMajority(cluster *jetstream.ClusterInfo, within time.Duration) bool {
	if cluster == nil || cluster.Leader == "" {
		return false
	}
	heard := 1
	for _, copied := range cluster.Replicas {
		if copied.Active > 0 && copied.Active < within { // 0: never
			heard++
		}
	}
	return 2*heard > len(cluster.Replicas)+1
}

func (l *Log) request(ctx context.Context, subject string, request, response any) error {
	ctx, cancel := l.withTimeout(ctx, answerTimeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode a request to JetStream: %w", err)
	}
	m, err := l.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return wrapError(err)
	}
	return wrapError(json.Unmarshal(m.Data, response))
}

// eventSubjects is subjects for messages that are events.
func eventSubjects(patterns event.Patterns) []string {
	filters := subjects(patterns)
	if filters[0] == everything {
		return []string{allEvents}
	}
	return filters
}
