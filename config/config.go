// Package config turns flags and FRESHET_* environment variables into one Config.
//
// A Config that Parse returns is valid as a whole: no value in it needs a second look, none is negative, and 0 in an interval or
// limit means off wherever that makes sense. A flag beats its variable, a variable beats the default, and a variable set to nothing
// counts as not set. Every refusal is one line that names the flag and says what is allowed. Parse touches nothing of the process.
package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is everything that can be set from outside. The tags are the flags, their defaults and their help.
type Config struct {
	Listen         []string       `name:"listen" default:":8080" placeholder:"ADDRESS" group:"Serving:" help:"Address to serve on, host:port or :port. Repeatable."`
	TrustedProxies []netip.Prefix `name:"trusted-proxy" placeholder:"ADDRESS" group:"Serving:" help:"Proxy whose X-Forwarded-For says who the client is: an IP address, or a range such as 10.0.0.0/8 with nobody in it but proxies. Repeatable. Without it the client is whoever connects."`
	Drain          time.Duration  `name:"drain" default:"10s" placeholder:"DURATION" group:"Serving:" help:"On SIGTERM, time over which open streams are sent away in slices. 0 ends them at once."`

	TLSCert       string   `name:"tls-cert" placeholder:"FILE" group:"TLS:" help:"PEM file of the certificate, with the chain below it. All addresses then speak TLS, HTTP/2 too. Read anew when it changes."`
	TLSKey        string   `name:"tls-key" placeholder:"FILE" group:"TLS:" help:"PEM file of the certificate's private key."`
	ACMEDomains   []string `name:"acme-domain" placeholder:"DOMAIN" group:"TLS:" help:"Domain to get certificates for by ACME, from Let's Encrypt unless told otherwise, whose terms are thereby agreed to. Port 443 of the domain has to lead here. Repeatable."`
	ACMEDirectory string   `name:"acme-directory" placeholder:"URL" group:"TLS:" help:"Directory of another ACME authority: a staging one, or one's own."`

	Data           string        `name:"data" default:"freshet-data" placeholder:"FOLDER" group:"Log:" help:"Folder of the embedded log and of the publish token."`
	RetainAge      time.Duration `name:"retain-age" default:"24h" placeholder:"DURATION" group:"Log:" help:"Events older than this are dropped. 0 keeps them whatever their age."`
	RetainBytes    Bytes         `name:"retain-bytes" default:"1GiB" placeholder:"BYTES" group:"Log:" help:"The oldest events are dropped when the log grows beyond this. 0 sets no bound."`
	RetainPerTopic int           `name:"retain-per-topic" default:"0" placeholder:"N" group:"Log:" help:"Newest events kept of each topic; older ones go without a gap being told. 0 keeps all."`
	Sync           Sync          `name:"sync" default:"always" placeholder:"WHEN" group:"Log:" help:"When the embedded log is synced to disk: always, before a publish is answered, or an interval of at least 1s, whose events a power cut may take."`
	NATS           Secret        `name:"nats" placeholder:"URL[,URL]" group:"Log:" help:"External NATS servers that hold the log, instead of the embedded one."`
	NATSCreds      string        `name:"nats-creds" placeholder:"FILE" group:"Log:" help:"NATS credentials file."`
	Replicas       int           `name:"replicas" default:"1" placeholder:"N" group:"Log:" help:"Copies of the log in the NATS cluster, 1 to 5."`

	CounterInterval time.Duration `name:"counter-interval" default:"1s" placeholder:"DURATION" group:"Stream:" help:"Time between two counts of the topic counter. 0 turns it off."`
	Heartbeat       time.Duration `name:"heartbeat" default:"15s" placeholder:"DURATION" group:"Stream:" help:"Silence after which a stream sends a heartbeat. 0 turns it off."`
	Retry           Retry         `name:"retry" default:"1s-3s" placeholder:"MIN-MAX" group:"Stream:" help:"Reconnection time that browsers are told, drawn from this range for each connection. A single duration fixes it."`
	WindowBytes     Bytes         `name:"window-bytes" default:"64MiB" placeholder:"BYTES" group:"Stream:" help:"Memory for the newest events, from which streams are served without reading the log."`
	Park            string        `name:"park" default:"on" enum:"on,off" placeholder:"WHEN" group:"Stream:" help:"Whether caught-up streams over plain HTTP/1.1 are held without a goroutine each, on Linux: on or off."`

	MaxConnections           int   `name:"max-connections" default:"100000" placeholder:"N" group:"Limits:" help:"Event streams open at once. 0 sets no bound."`
	MaxConnectionsPerAddress int   `name:"max-connections-per-address" default:"10000" placeholder:"N" group:"Limits:" help:"Event streams open at once from one client: an IPv4 address, or a /64 of IPv6. 0 sets no bound."`
	MaxTopics                int   `name:"max-topics" default:"100" placeholder:"N" group:"Limits:" help:"Topics that one stream may name. 0 sets no bound."`
	MaxReplays               int   `name:"max-replays" default:"64" placeholder:"N" group:"Limits:" help:"Readers that replay from the log at once; further ones wait."`
	MaxBody                  Bytes `name:"max-body" default:"1MiB" placeholder:"BYTES" group:"Limits:" help:"Largest body of a publish, at most 32MiB."`
	PublishRate              int   `name:"publish-rate" default:"0" placeholder:"N" group:"Limits:" help:"Events a second that one publisher may publish, by the subject of a JSON web token or else by the client's address, ten seconds' worth of them at once. 0 sets no bound."`

	PublishToken Secret   `name:"publish-token" placeholder:"TOKEN" group:"Who may do what:" help:"Bearer token that may do everything: at least 16 printable ASCII characters, no space. Without it, and without keys for JSON web tokens, a random one is made at first start and kept in the data folder. Prefer the variable: other users of the machine can see flags."`
	JWTSecret    Secret   `name:"jwt-secret" placeholder:"SECRET" group:"Who may do what:" help:"Secret that signs JSON web tokens by HS256: at least 32 bytes. Their claim freshet has the topic patterns publish and subscribe. Prefer the variable."`
	JWKSURL      string   `name:"jwks-url" placeholder:"URL" group:"Who may do what:" help:"Where the key set of JSON web tokens by RS256, ES256 or EdDSA is, http:// or https://."`
	JWTAudience  string   `name:"jwt-audience" placeholder:"AUDIENCE" group:"Who may do what:" help:"What the claim aud of JSON web tokens has to contain."`
	JWTIssuer    string   `name:"jwt-issuer" placeholder:"ISSUER" group:"Who may do what:" help:"What the claim iss of JSON web tokens has to be."`
	Anonymous    []string `name:"anonymous" default:">" placeholder:"PATTERN" group:"Who may do what:" help:"Topics that anyone may read without a token, as a pattern: * for one token, a last > for the rest. Repeatable. Empty, or the word none: a token is needed."`
	CORSOrigins  []string `name:"cors-origin" default:"*" placeholder:"ORIGIN" group:"Who may do what:" help:"Origin whose pages may read, and if listed by name may publish too: scheme://host[:port], or * for reading by all. Repeatable."`

	Log      string     `name:"log" default:"text" enum:"text,json" placeholder:"FORMAT" group:"Logging:" help:"Format of the server's own log on standard error: text or json."`
	LogLevel slog.Level `name:"log-level" default:"info" placeholder:"LEVEL" group:"Logging:" help:"Least level that is logged: debug, info, warn or error."`
}
