package config

import (
	"cmp"
	"io"
	"net/url"
	"time"

	"freshet/event"
)

// Server holds how a command reaches a running server.
type Server struct {
	URL       string `name:"url" default:"http://localhost:8080" placeholder:"URL" group:"The server:" help:"URL of the server, such as https://events.example.org."`
	Token     Secret `name:"token" placeholder:"TOKEN" group:"The server:" help:"Publish token or JSON web token. Prefer the variable or a file, because other users of the machine can see flags."`
	TokenFile string `name:"token-file" placeholder:"FILE" group:"The server:" help:"File with the token, which is read again when the token expires. Without a token, and if the server is on this machine, freshet-data/publish-token is read if it is there."`
}

// Publish holds the settings of the command that publishes lines.
type Publish struct {
	Topic string        `arg:"" optional:"" name:"topic"`
	Type  string        `name:"type" placeholder:"TYPE" group:"The events:" help:"Type of the events. Without it, the type is the topic's name."`
	TTL   time.Duration `name:"ttl" default:"0" placeholder:"DURATION" group:"The events:" help:"How long the server keeps the events, such as 30s or 1h. 0 keeps them as long as its flags say."`
	JSON  bool          `name:"json" group:"The events:" help:"Each line is an event: {\"topic\",\"type\",\"data\",\"ttl\"}. TOPIC, --type and --ttl are for lines without their own."`
	Server
}

// Tail holds the settings of the command that prints events.
type Tail struct {
	Patterns  []event.Pattern `arg:"" optional:"" name:"pattern"`
	Since     string          `name:"since" placeholder:"WHEN" group:"The events:" help:"Where to begin: all, last (the newest event of each topic), a count such as -20, a duration such as 10m, an RFC 3339 time or an event ID. Without it: with what is published from now on."`
	ExitAfter int             `name:"exit-after" default:"0" placeholder:"N" group:"The events:" help:"Exit after this number of events. 0 goes on."`
	Server
}

// Doctor holds the settings of the command that examines a stream.
type Doctor struct {
	Target string        `arg:"" optional:"" name:"url"`
	Origin string        `name:"origin" placeholder:"ORIGIN" group:"The checks:" help:"Origin of a page that reads the stream: scheme://host[:port]. Checks that its browser may (CORS)."`
	For    time.Duration `name:"for" default:"20s" placeholder:"DURATION" group:"The checks:" help:"Time to watch streams, from 5s to 1h. 130s also finds the longer default time-outs of proxies."`
	JSON   bool          `name:"json" group:"The checks:" help:"Print one JSON object, when all checks are done."`
	Server
}

// variablesHelp is the part of the help that the commands share.
const variablesHelp = `
The variables FRESHET_URL, FRESHET_TOKEN and FRESHET_TOKEN_FILE stand for --url,
--token and --token-file.
`

// publishOpening and tailOpening are the first parts of the help.
const publishOpening = `Usage: freshet publish TOPIC [flags]
       freshet publish [TOPIC] --json [flags]

Publishes each line of standard input as an event. Empty lines are skipped.

Examples:
  tail -f access.log | freshet publish access
  jq -c '{topic: "orders.eu", data: .}' orders.json | freshet publish --json

Exit codes: 0 if all lines are stored, 1 if some are not, 2 for wrong usage,
130 if interrupted.
` + variablesHelp

const tailOpening = `Usage: freshet tail [PATTERN...] [flags]

Prints events: in colour on a terminal, and as NDJSON in a pipe. It reconnects
and resumes by itself. Without a pattern, it prints all events that you may read.

Examples:
  freshet tail 'orders.*' --since 10m
  freshet tail --since all | jq -r .data

Exit codes: 0 after --exit-after events, when all topics have ended, or when the
pipe is closed; 1 for an error, 2 for wrong usage, 130 if interrupted.
` + variablesHelp

const doctorOpening = `Usage: freshet doctor [URL] [flags]

Finds what breaks event streams between a server and its readers: names, TLS,
headers, proxies that hold events back or end streams, CORS, resuming. It names
the setting to change. URL is a Freshet server or any event stream; without it,
--url counts. HTTP_PROXY is not used.

Examples:
  freshet doctor https://events.example.org --origin https://app.example.org
  freshet doctor https://events.example.org --for 130s --json

Exit codes: 0 if no check fails, 1 if one does, 2 for wrong usage, 130 if
interrupted.
` + variablesHelp

// ParseDoctor is [Parse] for the command that examines a stream. Target is the URL to examine, also if it comes from --url.
func ParseDoctor(args, environ []string, stdout io.Writer) (d Doctor, err error) {
	err = parse("freshet doctor", doctorOpening, &d, args, environ, stdout)
	d.Target = cmp.Or(d.Target, d.URL)
	d.URL = d.Target // whose token it is
	return d, err
}

// ParsePublish is [Parse] for the command that publishes lines.
func ParsePublish(args, environ []string, stdout io.Writer) (p Publish, err error) {
	err = parse("freshet publish", publishOpening, &p, args, environ, stdout)
	return p, err
}

// ParseTail is [Parse] for the command that prints events.
func ParseTail(args, environ []string, stdout io.Writer) (t Tail, err error) {
	err = parse("freshet tail", tailOpening, &t, args, environ, stdout)
	return t, err
}

func (s *Server) validate() error {
	u, err := url.Parse(s.URL)
	return cmp.Or(
		refuse(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil,
			"--url: %q is not allowed: want a URL such as http://localhost:8080 or https://events.example.org", s.URL),
		refuse(s.Token != "" && s.TokenFile != "", "--token: not allowed together with --token-file: want one of them"),
	)
}

func (p *Publish) validate() error {
	_, errTopic := event.ParseTopic(p.Topic)
	_, errType := event.ParseType(p.Type)
	_, errTTL := event.NewTTL(p.TTL)
	return cmp.Or(
		refuse(p.Topic == "" && !p.JSON, "no topic: want freshet publish TOPIC, or --json for lines that name their topic"),
		refuse(p.Topic != "" && errTopic != nil, "%q is not allowed: want a topic such as news or orders.eu, not a pattern or a built-in one", p.Topic),
		refuse(p.Type != "" && errType != nil, "--type: %q is not allowed: want printable text of at most 200 bytes, not a built-in type such as gap", p.Type),
		refuse(p.TTL != 0 && errTTL != nil, "--ttl: %v is not allowed: want a duration from 1s to 3650d", p.TTL),
		p.Server.validate(),
	)
}

func (t *Tail) validate() error {
	_, err := event.ParseSince(t.Since, time.Now())
	return cmp.Or(
		refuse(t.Since != "" && err != nil, "--since: %q is not allowed: want all, last, a count such as -20, a duration such as 10m, an RFC 3339 time or an event ID", t.Since),
		t.Server.validate(),
	)
}

func (d *Doctor) validate() error {
	target, errTarget := url.Parse(d.Target)
	origin, errOrigin := url.Parse(d.Origin)
	return cmp.Or(
		refuse(d.Target != "" && (errTarget != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" || target.User != nil),
			"the URL is not allowed: want one such as https://events.example.org or https://events.example.org/event"),
		refuse(d.Origin != "" && (errOrigin != nil || origin.Scheme == "" || origin.Host == "" || origin.Scheme+"://"+origin.Host != d.Origin),
			"--origin: %q is not allowed: want scheme://host[:port] without a path, such as https://app.example.org", d.Origin),
		refuse(d.For < 5*time.Second || d.For > time.Hour, "--for: %v is not allowed: want 5s to 1h", d.For),
		d.Server.validate(),
	)
}
