package app

import (
	"fmt"
	"io"
	"strings"
	"time"

	"freshet/auth"
	"freshet/config"
	"freshet/event"
)

// token signs a JSON web token and prints it. A terminal on stderr also gets what the token allows.
func token(args, environ []string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseToken(args, environ, stdout)
	if err != nil {
		return err
	}
	grant := auth.Grant{
		Publish: cfg.Publish, Subscribe: cfg.Subscribe, Operator: cfg.Operator,
		Subject: cfg.Subject, Audience: cfg.JWTAudience, Issuer: cfg.JWTIssuer,
		Expires: time.Now().Add(cfg.Expires + time.Second - 1).Truncate(time.Second), // the next full second
	}
	text, err := auth.Sign(string(cfg.JWTSecret), grant)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, text); err != nil {
		return err
	}
	if isTerminal(stderr) {
		fmt.Fprintln(stderr, explain(grant))
	}
	return nil
}

// explain says what a token with the grant allows, and until when.
func explain(grant auth.Grant) string {
	var allows []string
	list := func(verb string, patterns event.Patterns) {
		var texts []string
		for _, p := range patterns {
			texts = append(texts, p.String())
		}
		if texts != nil {
			allows = append(allows, verb+" "+strings.Join(texts, ", "))
		}
	}
	list("publish to", grant.Publish)
	list("read", grant.Subscribe)
	if grant.Operator {
		allows = append(allows, "see and end connections and revoke every ticket")
	}
	return fmt.Sprintf("This token may %s. It expires at %s.", strings.Join(allows, "; "), grant.Expires.Format(time.RFC3339))
}
