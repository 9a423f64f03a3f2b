// Postgres publishes the rows of a table of PostgreSQL, and deletes them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"freshet/client"

	"github.com/jackc/pgx/v5"
)

// publish publishes the rows of the table outbox, until ctx is done. A notification only wakes it up: the table has the events.
func publish(ctx context.Context, db *pgx.Conn, c *client.Client) error {
	if _, err := db.Exec(ctx, "LISTEN outbox"); err != nil {
		return err
	}
	for {
		for rows := -1; rows != 0; {
			err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) (err error) {
				rows, err = publishSome(ctx, tx, c)
				return err
			})
			if err != nil {
				return err
			}
		}
		if _, err := db.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

// publishSome publishes the oldest rows, and deletes them. Another process with the same transaction waits for the end of this one.
func publishSome(ctx context.Context, tx pgx.Tx, c *client.Client) (n int, err error) {
	rows, err := tx.Query(ctx, "SELECT id, topic, data FROM outbox ORDER BY id LIMIT 100 FOR UPDATE")
	if err != nil {
		return 0, err
	}
	type row struct {
		ID          int64
		Topic, Data string
	}
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return 0, err
	}
	for _, e := range events {
		m := client.Message{Topic: e.Topic, Data: e.Data, Key: fmt.Sprintf("outbox-%d", e.ID)}
		if _, err := c.Publish(ctx, m); err != nil { // it has repeated the request where that helps
			return 0, fmt.Errorf("row %d of outbox: %w", e.ID, err)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM outbox WHERE id = $1", e.ID); err != nil {
			return 0, err
		}
	}
	return len(events), nil
}

func run(ctx context.Context) error {
	c, err := client.New(client.Config{URL: os.Getenv("FRESHET_URL"), Token: os.Getenv("FRESHET_TOKEN")})
	if err != nil {
		return fmt.Errorf("FRESHET_URL: %w", err)
	}
	db, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }() // what was published has its transaction
	return publish(ctx, db, c)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
}
