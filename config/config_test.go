package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/config"
	"freshet/event"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	token  = "correct-horse-battery"
	secret = "thirty-two-bytes-of-a-JWT-secret"
)

func parse(t *testing.T, env map[string]string, args ...string) config.Config {
	t.Helper()
	c, err := config.Parse(args, environ(env), io.Discard)
	if err != nil {
		t.Fatalf("Parse(%q, %v): %v", args, env, err)
	}
	return c
}

// environ is the environment with these variables, as os.Environ returns it.
func environ(variables map[string]string) []string {
	environ := []string{"HOME=/home/me", "FRESHETS=3"}
	for name, value := range variables {
		environ = append(environ, name+"="+value)
	}
	return environ
}

func variable(flag string) string {
	return "FRESHET_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func topic(t *testing.T, name string) event.Topic {
	t.Helper()
	parsed, err := event.ParseTopic(name)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func ttl(t *testing.T, d time.Duration) event.TTL {
	t.Helper()
	ttl, err := event.NewTTL(d)
	if err != nil {
		t.Fatal(err)
	}
	return ttl
}

func patterns(t *testing.T, texts ...string) event.Patterns {
	t.Helper()
	var patterns event.Patterns
	for _, text := range texts {
		p, err := event.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	return patterns
}

func TestDefaults(t *testing.T) {
	// Parse does not read the environment of the process.
	t.Setenv("FRESHET_DATA", "elsewhere")
	want := config.Config{
		Listen:                   []string{":8080"},
		Drain:                    10 * time.Second,
		Data:                     "freshet-data",
		RetainAge:                24 * time.Hour,
		RetainBytes:              1 << 30,
		Sync:                     0, // always
		NATSWait:                 30 * time.Second,
		Replicas:                 1,
		CounterInterval:          time.Second,
		Heartbeat:                15 * time.Second,
		Coalesce:                 30 * time.Millisecond,
		Retry:                    config.Retry{Min: time.Second, Max: 3 * time.Second},
		WindowBytes:              64 << 20,
		Park:                     "on",
		MaxConnections:           100000,
		MaxConnectionsPerAddress: 10000,
		MaxTopics:                100,
		MaxReplays:               64,
		MaxBody:                  1 << 20,
		Anonymous:                event.Patterns{event.All},
		CORSOrigins:              []string{"*"},
		Log:                      "text",
	}
	if diff := cmp.Diff(want, parse(t, nil), cmpopts.EquateComparable(netip.Prefix{}, event.Pattern{}, event.Topic{}, event.TTL{})); diff != "" {
		t.Error(diff)
	}
}

func TestEverythingByFlagAndByVariable(t *testing.T) {
	values := map[string]string{
		"listen":           "127.0.0.1:80,[::1]:443",
		"host":             "Events.Example.org.,*.example.net,bücher.example,my_service",
		"drain":            "0",
		"trusted-proxy":    "192.0.2.7,10.1.2.3/8,::ffff:192.0.2.8,2001:db8::1,fd00::/8",
		"tls-cert":         "/etc/ssl/certs/freshet.pem",
		"tls-key":          "/etc/ssl/private/freshet.key",
		"data":             "/var/lib/freshet",
		"retain-age":       "1h30m",
		"retain-bytes":     "500kb",
		"retain-per-topic": "7",
		"retain":           "answers.pinned.>=0,answers.>=1h,a=b=30s",
		"sync":             "2s",
		"nats":             "nats://user:hunter2@a:4222,tls://b",
		"nats-creds":       "f.creds",
		"nats-wait":        "1m",
		"update-stream":    "true",
		"node":             "eu-1_a",
		"replicas":         "3",
		"relay":            "wiki.edits=https://events.example/stream?a=b,c",
		"relay-file":       "relays.json",
		"counter-interval": "250ms",
		"heartbeat":        "0",
		"coalesce":         "0",
		"retry":            "2s",
		"window-bytes":     "3MiB", "park": "off",
		"cloudevents":                 "true",
		"max-connections":             "0",
		"max-connections-per-address": "3",
		"max-topics":                  "0",
		"max-replays":                 "1",
		"max-body":                    "31MiB",
		"publish-rate":                "100",
		"publish-token":               token,
		"jwt-secret":                  secret,
		"jwks-url":                    "https://id.example/.well-known/jwks.json",
		"jwt-audience":                "freshet",
		"jwt-issuer":                  "https://id.example",
		"anonymous":                   "news,public.>,*.open",
		"cors-origin":                 "HTTPS://App.example:443,http://localhost:3000,http://b:80,capacitor://localhost",
		"log":                         "json",
		"log-level":                   "debug",
	}
	want := config.Config{
		Node:   "eu-1_a",
		Listen: []string{"127.0.0.1:80", "[::1]:443"},
		Hosts:  []string{"events.example.org", "*.example.net", "xn--bcher-kva.example", "my_service"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("10.0.0.0/8"),
			netip.MustParsePrefix("192.0.2.8/32"), netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("fd00::/8")},
		TLSCert:        "/etc/ssl/certs/freshet.pem",
		TLSKey:         "/etc/ssl/private/freshet.key",
		Data:           "/var/lib/freshet",
		RetainAge:      90 * time.Minute,
		RetainBytes:    500_000,
		RetainPerTopic: 7,
		Retain: []config.Retention{
			{Pattern: patterns(t, "answers.pinned.>")[0]}, {Pattern: patterns(t, "answers.>")[0], TTL: ttl(t, time.Hour)}, {Pattern: patterns(t, "a=b")[0], TTL: ttl(t, 30*time.Second)},
		},
		Sync:                     config.Sync(2 * time.Second),
		NATS:                     "nats://user:hunter2@a:4222,tls://b",
		NATSCreds:                "f.creds",
		NATSWait:                 time.Minute,
		Replicas:                 3,
		UpdateStream:             true,
		Relays:                   []config.Relay{{Topic: topic(t, "wiki.edits"), URL: "https://events.example/stream?a=b,c"}},
		RelayFile:                "relays.json",
		CounterInterval:          250 * time.Millisecond,
		Retry:                    config.Retry{Min: 2 * time.Second, Max: 2 * time.Second},
		WindowBytes:              3 << 20,
		Park:                     "off",
		CloudEvents:              true,
		MaxConnectionsPerAddress: 3,
		MaxReplays:               1,
		MaxBody:                  31 << 20,
		PublishRate:              100,
		PublishToken:             token,
		JWTSecret:                secret,
		JWKSURL:                  "https://id.example/.well-known/jwks.json",
		JWTAudience:              "freshet",
		JWTIssuer:                "https://id.example",
		Anonymous:                patterns(t, "news", "public.>", "*.open"),
		CORSOrigins:              []string{"https://app.example", "http://localhost:3000", "http://b", "capacitor://localhost"},
		Log:                      "json",
		LogLevel:                 slog.LevelDebug,
	}
	var args []string
	env := map[string]string{}
	for name, value := range values {
		if arg := "--" + name; value == "true" {
			args = append(args, arg)
		} else {
			args = append(args, arg+"="+value)
		}
		env[variable(name)] = value
	}
	if diff := cmp.Diff(want, parse(t, nil, args...), cmpopts.EquateComparable(netip.Prefix{}, event.Pattern{}, event.Topic{}, event.TTL{})); diff != "" {
		t.Errorf("by flags: %s", diff)
	}
	if diff := cmp.Diff(want, parse(t, env), cmpopts.EquateComparable(netip.Prefix{}, event.Pattern{}, event.Topic{}, event.TTL{})); diff != "" {
		t.Errorf("by variables: %s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	env := map[string]string{
		"FRESHET_HEARTBEAT": "7s", "FRESHET_LISTEN": ":1,:2", "FRESHET_DATA": "from-env", "FRESHET_RETRY": "",
		// Not a valid value, but the flag comes first.
		"FRESHET_DRAIN": "soon",
	}
	c := parse(t, env, "--heartbeat", "9s", "--drain=1s", "--listen", ":3", "--listen=:4")
	if c.Heartbeat != 9*time.Second || c.Drain != time.Second || !cmp.Equal(c.Listen, []string{":3", ":4"}) {
		t.Errorf("a flag must beat its variable and the default: %+v", c)
	}
	if c.Data != "from-env" {
		t.Errorf("a variable must beat the default: Data %q", c.Data)
	}
	if c.Retry != (config.Retry{Min: time.Second, Max: 3 * time.Second}) {
		t.Errorf("a variable set to nothing counts as not set: Retry %v", c.Retry)
	}
}

func TestNothingIsAnonymous(t *testing.T) {
	for _, c := range []config.Config{
		parse(t, nil, "--anonymous=none"), parse(t, nil, "--anonymous", "none"),
		parse(t, map[string]string{"FRESHET_ANONYMOUS": "none"}),
		parse(t, map[string]string{"FRESHET_ANONYMOUS": "news"}, "--anonymous=none"),
	} {
		if len(c.Anonymous) != 0 {
			t.Errorf("%q may be read", c.Anonymous)
		}
	}
	c := parse(t, map[string]string{"FRESHET_ANONYMOUS": ""}, "--anonymous=news")
	if !slices.Equal(c.Anonymous, patterns(t, "news")) {
		t.Errorf("a flag must beat its empty variable: %q", c.Anonymous)
	}
}

func TestDurations(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0d": 0, "7d": 7 * day, "2w": 14 * day, "1d12h": 36 * time.Hour, "1w1d1h1m1.5s": 8*day + time.Hour + time.Minute + 1500*time.Millisecond,
		"100ms": 100 * time.Millisecond, "1.5h": 90 * time.Minute, "106751d": 106751 * day, "00w7d0h": 7 * day,
	} {
		c := parse(t, nil, "--drain="+text, "--heartbeat", text, "--nats-wait", text)
		if c.Drain != want || c.Heartbeat != want || c.NATSWait != want {
			t.Errorf("%s: got %v, %v and %v, want %v", text, c.Drain, c.Heartbeat, c.NATSWait, want)
		}
	}
	c := parse(t, nil, "--retain-age", "2w", "--sync", "1d", "--retry", "1d-1w", "--nats-wait", "1d12h")
	if c.RetainAge != 14*day || time.Duration(c.Sync) != day || c.Retry != (config.Retry{Min: day, Max: 7 * day}) {
		t.Errorf("got %v, %v and %v", c.RetainAge, c.Sync, c.Retry)
	}
}

func TestNATS(t *testing.T) {
	for list, want := range map[string]config.Secret{
		"localhost:4222": "nats://localhost:4222", "localhost": "nats://localhost", "[::1]:4222": "nats://[::1]:4222",
		"a, b:1,nats://c": "nats://a,nats://b:1,nats://c", "tls://a,b": "tls://a,tls://b", "a,tls://b": "tls://a,tls://b",
		"ws://a:80,b": "ws://a:80,ws://b", "wss://a,ws://b": "wss://a,ws://b", "nats://a,": "nats://a",
		"me:secret@a,token@b": "nats://me:secret@a,nats://token@b",
	} {
		if got := parse(t, nil, "--nats", list).NATS; got != want {
			t.Errorf("%s: got %s, want %s", list, string(got), string(want))
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]config.Bytes{
		"1048576": 1 << 20, "1b": 1, "500KB": 500_000, "2mb": 2_000_000, "1GB": 1e9, "1TB": 1e12, "3KiB": 3 << 10, "64mib": 64 << 20,
		"1GIB": 1 << 30, "2TiB": 2 << 40, "0": 0, "9223372036854775807": 1<<63 - 1, "8388607TiB": 8388607 << 40,
	} {
		got := parse(t, nil, "--retain-bytes="+text).RetainBytes
		if got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
		if again := parse(t, nil, "--retain-bytes="+got.String()).RetainBytes; again != got {
			t.Errorf("%s prints as %v, which parses as %d", text, got, again)
		}
	}
	for size, want := range map[config.Bytes]string{0: "0B", 1: "1B", 1 << 20: "1MiB", 1 << 30: "1GiB", 1536: "1536B", 3 << 40: "3TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d prints as %q, want %q", int64(size), got, want)
		}
	}
}

func TestCertificatesByACME(t *testing.T) {
	c := parse(t, nil, "--acme-domain", "Events.Example.org.,b.example", "--acme-domain", "xn--bcher-kva.example", "--acme-directory", "https://ca.internal/directory")
	if !cmp.Equal(c.ACMEDomains, []string{"events.example.org", "b.example", "xn--bcher-kva.example"}) || c.ACMEDirectory != "https://ca.internal/directory" {
		t.Errorf("domains %q, directory %q", c.ACMEDomains, c.ACMEDirectory)
	}
	for want, args := range map[string][]string{
		"--acme-domain: not allowed together with --tls-cert": {"--acme-domain=a.example", "--tls-cert=a.pem", "--tls-key=a.key"},
		"--acme-directory: \"http://ca/\" is not allowed":     {"--acme-domain=a.example", "--acme-directory=http://ca/"},
	} {
		_, err := config.Parse(args, nil, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: got %v, want one line that begins with %q", args, err, want)
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout bytes.Buffer
	// Help works with invalid variables.
	_, err := config.Parse([]string{"--data", "d", "--help"}, environ(map[string]string{"FRESHET_DRAIN": "broken", "FRESHET_DRAINS": "unknown"}), &stdout)
	if !errors.Is(err, config.ErrPrinted) {
		t.Fatalf("got %v, want ErrPrinted", err)
	}
	help := stdout.String()
	if !strings.HasPrefix(help, "Usage: freshet [flags]\n       freshet COMMAND [flags]\n") || !strings.Contains(help, "\nExamples:\n") {
		t.Errorf("the help begins with\n%.200s", help)
	}
	for line := range strings.Lines(help) {
		if width := len(strings.TrimSuffix(line, "\n")); width > 80 || strings.HasSuffix(line, " \n") {
			t.Errorf("a line has %d columns, or ends with a space: %s", width, line)
		}
	}
	for field := range reflect.TypeFor[config.Config]().Fields() {
		if field.Tag.Get("kong") == "-" { // only for programs that embed the server
			continue
		}
		want := strings.TrimRight("\n  --"+field.Tag.Get("name")+" "+field.Tag.Get("placeholder"), " ")
		if text := field.Tag.Get("default"); text != "" {
			want += "  (default " + text + ")"
		}
		_, after, found := strings.Cut(help, want+"\n      ")
		if !found {
			t.Errorf("the help has no %q", want)
		}
		if words := strings.Join(strings.Fields(after), " "); !strings.HasPrefix(words, field.Tag.Get("help")) {
			t.Errorf("after %q comes %.60q", want, words)
		}
		if group := "\n\n" + field.Tag.Get("group") + "\n"; strings.Count(help, group) != 1 {
			t.Errorf("the help has %q %d times", group, strings.Count(help, group))
		}
	}
	examples := regexp.MustCompile(`\n  freshet ((?:.*\\\n)*.*)`).FindAllStringSubmatch(help, -1)
	for _, example := range examples {
		parse(t, nil, strings.Fields(strings.ReplaceAll(example[1], "\\\n", " "))...)
	}
	if len(examples) != 2 {
		t.Errorf("the help has %d examples: %q", len(examples), examples)
	}
	var short bytes.Buffer
	if _, err := config.Parse([]string{"-h"}, nil, &short); !errors.Is(err, config.ErrPrinted) || short.String() != help {
		t.Errorf("-h: %v, printed %.60s", err, &short)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	c := parse(t, nil, "--publish-token="+token, "--jwt-secret="+secret, "--nats=nats://user:hunter2@host:4222")
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%20v"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", c.PublishToken)
		fmt.Fprintf(&out, verb+"\n", &c)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("config", "config", c, "pointer", &c, "token", c.PublishToken, "nats", c.NATS)
	}
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token, secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%x", token), fmt.Sprintf("%X", token), "hunter2", fmt.Sprintf("%x", "hunter2")} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q leaked:\n%s", secret, &out)
		}
	}
	if !strings.Contains(out.String(), "[redacted]") || !strings.Contains(out.String(), "freshet-data") {
		t.Errorf("nothing was printed, or nothing redacted:\n%s", &out)
	}
	if string(c.PublishToken) != token {
		t.Error("string(PublishToken) is not the token")
	}
	if got := fmt.Sprint(config.Secret("")); got != "" {
		t.Errorf("no secret prints as %q, want nothing", got)
	}
}
