package config

import (
	"cmp"
	"io"
	"time"

	"freshet/auth"
	"freshet/event"
)

// Token holds the settings of the command that signs a JSON web token. The tags are the flags, their defaults and their help.
type Token struct {
	Publish   event.Patterns `name:"publish" placeholder:"PATTERN" group:"The token:" help:"Pattern of topics that the token may publish to. Repeatable."`
	Subscribe event.Patterns `name:"subscribe" placeholder:"PATTERN" group:"The token:" help:"Pattern of topics that the token may read, in addition to the topics that anyone may read. Repeatable."`
	Operator  bool           `name:"operator" group:"The token:" help:"Allow the token to see and end connections, and to revoke every ticket (claim freshet.operator)."`
	Subject   string         `name:"subject" placeholder:"NAME" group:"The token:" help:"Name of the user or program that gets the token (claim sub)."`
	Expires   time.Duration  `name:"expires" default:"1h" placeholder:"DURATION" group:"The token:" help:"Time until the token expires, at least 1s."`

	JWTSecret   Secret `name:"jwt-secret" placeholder:"SECRET" group:"As on the server:" help:"Secret to sign with: at least 32 bytes. Prefer the variable."`
	JWTAudience string `name:"jwt-audience" placeholder:"AUDIENCE" group:"As on the server:" help:"Audience of the token (claim aud)."`
	JWTIssuer   string `name:"jwt-issuer" placeholder:"ISSUER" group:"As on the server:" help:"Issuer of the token (claim iss)."`
}

// tokenOpening is the first part of the help of the command token.
const tokenOpening = `Usage: freshet token [flags]

Signs a JSON web token with HS256 and prints it. It is for trying things out: in
production, your login service signs tokens.

Example:
  export FRESHET_JWT_SECRET=$(openssl rand -base64 32)
  freshet &
  TOKEN=$(freshet token --publish 'orders.*' --subscribe '>' --expires 7d)
  curl -H "Authorization: Bearer $TOKEN" -d paid localhost:8080/event/orders.eu

The server and this command read FRESHET_JWT_SECRET, FRESHET_JWT_AUDIENCE and
FRESHET_JWT_ISSUER: with the same variables, the server accepts the token.
`

// ParseToken is [Parse] for the command that signs a JSON web token.
func ParseToken(args, environ []string, stdout io.Writer) (Token, error) {
	var t Token
	if err := parse("freshet token", tokenOpening, &t, args, environ, stdout); err != nil {
		return Token{}, err
	}
	return t, nil
}

func (t *Token) validate() error {
	return cmp.Or(
		refuse(t.JWTSecret == "", "the token needs a secret: set FRESHET_JWT_SECRET to that of the server; openssl rand -base64 32 prints a new one"),
		check("--jwt-secret", string(t.JWTSecret), auth.CheckSecret),
		refuse(len(t.Publish) == 0 && len(t.Subscribe) == 0 && !t.Operator,
			"the token would allow nothing: want --publish, --subscribe or --operator, such as freshet token --publish 'orders.*' --subscribe '>'"),
		refuse(t.Expires < time.Second, "--expires: %v is too short: want at least 1s", t.Expires),
	)
}
