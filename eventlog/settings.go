package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// openStream finds or creates the stream. The embedded log gets the settings of the configuration. In an external NATS, which other nodes
// may use too, only Config.UpdateStream changes a stream: else a difference is [ErrSettings]. Settings that are not the log's stay as they are.
func (l *Log) openStream(ctx context.Context, cfg Config) (jetstream.Stream, error) {
	finding, cancel := context.WithTimeout(ctx, l.retryAfter) // an election loses the request, and the caller may wait
	stream, err := l.js.Stream(finding, streamName)
	cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	if errors.Is(err, jetstream.ErrStreamNotFound) && !cfg.existing {
		stream, err = l.js.CreateStream(ctx, streamConfig(jetstream.StreamConfig{}, cfg))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node has just created it, with other settings
			stream, err = l.js.Stream(ctx, streamName)
		}
	}
	if err != nil {
		return nil, openError(err)
	}
	before := stream.CachedInfo()
	if before.Config.Metadata[restoringKey] != "" {
		return nil, ErrUnfinished
	}
	if cfg.existing {
		return stream, nil
	}
	want := streamConfig(before.Config, cfg)
	if cfg.NATS != "" && !cfg.UpdateStream && len(cfg.Retain) == 0 { // streams of earlier versions have no TTLs, and need none until one is used
		want.AllowMsgTTL = before.Config.AllowMsgTTL
	}
	differences := compare(before.Config, want)
	switch fixed := slices.DeleteFunc(slices.Clone(differences), func(d difference) bool { return !d.fixed }); {
	case len(differences) == 0:
		return stream, nil
	case len(fixed) > 0:
		return nil, fmt.Errorf("%w of NATS, and NATS cannot change that: %s; delete the stream with its events, or use another NATS account", ErrSettings, list(fixed, "%s is %s, and must be %s"))
	case cfg.NATS != "" && !cfg.UpdateStream:
		use := "start with the values of the stream, or "
		if slices.ContainsFunc(differences, func(d difference) bool { return !strings.HasPrefix(d.name, "--") }) {
			use = ""
		}
		return nil, fmt.Errorf("%w of NATS: %s; %sstart one node with --update-stream, which changes the stream for all nodes",
			ErrSettings, list(differences, "%s is %s there and %s here"), use)
	}
	if stream, err = l.js.UpdateStream(ctx, want); err != nil {
		return nil, openError(err)
	}
	l.logger.Warn("the settings of the log have changed", "changes", list(differences, "%s from %s to %s"),
		"deleted_events", before.State.Msgs-min(before.State.Msgs, stream.CachedInfo().State.Msgs))
	return stream, nil
}

// streamConfig is base with the settings of the log.
func streamConfig(base jetstream.StreamConfig, cfg Config) jetstream.StreamConfig {
	base.Name = streamName
	base.Subjects = []string{subjectPrefix + ">"}
	base.Storage = jetstream.FileStorage
	base.Retention = jetstream.LimitsPolicy
	base.Replicas = cfg.Replicas
	base.MaxAge = max(cfg.RetainAge, 0)
	base.MaxBytes = max(cfg.RetainBytes, -1)
	base.MaxMsgsPerSubject = max(cmp.Or(cfg.RetainPerTopic, -1), -1)
	base.Discard, base.DiscardNewPerSubject = jetstream.DiscardOld, false
	base.Duplicates = dedupWindow
	if cfg.RetainAge > 0 {
		base.Duplicates = min(dedupWindow, cfg.RetainAge)
	}
	base.AllowAtomicPublish, base.AllowMsgTTL = true, true
	base.NoAck = false
	return base
}

// difference is a setting that the stream has with another value than the log wants. Settings with a flag have the flag's name and the values that it takes.
type difference struct {
	name, have, want string
	fixed            bool // JetStream cannot change it
}

func compare(have, want jetstream.StreamConfig) (differences []difference) {
	add := func(name, have, want string, fixed bool) {
		if have != want {
			differences = append(differences, difference{name, have, want, fixed})
		}
	}
	workQueue := have.Retention == jetstream.WorkQueuePolicy
	add("the storage", strings.ToLower(have.Storage.String()), strings.ToLower(want.Storage.String()), true)
	add("the retention policy", strings.ToLower(have.Retention.String()), strings.ToLower(want.Retention.String()), workQueue)
	add("--retain-age", flagAge(have.MaxAge), flagAge(want.MaxAge), false)
	add("--retain-bytes", flagBytes(have.MaxBytes), flagBytes(want.MaxBytes), false)
	add("--retain-per-topic", flagCount(have.MaxMsgsPerSubject), flagCount(want.MaxMsgsPerSubject), false)
	add("--replicas", strconv.Itoa(have.Replicas), strconv.Itoa(want.Replicas), false)
	add("the list of subjects", strings.Join(have.Subjects, " "), strings.Join(want.Subjects, " "), false)
	add("the discard policy", discardPolicy(have), discardPolicy(want), false)
	if have.MaxAge == want.MaxAge { // else it follows from --retain-age
		add("the duplicate window", have.Duplicates.String(), want.Duplicates.String(), false)
	}
	add("atomic publishing", onOff(have.AllowAtomicPublish), onOff(want.AllowAtomicPublish), false)
	add("the TTL of events", onOff(have.AllowMsgTTL), onOff(want.AllowMsgTTL), false)
	add("acknowledging", onOff(!have.NoAck), onOff(!want.NoAck), false)
	return differences
}

// list joins the differences, each in the format for its name and its two values.
func list(differences []difference, format string) string {
	var texts []string
	for _, d := range differences {
		texts = append(texts, fmt.Sprintf(format, d.name, d.have, d.want))
	}
	return strings.Join(texts, ", ")
}

func discardPolicy(c jetstream.StreamConfig) string {
	if c.Discard == jetstream.DiscardNew {
		return "new"
	}
	return "old"
}

func flagAge(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func flagBytes(n int64) string {
	for i, unit := range []string{"GiB", "MiB", "KiB"} {
		if size := int64(1) << (30 - 10*i); n > 0 && n%size == 0 {
			return strconv.FormatInt(n/size, 10) + unit
		}
	}
	return flagCount(n)
}

// flagCount returns 0, which sets no limit, for JetStream's -1.
func flagCount(n int64) string { return strconv.FormatInt(max(n, 0), 10) }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
