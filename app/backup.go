package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"freshet/client"
	"freshet/config"
	"freshet/eventlog"
)

// backup writes a backup of a running server to a file.
func backup(args, environ []string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseBackup(args, environ, stdout)
	if err != nil {
		return usage(err)
	}
	server, err := newRemote(cfg.Server)
	if err != nil {
		return err
	}
	c, err := server.client(client.Config{})
	if err != nil {
		return err
	}
	return interruptible(func(ctx context.Context) error {
		began := time.Now()
		summary, size, err := download(ctx, c, cfg.File)
		if err != nil {
			return server.explainBackup(err)
		}
		fmt.Fprintf(stderr, "freshet: backup of %d events up to %v, %s in %.1f s\n", summary.Events, summary.Last, sizeText(size), time.Since(began).Seconds())
		return nil
	})
}

// interruptible runs the command with a context that ends with SIGINT or SIGTERM.
func interruptible(command func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx)
	if err != nil && ctx.Err() != nil {
		return &failure{code: exitInterrupted}
	}
	return err
}

// download writes a backup to the path. The file has this name only when it is whole and on disk.
func download(ctx context.Context, c *client.Client, path string) (_ eventlog.Summary, size int64, err error) {
	part, err := os.OpenFile(path+".part", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return eventlog.Summary{}, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, part.Close(), os.Remove(part.Name()))
		}
	}()
	if size, err = c.Backup(ctx, part); err != nil {
		return eventlog.Summary{}, size, err
	}
	summary, err := eventlog.CheckBackup(part, size)
	if err == nil {
		err = part.Sync()
	}
	if err != nil {
		return eventlog.Summary{}, size, err
	}
	if err = errors.Join(part.Close(), os.Rename(part.Name(), path)); err != nil {
		return eventlog.Summary{}, size, err
	}
	return summary, size, syncFolder(filepath.Dir(path))
}

// syncFolder writes the names of the folder's files to disk, where the system can.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = folder.Sync() // Windows cannot
	return folder.Close()
}

// explainBackup is explain, except for errors of the file.
func (r *remote) explainBackup(err error) error {
	_, ofFile := errors.AsType[*os.PathError](err)
	if network, ok := errors.AsType[*net.OpError](err); ok && network.Op != "dial" {
		return fmt.Errorf("%w; try again", err)
	}
	if ofFile || errors.Is(err, eventlog.ErrBackup) {
		return err
	}
	return r.explain(err)
}

// restore makes a log from a backup.
func restore(args, environ []string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseRestore(args, environ, stdout)
	if err != nil {
		return usage(err)
	}
	return interruptible(func(ctx context.Context) error {
		if _, err := os.Stat(cfg.Source); err != nil {
			return err
		}
		to := eventlog.Config{Dir: cfg.Data, NATS: string(cfg.NATS), Creds: cfg.NATSCreds, Replicas: cfg.Replicas}
		backup, restored, err := restoreFrom(ctx, to, cfg.Source)
		if err != nil {
			return explainLog(err, cfg.NATS != "", cfg.Replicas)
		}
		where := cfg.Data
		if cfg.NATS != "" {
			where = "NATS"
		}
		fmt.Fprintf(stderr, "freshet: restored %d events up to %v to %s; the log has a new epoch, so readers that resume get a gap\n", restored.Events, backup.Last, where)
		if missing := backup.Events - min(backup.Events, restored.Events); missing > 0 {
			fmt.Fprintf(stderr, "freshet: %d events of the backup exceed the log's limits of age, size or topic, or their TTL, and are deleted\n", missing)
		}
		return nil
	})
}

// restoreFrom restores a backup, or a copy of a data folder.
func restoreFrom(ctx context.Context, to eventlog.Config, path string) (backup eventlog.Summary, restored eventlog.State, err error) {
	file, err := os.Open(path)
	if err != nil {
		return backup, restored, err
	}
	defer func() { _ = file.Close() }() // only read from
	info, err := file.Stat()
	switch {
	case err != nil:
		return backup, restored, err
	case info.IsDir():
		return eventlog.RestoreFolder(ctx, to, path)
	}
	backup, restored, err = eventlog.Restore(ctx, to, file, info.Size())
	if errors.Is(err, eventlog.ErrBackup) {
		err = fmt.Errorf("%s is %w", path, err)
	}
	return backup, restored, err
}

// move moves the log of a data folder to NATS.
func move(args, environ []string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseMove(args, environ, stdout)
	if err != nil {
		return usage(err)
	}
	return interruptible(func(ctx context.Context) error {
		logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})) // a log that has lost events
		moved, err := eventlog.Move(ctx, eventlog.Config{Dir: cfg.Folder, NATS: string(cfg.NATS), Creds: cfg.NATSCreds, Replicas: cfg.Replicas, Logger: logger})
		if errors.Is(err, eventlog.ErrInUse) {
			return fmt.Errorf("%w; stop the server first", err)
		}
		if err != nil {
			return explainLog(err, true, cfg.Replicas)
		}
		fmt.Fprintf(stderr, "freshet: moved %d events up to %d; start the nodes with --nats\n", moved.Events, moved.Last)
		return nil
	})
}

// sizeText is the size in MiB, or in bytes if it is small.
func sizeText(size int64) string {
	if size < 1<<20 {
		return fmt.Sprintf("%d bytes", size)
	}
	return fmt.Sprintf("%.1f MiB", float64(size)/(1<<20))
}
