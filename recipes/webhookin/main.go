// Webhookin publishes the deliveries of GitHub's webhooks.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"freshet/app"
	"freshet/config"
	"freshet/event"

	"github.com/gin-gonic/gin"
)

// receive publishes a delivery to the topic, if the signature is that of the secret.
func receive(live *app.App, topic string, secret []byte) gin.HandlerFunc {
	return func(c *gin.Context) {
		body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, 1<<20))
		if err != nil {
			c.String(http.StatusBadRequest, "The body is incomplete, or larger than 1 MiB.")
			return
		}
		signature, err := hex.DecodeString(strings.TrimPrefix(c.GetHeader("X-Hub-Signature-256"), "sha256="))
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
			c.String(http.StatusUnauthorized, "The signature is not valid. Compare the secrets.")
			return
		}
		_, err = live.PublishMessage(c.Request.Context(), app.Message{
			Topic: topic,
			Type:  c.GetHeader("X-GitHub-Event"),
			Data:  body,
			Key:   c.GetHeader("X-GitHub-Delivery"), // a repeated delivery is stored once
		})
		if invalid, ok := errors.AsType[*event.InvalidError](err); ok {
			c.String(http.StatusBadRequest, invalid.Error())
			return
		}
		if err != nil {
			c.String(http.StatusServiceUnavailable, "The event is perhaps not stored. Deliver it again.")
			return
		}
		c.Status(http.StatusNoContent)
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv("ADDRESS"), os.Getenv("WEBHOOK_SECRET"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "webhookin:", err)
		os.Exit(1)
	}
}

// run serves Freshet, and the webhook at /github, until ctx is done.
func run(ctx context.Context, address, secret string) error {
	if secret == "" {
		return errors.New("WEBHOOK_SECRET is empty; set it to the secret of the webhook")
	}
	if address == "" {
		return errors.New("ADDRESS is empty; set it to the address of the program, such as :8080")
	}
	cfg := config.Default()
	cfg.Hosts = []string{"*"} // a proxy in front checks the name
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}
	router := gin.New()
	router.POST("/github", receive(live, "github", []byte(secret)))
	router.NoRoute(gin.WrapH(live))
	server := app.NewServer(router, slog.Default())
	server.Addr = address
	return live.Run(ctx, server)
}
