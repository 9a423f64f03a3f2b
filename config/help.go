package config

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// opening is the first part of the server's help.
var opening = `Usage: freshet [flags]
       freshet COMMAND [flags]

Freshet is an event server for browsers. Publish with one HTTP POST, and every
page with new EventSource('/event') gets the event.

` + commandList() + `
Examples:
  # With your own publish token. Events are kept for a week:
  export FRESHET_PUBLISH_TOKEN=$(openssl rand -hex 32)
  freshet --retain-age 7d

  # One of several nodes that keep the log on a NATS cluster, with TLS:
  freshet --listen :443 --tls-cert tls.crt --tls-key tls.key \
    --nats nats1:4222,nats2:4222,nats3:4222 --replicas 3

Each flag has a variable: FRESHET_RETAIN_AGE stands for --retain-age. A flag
overrides its variable. An empty variable counts as not set, except
FRESHET_ANONYMOUS. Commas separate the values of a flag that is repeatable.
Durations look like 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h, and sizes like
500KB, 64MiB or 1GiB.
`

// closing is the last part of the help of all commands.
const closing = `
Help:
  -h, --help
      Print this help and exit.
  --version
      Print the version, the commit and the platform, and exit.
`

// width is the number of columns of the help.
const width = 80

// printHelp writes the help of a command: its opening, then its flags in their groups.
func printHelp(out io.Writer, opening string, flags []*kong.Flag) {
	text, group := opening, ""
	for _, flag := range flags {
		if flag.Group.Title != group {
			group = flag.Group.Title
			text += "\n" + group + "\n"
		}
		text += "  --" + flag.Name
		if !flag.IsBool() {
			text += " " + flag.PlaceHolder
		}
		if flag.Default != "" {
			text += "  (default " + flag.Default + ")"
		}
		text += "\n" + wrapped(flag.Help, "      ")
	}
	fmt.Fprint(out, text+closing)
}

// wrapped returns the text in lines of at most width columns.
func wrapped(text, indent string) string {
	var lines strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > width && line != indent {
			lines.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	lines.WriteString(strings.TrimRight(line, " ") + "\n")
	return lines.String()
}
