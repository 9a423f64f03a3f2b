package eventlog

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"freshet/event"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A backup is a ZIP archive of two files. Its directory is at the end, so a part of a backup is no archive.
const (
	summaryFile = "backup.json" // a Summary
	eventsFile  = "events"      // JetStream's snapshot of the stream, which is compressed already

	backupFormat = 1
	maxSummary   = 64 << 10 // bytes
)

// Summary describes a backup.
type Summary struct {
	Format int       `json:"format"`
	Taken  time.Time `json:"taken"`
	First  event.ID  `json:"first"` // of the oldest event in the log; one after Last if there is none
	Last   event.ID  `json:"last"`  // of the newest one that the log has ever had
	Events uint64    `json:"events"`
	Bytes  uint64    `json:"bytes"` // of the events in the log

	// The log's settings, as in a [Config]. 0: no limit.
	RetainAge      time.Duration `json:"retain_age_ns"`
	RetainBytes    int64         `json:"retain_bytes"`
	RetainPerTopic int64         `json:"retain_per_topic"`
	// TTLs: events may have TTLs, and expire one by one.
	TTLs bool `json:"ttls"`
}

// Backup is a copy of the log's events that has begun.
type Backup struct {
	Summary Summary

	log      *Log
	snapshot *snapshot
}

// Backup begins a backup of all events that are in the log now. Publishing and reading continue meanwhile. Events that retention deletes
// during the copy may be missing in it. The caller calls [Backup.CopyTo] at once. The error is [ErrOldNATS], [ErrUnavailable] or [ErrRenewed].
func (l *Log) Backup(ctx context.Context) (*Backup, error) {
	if _, err := l.State(ctx); err != nil {
		return nil, err
	}
	if err := checkVersion(l.nc.Conn); err != nil {
		return nil, err
	}
	s, err := beginSnapshot(ctx, l.nc.Conn, streamName)
	if err != nil {
		return nil, err
	}
	summary := summaryOf(s, l.epoch)
	summary.TTLs = summary.TTLs || l.lastAcked == nil && s.config.AllowMsgTTL // any NATS client can set them
	return &Backup{log: l, snapshot: s, Summary: summary}, nil
}

func summaryOf(s *snapshot, epoch uint64) Summary {
	return Summary{
		Format: backupFormat, Taken: time.Now().UTC(), First: event.NewID(epoch, max(s.state.FirstSeq, 1)), Last: event.NewID(epoch, s.state.LastSeq),
		Events: s.state.Msgs, Bytes: s.state.Bytes,
		RetainAge: s.config.MaxAge, RetainBytes: max(s.config.MaxBytes, 0), RetainPerTopic: max(s.config.MaxMsgsPerSubject, 0),
		TTLs: s.config.Metadata[holesKey] == expiringHoles,
	}
}

// CopyTo writes the backup to w. A write may take up to 30 seconds: then the log ends the snapshot. Only without an error, the backup is whole.
func (b *Backup) CopyTo(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.log.nc.Connected(), cancel)()
	z := zip.NewWriter(w)
	summary, err := z.Create(summaryFile)
	if err == nil {
		err = json.NewEncoder(summary).Encode(b.Summary)
	}
	var events io.Writer
	if err == nil {
		events, err = z.CreateHeader(&zip.FileHeader{Name: eventsFile, Method: zip.Store, Modified: b.Summary.Taken})
	}
	if err != nil {
		b.snapshot.close()
		return err
	}
	if err := b.snapshot.copyTo(ctx, events, true); err != nil {
		return err
	}
	return z.Close()
}

// checkVersion returns [ErrOldNATS] if the server makes no snapshots of the second version, as JetStream calls them: those of the first may
// lack events that were deleted or published meanwhile.
func checkVersion(nc *nats.Conn) error {
	var major, minor int
	if _, err := fmt.Sscanf(nc.ConnectedServerVersion(), "%d.%d", &major, &minor); err != nil || major < 2 || major == 2 && minor < 15 {
		return fmt.Errorf("%w; the server's version is %s", ErrOldNATS, strconv.Quote(nc.ConnectedServerVersion()))
	}
	return nil
}

// openedBackup is a backup that is read.
type openedBackup struct {
	summary Summary
	events  *zip.File
}

// CheckBackup reads the whole backup and returns what it has. The error is [ErrBackup], or that of the file.
func CheckBackup(file io.ReaderAt, size int64) (Summary, error) {
	b, err := openBackup(file, size)
	return b.summary, err
}

// openBackup checks the backup. The summary then has the number of events that are in the file.
func openBackup(file io.ReaderAt, size int64) (b openedBackup, err error) {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return b, brokenBackup(err)
	}
	for _, f := range z.File {
		switch f.Name {
		case summaryFile:
			err = readSummary(f, &b.summary)
		case eventsFile:
			b.events = f
		}
	}
	switch {
	case err != nil:
		return b, brokenBackup(err)
	case b.summary.Format > backupFormat:
		return b, fmt.Errorf("%w that this version can read: the file has format %d, of a later version; use that one", ErrBackup, b.summary.Format)
	case b.summary.Format < 1 || b.events == nil || b.summary.Last.IsZero():
		return b, brokenBackup(errors.New("files are missing in the archive"))
	}
	if b.summary.Events, err = b.count(); err != nil {
		return b, brokenBackup(err)
	}
	return b, nil
}

func brokenBackup(err error) error { return fmt.Errorf("%w: %w", ErrBackup, err) }

func readSummary(f *zip.File, summary *Summary) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(r, maxSummary))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, summary)
}

// count reads all events, up to the mark of the end and the checksum of the file, and returns how many there are.
func (b openedBackup) count() (events uint64, err error) {
	file, err := b.events.Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // only read from
	entries := archive.NewReader(s2.NewReader(file))
	state, err := entries.Next()
	if err != nil {
		return 0, err
	}
	if state.Sequence != 0 || state.Name == "" {
		return 0, errors.New("the events have no beginning")
	}
	for last := uint64(0); ; events++ {
		entry, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return 0, errors.New("the events have no end")
		case err != nil:
			return 0, err
		case entry.Sequence == 0 && entry.Name == "":
			_, err := io.Copy(io.Discard, file) //nolint:gosec // nothing is kept; it compares the checksum
			return events, err
		case entry.Sequence <= last || entry.Sequence > b.summary.Last.Seq():
			return 0, fmt.Errorf("event %d follows event %d, and the last one is %d", entry.Sequence, last, b.summary.Last.Seq())
		}
		last = entry.Sequence
	}
}

// restoreConfig is the configuration of the stream that a backup with these settings becomes.
func restoreConfig(s Summary, replicas int) jetstream.StreamConfig {
	orNone := func(n int64) int64 {
		if n <= 0 {
			return -1
		}
		return n
	}
	return streamConfig(jetstream.StreamConfig{}, Config{
		Replicas: replicas, RetainAge: time.Duration(orNone(int64(s.RetainAge))), RetainBytes: orNone(s.RetainBytes), RetainPerTopic: s.RetainPerTopic,
	})
}
