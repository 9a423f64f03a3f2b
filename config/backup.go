package config

import (
	"cmp"
	"io"
)

// Backup holds the settings of the command that takes a backup of a running server.
type Backup struct {
	File string `arg:"" optional:"" name:"file"`
	Server
}

// Restore holds the settings of the command that makes a log from a backup. The flags are those of the server.
type Restore struct {
	Source    string `arg:"" optional:"" name:"backup"`
	Data      string `name:"data" default:"freshet-data" placeholder:"FOLDER" group:"As on the server:" help:"Folder for the embedded log. It may have other files, but no log."`
	NATS      Secret `name:"nats" placeholder:"URL[,URL]" group:"As on the server:" help:"External NATS servers, version 2.15 or later, that get the log instead of the folder."`
	NATSCreds string `name:"nats-creds" placeholder:"FILE" group:"As on the server:" help:"NATS credentials file."`
	Replicas  int    `name:"replicas" default:"1" placeholder:"N" group:"As on the server:" help:"Number of copies of the log in the NATS cluster: 1 to 5."`
}

// Move holds the settings of the command that moves a log to NATS. The flags are those of the server.
type Move struct {
	Folder    string `arg:"" optional:"" name:"folder"`
	NATS      Secret `name:"nats" placeholder:"URL[,URL]" group:"As on the server:" help:"External NATS servers, version 2.15 or later, that get the log."`
	NATSCreds string `name:"nats-creds" placeholder:"FILE" group:"As on the server:" help:"NATS credentials file."`
	Replicas  int    `name:"replicas" default:"1" placeholder:"N" group:"As on the server:" help:"Number of copies of the log in the NATS cluster: 1 to 5."`
}

const backupOpening = `Usage: freshet backup FILE [flags]

Writes a backup of a running server's events to the file, and checks it. Publishing
and reading continue meanwhile. The file is there only if the backup is whole. An
older file with this name is replaced.

Example:
  freshet backup freshet-$(date +%F).zip

Exit codes: 0 if the backup is whole, 1 for an error, 2 for wrong usage, 130 if
interrupted.
` + variablesHelp

const restoreOpening = `Usage: freshet restore BACKUP [flags]

Makes a log from a backup, in a folder or in NATS, for a server that starts later.
BACKUP is a file of freshet backup, or a copy of a data folder. The log gets a new
epoch, because events after the backup are missing: readers that resume get a gap.
After an error nothing is left behind.

Examples:
  freshet restore freshet-2026-01-31.zip --data freshet-data
  freshet restore freshet-2026-01-31.zip --nats nats1:4222,nats2:4222 --replicas 3

The variables FRESHET_DATA, FRESHET_NATS, FRESHET_NATS_CREDS and FRESHET_REPLICAS,
which the server reads too, stand for the flags.

Exit codes: 0 if the log is restored, 1 for an error, 2 for wrong usage, 130 if
interrupted.
`

const moveOpening = `Usage: freshet move FOLDER --nats URL [flags]

Moves the log of a stopped server from its data folder to NATS. All IDs and tickets
stay: readers resume without a gap. The folder keeps its files, but no server opens
its log again. After an error nothing has changed.

Example:
  freshet move freshet-data --nats nats1:4222,nats2:4222,nats3:4222 --replicas 3

The variables FRESHET_NATS, FRESHET_NATS_CREDS and FRESHET_REPLICAS, which the
server reads too, stand for the flags.

Exit codes: 0 if the log has moved, 1 for an error, 2 for wrong usage, 130 if
interrupted.
`

// ParseBackup is [Parse] for the command that takes a backup.
func ParseBackup(args, environ []string, stdout io.Writer) (b Backup, err error) {
	err = parse("freshet backup", backupOpening, &b, args, environ, stdout)
	return b, err
}

// ParseRestore is [Parse] for the command that makes a log from a backup.
func ParseRestore(args, environ []string, stdout io.Writer) (r Restore, err error) {
	err = parse("freshet restore", restoreOpening, &r, args, environ, stdout)
	return r, err
}

// ParseMove is [Parse] for the command that moves a log to NATS.
func ParseMove(args, environ []string, stdout io.Writer) (m Move, err error) {
	err = parse("freshet move", moveOpening, &m, args, environ, stdout)
	return m, err
}

func (b *Backup) validate() error {
	return cmp.Or(refuse(b.File == "", "no file: want freshet backup FILE"), b.Server.validate())
}

func (r *Restore) validate() (err error) {
	if r.NATS, err = parseNATS(r.NATS); err != nil {
		return err
	}
	return cmp.Or(
		refuse(r.Source == "", "no backup: want freshet restore BACKUP"),
		refuse(r.NATSCreds != "" && r.NATS == "", "--nats-creds: only allowed together with --nats"),
		refuse(r.Replicas > 1 && r.NATS == "", "--replicas: more than 1 is only allowed together with --nats: the embedded log is a single copy"),
		checkReplicas(r.Replicas),
	)
}

func (m *Move) validate() (err error) {
	if m.NATS, err = parseNATS(m.NATS); err != nil {
		return err
	}
	return cmp.Or(
		refuse(m.Folder == "", "no folder: want freshet move FOLDER --nats URL"),
		refuse(m.NATS == "", "no NATS: want freshet move FOLDER --nats URL; to move a folder to another machine, copy it while the server is stopped"),
		checkReplicas(m.Replicas),
	)
}

func checkReplicas(n int) error {
	return refuse(n < 1 || n > 5, "--replicas: %d is not allowed: want 1 to 5", n)
}
