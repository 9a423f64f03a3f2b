package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
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
	c, err := config.Parse(args, func(name string) string { return env[name] }, io.Discard)
	if err != nil {
		t.Fatalf("Parse(%q, %v): %v", args, env, err)
	}
	return c
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
	// Parse reads getenv, not the environment of the process.
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
	if diff := cmp.Diff(want, parse(t, nil), cmpopts.EquateComparable(netip.Prefix{}, event.Pattern{})); diff != "" {
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
		"sync":             "2s",
		"nats":             "nats://user:hunter2@a:4222,tls://b",
		"nats-creds":       "f.creds",
		"nats-wait":        "1m",
		"replicas":         "3",
		"counter-interval": "250ms",
		"heartbeat":        "0",
		"retry":            "2s",
		"window-bytes":     "3MiB", "park": "off",
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
		Listen: []string{"127.0.0.1:80", "[::1]:443"},
		Hosts:  []string{"events.example.org", "*.example.net", "xn--bcher-kva.example", "my_service"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("10.0.0.0/8"),
			netip.MustParsePrefix("192.0.2.8/32"), netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("fd00::/8")},
		TLSCert:                  "/etc/ssl/certs/freshet.pem",
		TLSKey:                   "/etc/ssl/private/freshet.key",
		Data:                     "/var/lib/freshet",
		RetainAge:                90 * time.Minute,
		RetainBytes:              500_000,
		RetainPerTopic:           7,
		Sync:                     config.Sync(2 * time.Second),
		NATS:                     "nats://user:hunter2@a:4222,tls://b",
		NATSCreds:                "f.creds",
		NATSWait:                 time.Minute,
		Replicas:                 3,
		CounterInterval:          250 * time.Millisecond,
		Retry:                    config.Retry{Min: 2 * time.Second, Max: 2 * time.Second},
		WindowBytes:              3 << 20,
		Park:                     "off",
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
		args = append(args, "--"+name+"="+value)
		env["FRESHET_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
	}
	if diff := cmp.Diff(want, parse(t, nil, args...), cmpopts.EquateComparable(netip.Prefix{}, event.Pattern{})); diff != "" {
		t.Errorf("by flags: %s", diff)
	}
	if diff := cmp.Diff(want, parse(t, env), cmpopts.EquateComparable(netip.Prefix{}, event.Pattern{})); diff != "" {
		t.Errorf("by variables: %s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	env := map[string]string{
		"FRESHET_HEARTBEAT": "7s", "FRESHET_LISTEN": ":1,:2", "FRESHET_DATA": "from-env", "FRESHET_RETRY": "",
		// Not a valid value, but the flag comes first.
		"FRESHET_DRAIN": "soon",
		// Neither is a setting.
		"FRESHET_VERSION": "1.2.3", "FRESHET_HELP": "true",
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
		parse(t, nil, "--anonymous="), parse(t, nil, "--anonymous", ""), parse(t, nil, "--anonymous=none"),
		parse(t, map[string]string{"FRESHET_ANONYMOUS": "none"}),
		parse(t, map[string]string{"FRESHET_ANONYMOUS": "news"}, "--anonymous="),
	} {
		if len(c.Anonymous) != 0 {
			t.Errorf("%q may be read", c.Anonymous)
		}
	}
	if c := parse(t, map[string]string{"FRESHET_ANONYMOUS": ""}); !slices.Equal(c.Anonymous, event.Patterns{event.All}) {
		t.Errorf("a variable set to nothing counts as not set: %q", c.Anonymous)
	}
}

func TestDays(t *testing.T) {
	for text, want := range map[string]time.Duration{"0d": 0, "7d": 168 * time.Hour, "65535d": 65535 * 24 * time.Hour} {
		if got := parse(t, nil, "--retain-age="+text).RetainAge; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
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

func TestRefusals(t *testing.T) {
	for _, test := range []struct{ flag, value, want string }{
		{"listen", "8080", "want host:port or :port"},
		{"listen", ":http8", "want host:port or :port"},
		{"listen", ":65536", "want host:port or :port"},
		{"listen", ":99999", "with a port up to 65535"},
		{"listen", "", "want host:port or :port"},
		{"drain", "-1s", "want 0 or a duration"},
		{"drain", "10", "want 0 or a duration"},
		{"trusted-proxy", "localhost", "want an IP address"},
		{"trusted-proxy", "10.0.0.1:80", "want an IP address"},
		{"trusted-proxy", "10.0.0.0/33", "want an IP address"},
		{"trusted-proxy", "0.0.0.0/0", "want an IP address"},
		{"trusted-proxy", "::/0", "want an IP address"},
		{"trusted-proxy", "::ffff:10.0.0.0/104", "want an IP address"},
		{"trusted-proxy", "fe80::1%eth0", "want an IP address"},
		{"trusted-proxy", "10.0.0.1,caddy", "want an IP address"},
		{"tls-cert", "a.pem", "only allowed together with --tls-key"},
		{"tls-key", "a.key", "only allowed together with --tls-cert"},
		{"host", "https://example.org", "want a name"},
		{"host", "example.org:443", "want a name"},
		{"host", "a.*.example", "want a name"},
		{"host", "*.", "want a name"},
		{"host", ".", "want a name"},
		{"host", "a..example", "want a name"},
		{"acme-domain", "localhost", "want a domain"},
		{"acme-domain", "*.example.org", "want a domain"},
		{"acme-domain", "example.org:443", "want a domain"},
		{"acme-domain", "https://example.org", "want a domain"},
		{"acme-domain", "192.0.2.1", "want a domain"},
		{"acme-domain", "bücher.example", "want a domain"},
		{"acme-domain", "-a.example", "want a domain"},
		{"acme-domain", "a..example", "want a domain"},
		{"acme-domain", "a.example..", "want a domain"},
		{"acme-domain", "a_b.example", "want a domain"},
		{"acme-domain", strings.Repeat("a", 64) + ".example", "want a domain"},
		{"acme-directory", "https://acme.example/directory", "only allowed together with --acme-domain"},
		{"data", "", "want the path"},
		{"retain-age", "500ms", "want 0 or at least 1s"},
		{"retain-age", "-24h", "want 0 or a duration"},
		{"retain-age", "-7d", "want 0 or a duration"},
		{"retain-age", "1.5d", "want 0 or a duration"},
		{"retain-age", "d", "want 0 or a duration"},
		{"retain-age", "200000d", "want 0 or a duration"},
		{"retain-age", "1w", "such as 500ms, 15s, 24h or 7d"},
		{"retain-bytes", "-1", "want a size such as"},
		{"retain-bytes", "1.5GiB", "want a size such as"},
		{"retain-bytes", "GiB", "want a size such as"},
		{"retain-bytes", "1 GiB", "want a size such as"},
		{"retain-bytes", "1PiB", "want a size such as"},
		{"retain-bytes", "", "want a size such as"},
		{"retain-bytes", "9223372036854775808", "want a size such as"},
		{"retain-bytes", "8388608TiB", "want a size such as"},
		{"retain-per-topic", "-1", "want a whole number"},
		{"retain-per-topic", "1e3", "want a whole number"},
		{"sync", "never", "want always or an interval"},
		{"sync", "999ms", "want always or an interval"},
		{"sync", "0", "want always or an interval"},
		{"nats", "localhost", "want nats://"},
		{"nats", "http://localhost:4222", "want nats://"},
		{"nats", "nats://a,", "want nats://"},
		{"nats-creds", "file", "only allowed together with --nats"},
		{"replicas", "0", "want 1 to 5"},
		{"replicas", "6", "want 1 to 5"},
		{"replicas", "3", "together with --nats"},
		{"counter-interval", "1ns", "at least 1ms"},
		{"heartbeat", "-15s", "want 0 or a duration"},
		{"retry", "0", "want a range"},
		{"retry", "0-1s", "want a range"},
		{"retry", "3s-1s", "want a range"},
		{"retry", "1s-", "want a range"},
		{"retry", "1s-2s-3s", "want a range"},
		{"retry", "-1s", "want a range"},
		{"window-bytes", "0", "at least 1B"},
		{"max-connections", "-1", "want a whole number"},
		{"max-connections-per-address", "-1", "want a whole number"},
		{"publish-rate", "10/s", "want a whole number"},
		{"publish-rate", "-1", "want a whole number"},
		{"max-topics", "many", "want a whole number"},
		{"max-replays", "0", "at least 1"},
		{"max-body", "0", "want 1B to 31MiB"},
		{"max-body", "32MiB", "want 1B to 31MiB"},
		{"publish-token", "fifteen-letters", "at least 16"},
		{"publish-token", "with a space inside", "at least 16"},
		{"publish-token", "with-a-tab\tinside it", "at least 16"},
		{"publish-token", "mit-Umläuten-drin", "at least 16"},
		{"jwt-secret", "thirty-one-bytes-are-too-short.", "at least 32"},
		{"jwks-url", "id.example/keys", "want http://"},
		{"jwks-url", "ftp://id.example/keys", "want http://"},
		{"jwks-url", "https://", "want http://"},
		{"jwks-url", "https://user:pass@id.example/keys", "without user"},
		{"jwt-audience", "freshet", "together with --jwt-secret"},
		{"jwt-issuer", "me", "together with --jwt-secret"},
		{"anonymous", "a..b", "want a topic pattern"},
		{"anonymous", ">.a", "want a topic pattern"},
		{"anonymous", "a b", "want a topic pattern"},
		{"anonymous", "a*", "want a topic pattern"},
		{"anonymous", "a/b", "want a topic pattern"},
		{"anonymous", "news,a..b", "want a topic pattern"},
		{"anonymous", strings.Repeat("a", 201), "want a topic pattern"},
		{"cors-origin", "", "want * or scheme"},
		{"cors-origin", "app.example", "want * or scheme"},
		{"cors-origin", "https://app.example/", "want * or scheme"},
		{"cors-origin", "https://*.example", "want * or scheme"},
		{"cors-origin", "https://me@app.example", "want * or scheme"},
		{"cors-origin", "https://app.example:", "want * or scheme"},
		{"cors-origin", "https://bücher.example", "want * or scheme"},
		{"cors-origin", "https://app.example?q", "want * or scheme"},
		{"cors-origin", "null", "want * or scheme"},
		{"cors-origin", "*,nonsense", "want * or scheme"},
		{"log", "xml", `"text","json"`},
		{"log-level", "loud", "want debug, info, warn or error"},
	} {
		variable := "FRESHET_" + strings.ToUpper(strings.ReplaceAll(test.flag, "-", "_"))
		for _, source := range []string{"flag", "variable"} {
			var args []string
			env := map[string]string{}
			if source == "flag" {
				args = []string{"--" + test.flag + "=" + test.value}
			} else if env[variable] = test.value; test.value == "" {
				continue // not set
			}
			var stdout bytes.Buffer
			_, err := config.Parse(args, func(name string) string { return env[name] }, &stdout)
			switch {
			case err == nil:
				t.Errorf("--%s=%q by %s was taken", test.flag, test.value, source)
				continue
			case errors.Is(err, config.ErrPrinted), stdout.Len() > 0:
				t.Errorf("--%s=%q by %s printed %q, error %v", test.flag, test.value, source, &stdout, err)
			}
			text := err.Error()
			if !strings.HasPrefix(text, "--"+test.flag) || !strings.Contains(text, test.want) || strings.ContainsAny(text, "\r\n") {
				t.Errorf("--%s=%q by %s: %q is not one line with %q", test.flag, test.value, source, text, test.want)
			}
			if strings.Contains(text, variable) != (source == "variable") {
				t.Errorf("--%s=%q by %s: %q must name the variable exactly if it is from there", test.flag, test.value, source, text)
			}
			if (test.flag == "publish-token" || test.flag == "jwt-secret") && strings.Contains(text, test.value) {
				t.Errorf("the error shows the token: %q", text)
			}
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
		_, err := config.Parse(args, func(string) string { return "" }, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: got %v, want one line that begins with %q", args, err, want)
		}
	}
}

func TestRefusesWhatIsNoFlag(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown flag --publish-tokn":                     {"--publish-tokn=" + token},
		"unexpected argument serve":                       {"serve"},
		"--publish-token: no value":                       {"--publish-token"},
		"--publish-token: no value: want --publish-token": {"--publish-token", "-" + token},
		"--heartbeat: no value: want --heartbeat=DURATION, with the = if the value begins with a dash": {"--heartbeat", "-1s"},
		"--listen: no value": {"--listen"},
		"--nats-creds: only": {"--nats-creds=file"},
	} {
		_, err := config.Parse(args, func(string) string { return "" }, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: got %v, want one line with %q", args, err, want)
		} else if strings.Contains(err.Error(), token) {
			t.Errorf("%q: the error shows the token: %v", args, err)
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout bytes.Buffer
	// Help works with invalid variables.
	_, err := config.Parse([]string{"--help"}, func(string) string { return "broken" }, &stdout)
	if !errors.Is(err, config.ErrPrinted) {
		t.Fatalf("got %v, want ErrPrinted", err)
	}
	help := strings.Join(strings.Fields(stdout.String()), " ")
	for _, want := range []string{
		"Serving:", "TLS:", "Log:", "Stream:", "Limits:", "Access:", "Logging:",
		"[default :8080, FRESHET_LISTEN]", "[default 24h, FRESHET_RETAIN_AGE]", "[default 1GiB, FRESHET_RETAIN_BYTES]",
		"[default 1s-3s, FRESHET_RETRY]", "[default always, FRESHET_SYNC]", "[default *, FRESHET_CORS_ORIGIN]",
		"[FRESHET_PUBLISH_TOKEN]", "--nats=URL[,URL]", "--max-body=BYTES", "--version",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("no %q in the help:\n%s", want, &stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	var stdout bytes.Buffer
	_, err := config.Parse([]string{"--version"}, func(string) string { return "" }, &stdout)
	if !errors.Is(err, config.ErrPrinted) {
		t.Errorf("got %v, want ErrPrinted", err)
	}
	if got, want := stdout.String(), "freshet "+config.Version()+"\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
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
