//go:build full && unix

package main // it runs main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"

	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schema string

func TestMain(m *testing.M) {
	apptest.MainIfCommand(main)
	os.Exit(m.Run())
}

// Each committed row is published once, also if the program is killed between publishing and deleting. A notification is enough for a later row.
func TestPostgres(t *testing.T) {
	const rows = 400
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	database := startPostgres(ctx, t)
	db, err := pgx.Connect(ctx, database)
	must(t, err)
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	_, err = db.Exec(ctx, schema)
	must(t, err)
	const insert = "INSERT INTO outbox (topic, data) SELECT 'orders.new', generate_series($1::int, $2::int)::text"
	_, err = db.Exec(ctx, insert, 1, rows)
	must(t, err)
	tx, err := db.Begin(ctx)
	must(t, err)
	_, err = tx.Exec(ctx, insert, -1, -1)
	must(t, err)
	must(t, tx.Rollback(ctx))

	server := apptest.Start(t, t.TempDir(), "")
	var cmd *exec.Cmd
	printed := new(apptest.Buffer)
	end := func() {}
	begin := func() {
		var err error
		cmd, err = apptest.Command(context.WithoutCancel(ctx))
		must(t, err)
		cmd.Stderr = io.MultiWriter(t.Output(), printed)
		cmd.Env = append(cmd.Env, "FRESHET_URL="+server.URL, "FRESHET_TOKEN="+server.Token, "DATABASE_URL="+database)
		must(t, cmd.Start())
		end = func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	begin()
	t.Cleanup(func() { end() })
	c, err := client.New(client.Config{URL: server.URL})
	must(t, err)
	var want, got []string
	for n := range rows + 1 {
		want = append(want, strconv.Itoa(n+1))
	}
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{"orders.new"}, Since: "all"}) {
		if err != nil {
			t.Fatalf("%d events: %v", len(got), err)
		}
		switch got = append(got, e.Data); {
		case len(got) == 150 || len(got) == 350: // in the midst of a transaction
			end()
			begin()
		case len(got) == rows:
			must(t, apptest.Until(ctx, func() bool { return listens(ctx, t, db) }))
			_, err = db.Exec(ctx, insert, rows+1, rows+1)
			must(t, err)
		}
		if len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events are %q", got)
	}
	must(t, apptest.Until(ctx, func() bool {
		var left int
		must(t, db.QueryRow(ctx, "SELECT count(*) FROM outbox").Scan(&left))
		return left == 0
	}))

	_, err = db.Exec(ctx, "INSERT INTO outbox (topic, data) VALUES ('no topic', '')")
	must(t, err)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(printed.String(), "of outbox: ") {
		t.Errorf("a row that Freshet refuses: %v, %q", err, printed)
	}
}

// listens reports whether the table is empty, and the program waits for a notification.
func listens(ctx context.Context, t *testing.T, db *pgx.Conn) bool {
	t.Helper()
	var idle bool
	must(t, db.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS
		(SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid())`).Scan(&idle))
	return idle
}

// startPostgres starts PostgreSQL with an empty database, and returns how to connect to it.
func startPostgres(ctx context.Context, t *testing.T) (database string) {
	t.Helper()
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // Debian has these programs in no PATH
	find := func(name string) string {
		for _, path := range paths {
			if file := filepath.Join(path, name); isFile(file) {
				return file
			}
		}
		file, err := exec.LookPath(name)
		if err != nil {
			apptest.Lacking(t, "FRESHET_REQUIRE_POSTGRES", "no %s: install PostgreSQL, on Debian the package postgresql", name)
		}
		return file
	}
	initdb, postgres := find("initdb"), find("postgres")
	dir, err := os.MkdirTemp("", "freshet") // another user cannot enter a folder in t.TempDir
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	as := userOf(t, dir)
	data := filepath.Join(dir, "data")
	make := exec.CommandContext(ctx, initdb, "-D", data, "-U", "freshet", "--auth", "trust", "--no-sync")
	make.SysProcAttr, make.Dir = as, dir
	if output, err := make.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, output)
	}
	serve := exec.CommandContext(context.WithoutCancel(ctx), postgres, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	serve.SysProcAttr, serve.Dir, serve.Stderr = as, dir, t.Output()
	must(t, serve.Start())
	t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGINT) // ends it with its connections
		_ = serve.Wait()
	})
	database = fmt.Sprintf("host=%s user=freshet dbname=postgres", dir)
	must(t, apptest.Until(ctx, func() bool {
		db, err := pgx.Connect(ctx, database)
		return err == nil && db.Close(ctx) == nil
	}))
	return database
}

// userOf gives the folder to a user that PostgreSQL runs as: it refuses to run as root.
func userOf(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	must(t, err)
	uid, errUser := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGroup := strconv.ParseUint(u.Gid, 10, 32)
	must(t, errors.Join(errUser, errGroup, os.Chown(dir, int(uid), int(gid))))
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
