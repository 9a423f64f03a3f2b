// Package config turns flags and FRESHET_* environment variables into one Config.
//
// A Config from Parse is valid as a whole, so its users check nothing again. No number is negative. 0 turns an interval or a limit off
// where that makes sense. A flag overrides its variable, and a variable overrides the default. An empty variable counts as not set, except
// FRESHET_ANONYMOUS: empty could mean that anyone may read, or that nobody may, so it is an error. So is an unknown variable, and an
// empty value of a flag. Each error is one line that names the flag or variable and says what is allowed. Parse does not read or
// change anything of the process.
package config

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"freshet/auth"
	"freshet/event"

	"go.opentelemetry.io/otel/trace"
)

// Retry is a range of reconnection times: 1ms <= Min <= Max. Its text is `1s-3s`, or `2s` for both.
type Retry struct {
	Min, Max time.Duration
}

// Sync is the interval at which the embedded log is synced to disk, at least 1s. 0, with the text `always`: before a publish is answered.
type Sync time.Duration

// Relay is a topic, and the URL of the event stream whose events go into it. Its text is topic=URL.
type Relay struct {
	Topic event.Topic
	URL   string
}

// Retention is how long the events of the topics are kept that the pattern selects; a zero TTL sets no limit. Its text is PATTERN=DURATION.
type Retention struct {
	Pattern event.Pattern
	TTL     event.TTL
}

// ListenSystemd as an address of Config.Listen stands for the sockets that systemd passes to the process (socket activation).
const ListenSystemd = "systemd"

// Config holds all settings. The tags are the flags, their defaults and their help.
type Config struct {
	Listen         []string       `name:"listen" default:":8080" placeholder:"ADDRESS" group:"Serving:" help:"Address to serve on: host:port or :port. Repeatable. The word systemd stands for the sockets of a systemd socket unit."`
	Hosts          []string       `name:"host" placeholder:"NAME" group:"Serving:" help:"Host name that clients use for this server, such as events.example.org. Behind a proxy, it is the proxy's name. *.example.org stands for its subdomains, * for all names. Repeatable. Without TLS, requests for other names get 421, except for localhost, names without a dot, IP addresses and this machine's name."`
	TrustedProxies []netip.Prefix `name:"trusted-proxy" placeholder:"ADDRESS" group:"Serving:" help:"Proxy whose X-Forwarded-For is trusted to name the client: an IP address, or a range such as 10.0.0.0/8 that holds only proxies. Repeatable. Without it, the client address is that of the connection."`
	Node           string         `name:"node" placeholder:"NAME" group:"Serving:" help:"Name of this server in stats, on the dashboard and in the list of nodes, unlike that of each other node: up to 64 letters, digits, dashes and underscores. Without it, it is the machine's name and a random ending, which changes at each start."`
	Drain          time.Duration  `name:"drain" default:"10s" placeholder:"DURATION" group:"Serving:" help:"Time over which a stopping server (SIGTERM) closes its streams, a few at a time. 0 closes all at once."`
	MetricsListen  string         `name:"metrics-listen" placeholder:"ADDRESS" group:"Serving:" help:"Address for GET /metrics, without TLS and without credentials: keep it private. Without this flag, GET /metrics is on the addresses of --listen, for operators."`

	TLSCert       string   `name:"tls-cert" placeholder:"FILE" group:"TLS:" help:"PEM file with the certificate, followed by its chain. All addresses then use TLS, with HTTP/2. A changed file takes effect without a restart."`
	TLSKey        string   `name:"tls-key" placeholder:"FILE" group:"TLS:" help:"PEM file with the certificate's private key."`
	ACMEDomains   []string `name:"acme-domain" placeholder:"DOMAIN" group:"TLS:" help:"Domain to get a certificate for by ACME, from Let's Encrypt unless --acme-directory is set. You agree to the authority's terms of service. Port 443 of the domain must reach this server. Repeatable."`
	ACMEDirectory string   `name:"acme-directory" placeholder:"URL" group:"TLS:" help:"Directory URL of another ACME authority, such as a private one or one for tests."`

	Data           string        `name:"data" default:"freshet-data" placeholder:"FOLDER" group:"Log:" help:"Folder for the embedded log, the publish token and ACME certificates."`
	RetainAge      time.Duration `name:"retain-age" default:"24h" placeholder:"DURATION" group:"Log:" help:"Age at which events are deleted, such as 90m, 7d or 2w. 0 keeps events of any age."`
	RetainBytes    Bytes         `name:"retain-bytes" default:"1GiB" placeholder:"BYTES" group:"Log:" help:"Size of the log above which the oldest events are deleted. 0 sets no limit."`
	RetainPerTopic int           `name:"retain-per-topic" default:"0" placeholder:"N" group:"Log:" help:"Number of events to keep per topic. Older ones are deleted, and readers get no gap for them. 0 keeps all."`
	Retain         []Retention   `name:"retain" placeholder:"PATTERN=DURATION" group:"Log:" help:"How long events of some topics are kept, such as answers.>=1h: at most --retain-age. Readers get no gap for events that are deleted in the middle of the log. Repeatable; the first pattern that selects a topic counts. 0 sets no limit beside --retain-age."`
	Sync           Sync          `name:"sync" default:"always" placeholder:"WHEN" group:"Log:" help:"When the embedded log is synced to disk: always (before a publish is answered), or at an interval of at least 1s. A power cut can lose the events of the last interval."`
	NATS           Secret        `name:"nats" placeholder:"URL[,URL]" group:"Log:" help:"External NATS servers that keep the log, instead of the embedded one. Each is host[:port], or a URL with the scheme nats, tls, ws or wss."`
	NATSCreds      string        `name:"nats-creds" placeholder:"FILE" group:"Log:" help:"NATS credentials file, as nsc writes it."`
	NATSWait       time.Duration `name:"nats-wait" default:"30s" placeholder:"DURATION" group:"Log:" help:"Maximum time that the start waits for NATS to accept the credentials, and for its cluster to have a leader. 0 does not wait."`
	Replicas       int           `name:"replicas" default:"1" placeholder:"N" group:"Log:" help:"Number of copies of the log in the NATS cluster: 1 to 5."`
	UpdateStream   bool          `name:"update-stream" group:"Log:" help:"Change the stream of the NATS servers to the settings of this node, for all nodes. Without it, a stream with other settings is an error. Lower limits delete events at once."`

	Relays    []Relay `name:"relay" sep:"none" placeholder:"TOPIC=URL" group:"Relays:" help:"Event stream of another server to follow: its events go into the topic. Repeatable; the variable holds one. One node of a cluster follows it."`
	RelayFile string  `name:"relay-file" placeholder:"FILE" group:"Relays:" help:"JSON file with more relays: a list of objects with topic, url, headers and silence. Headers can contain environment variables."`

	CounterInterval time.Duration `name:"counter-interval" default:"1s" placeholder:"DURATION" group:"Streams:" help:"Interval at which the topic counter counts. 0 turns it off."`
	Heartbeat       time.Duration `name:"heartbeat" default:"15s" placeholder:"DURATION" group:"Streams:" help:"Time without an event ID after which a stream sends a heartbeat. 0 turns heartbeats off."`
	Retry           Retry         `name:"retry" default:"1s-3s" placeholder:"MIN-MAX" group:"Streams:" help:"Range of reconnection times, from which each connection gets a random one. A single duration is the same for all."`
	WindowBytes     Bytes         `name:"window-bytes" default:"64MiB" placeholder:"BYTES" group:"Streams:" help:"Memory for the newest events. Streams that need older ones read the log."`
	Coalesce        time.Duration `name:"coalesce" default:"30ms" placeholder:"DURATION" group:"Streams:" help:"Time for which joined lines of a publisher are gathered into one event, of about 4 KiB at most. 0 makes an event of each line."`
	Park            string        `name:"park" default:"on" placeholder:"WHEN" group:"Streams:" help:"Whether streams that have caught up release their goroutine, on Linux over plain HTTP/1.1: on or off."`

	CloudEvents bool `name:"cloudevents" group:"Publishing:" help:"Take CloudEvents 1.0 in POST /event/{topic}: their type and data become those of the event, and their source and id the key against repetitions. Without it, the body is the data, whatever it is."`

	MaxConnections           int   `name:"max-connections" default:"100000" placeholder:"N" group:"Limits:" help:"Maximum number of open event streams. A stream counts once for each 64 segments of its topics. 0 sets no limit."`
	MaxConnectionsPerAddress int   `name:"max-connections-per-address" default:"10000" placeholder:"N" group:"Limits:" help:"Maximum number of open event streams of one client, counted in the same way. A client is an IPv4 address or a /64 of IPv6. 0 sets no limit."`
	MaxTopics                int   `name:"max-topics" default:"100" placeholder:"N" group:"Limits:" help:"Maximum number of topics that one stream may name. 0 sets no limit."`
	MaxReplays               int   `name:"max-replays" default:"64" placeholder:"N" group:"Limits:" help:"Maximum number of streams that read older events from the log at the same time. Others wait."`
	MaxBody                  Bytes `name:"max-body" default:"1MiB" placeholder:"BYTES" group:"Limits:" help:"Maximum size of the body of a publish request, up to 31MiB."`
	PublishRate              int   `name:"publish-rate" default:"0" placeholder:"N" group:"Limits:" help:"Events per second that one publisher may publish, with bursts of ten seconds' worth. A publisher is the subject of a JSON web token, or else a client address. 0 sets no limit."`

	PublishToken Secret         `name:"publish-token" placeholder:"TOKEN" group:"Access:" help:"Bearer token that may do everything: at least 16 printable ASCII characters, without spaces. Without it, and without keys for JSON web tokens, the first start creates a random one in the data folder. Prefer the variable, because other users of the machine can see flags."`
	JWTSecret    Secret         `name:"jwt-secret" placeholder:"SECRET" group:"Access:" help:"Secret for JSON web tokens that are signed with HS256: at least 32 bytes. The claim freshet of a token says what it may publish and read. Prefer the variable."`
	JWKSURL      string         `name:"jwks-url" placeholder:"URL" group:"Access:" help:"URL of the key set for JSON web tokens that are signed with RS256, ES256 or EdDSA: http:// or https://."`
	JWTAudience  string         `name:"jwt-audience" placeholder:"AUDIENCE" group:"Access:" help:"Value that the claim aud of JSON web tokens must contain."`
	JWTIssuer    string         `name:"jwt-issuer" placeholder:"ISSUER" group:"Access:" help:"Value that the claim iss of JSON web tokens must have."`
	Anonymous    event.Patterns `name:"anonymous" default:">" placeholder:"PATTERN" group:"Access:" help:"Pattern of topics that anyone may read without a token: * stands for one segment, a final > for one or more. Repeatable. Write none if reading needs a token."`
	CORSOrigins  []string       `name:"cors-origin" default:"*" placeholder:"ORIGIN" group:"Access:" help:"Origin whose pages may read and publish: scheme://host[:port]. With *, the pages of all origins may read. Repeatable."`

	Log      string     `name:"log" default:"text" placeholder:"FORMAT" group:"Logging:" help:"Format of the server's own log on standard error: text or json."`
	LogLevel slog.Level `name:"log-level" default:"info" placeholder:"LEVEL" group:"Logging:" help:"Lowest level to log: debug, info, warn or error."`

	// Authenticate says who sends a request, and what the sender may do, in a server that is part of another program: see
	// [auth.Keys.Recognize]. It is asked about each request without a token of this server. Anonymous is then of no effect, and no publish
	// token is created. It must be safe for concurrent use.
	Authenticate func(*http.Request) (auth.Grant, error) `kong:"-" json:"-"`

	// TracerProvider makes the spans of a server that is part of another program. nil: the program's global one, if it has set one. It has no
	// flag: the environment variables of OpenTelemetry are for the server as a program.
	TracerProvider trace.TracerProvider `kong:"-"`
}
