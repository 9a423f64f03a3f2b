package config_test

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"freshet/config"
	"freshet/event"
)

func TestRefusals(t *testing.T) {
	// VALUE in a message is the value, or the last one of a list, in quotes.
	for _, test := range []struct {
		flag, want string
		values     []string
	}{
		{"listen", "VALUE is not allowed: want host:port or :port, here :8080", []string{"8080"}},
		{"listen", "VALUE is not allowed: want host:port or :port, such as :8080, 127.0.0.1:8080 or [::1]:8080", []string{":http8", "localhost", "::1:8080"}},
		{"listen", "port 65536 is out of range: want 0 to 65535", []string{":65536"}},
		{"listen", "port 99999 is out of range: want 0 to 65535", []string{":99999"}},
		{"listen", "an empty value is not allowed: want --listen ADDRESS, or leave the flag out", []string{""}},
		{"listen", "systemd is there twice: want it once, because it stands for all sockets that systemd passes", []string{"systemd,systemd"}},
		{"metrics-listen", "VALUE is not allowed: want host:port or :port, here :9090", []string{"9090"}},
		{"metrics-listen", "port 65536 is out of range: want 0 to 65535", []string{"127.0.0.1:65536"}},
		{"listen", "port -1 is out of range: want 0 to 65535", []string{":-1"}},
		{"listen", "port 99999999999999999999 is out of range: want 0 to 65535", []string{":99999999999999999999"}},
		{"drain", "VALUE is negative: want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h", []string{"-1s", "-5s"}},
		{"drain", "VALUE has no unit: want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h", []string{"10", "0.5"}},
		{"drain", "VALUE is not allowed: want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h", []string{"1d2w", "1d-5s", "--5s", "+5s", "five", "1M", "-", "2562048h"}},
		{"drain", "VALUE is too long: want at most 106751d", []string{"999999999999999999999999999w"}},
		{"trusted-proxy", "VALUE is not allowed: want an IP address, or a range such as 10.0.0.0/8 or fd00::/8", []string{"localhost", "10.0.0.1:80", "10.0.0.0/33", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.0.0.1,caddy"}},
		{"tls-cert", "only allowed together with --tls-key", []string{"a.pem"}},
		{"tls-key", "only allowed together with --tls-cert", []string{"a.key"}},
		{"host", "VALUE is not allowed: want a name such as events.example.org, without scheme or port, or *.example.org, or *", []string{"https://example.org", "example.org:443", "a.*.example", "*.", ".", "a..example"}},
		{"acme-domain", "VALUE is not allowed: want a domain such as events.example.org, in ASCII, without a wildcard or port", []string{"localhost", "*.example.org", "example.org:443", "https://example.org", "192.0.2.1", "bücher.example", "-a.example", "a..example", "a.example..", "a_b.example", strings.Repeat("a", 64) + ".example"}},
		{"acme-directory", "only allowed together with --acme-domain", []string{"https://acme.example/directory"}},
		{"node", "VALUE is not allowed: want up to 64 letters, digits, dashes and underscores, such as eu-1", []string{"a.b", "a b", "ü", "a/b", "*", strings.Repeat("a", 65)}},
		{"data", "an empty value is not allowed: want --data FOLDER, or leave the flag out", []string{""}},
		{"retain-age", "500ms is too short: want 0 or at least 1s", []string{"500ms"}},
		{"retain-age", "VALUE is negative: want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h", []string{"-24h", "-7d"}},
		{"retain-age", "VALUE is not allowed: want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h", []string{"1.5d", "d"}},
		{"retain-age", "VALUE is too long: want at most 106751d", []string{"200000d"}},
		{"retain-bytes", "VALUE is negative: want a size such as 1048576, 500KB, 64MiB or 1GiB", []string{"-1"}},
		{"retain-bytes", "VALUE is not allowed: want a size such as 1048576, 500KB, 64MiB or 1GiB", []string{"1.5GiB", "GiB", "1 GiB", "1PiB", "9223372036854775808", "8388608TiB"}},
		{"retain-bytes", "an empty value is not allowed: want --retain-bytes BYTES, or leave the flag out", []string{""}},
		{"retain-per-topic", "VALUE is negative: want a whole number, 0 or more", []string{"-1"}},
		{"retain-per-topic", "VALUE is not allowed: want a whole number, 0 or more", []string{"1e3"}},
		{"sync", "VALUE is not allowed: want always or an interval of at least 1s", []string{"never", "999ms", "0"}},
		{"nats", "VALUE is not allowed: want host[:port] or nats://[user:password@]host[:port], or with tls, ws or wss as the scheme", []string{"http://localhost:4222", "a b"}},
		{"nats", `"," is not allowed: want servers such as localhost:4222 or nats://a:4222,nats://b:4222`, []string{","}},
		{"nats", "the port of VALUE is out of range: want 1 to 65535", []string{"localhost:99999", "localhost:0"}},
		{"nats", "a server of the list is not allowed: want host[:port] or nats://[user:password@]host[:port], or with tls, ws or wss as the scheme", []string{"nats://me:secret@host:port", "nats://me:secret@"}},
		{"nats", "ws:// and wss:// are not allowed together with nats:// and tls://: want one kind for all servers", []string{"ws://a,nats://b"}},
		{"nats", "an empty value is not allowed: want --nats URL[,URL], or leave the flag out", []string{""}},
		{"nats-creds", "only allowed together with --nats", []string{"file"}},
		{"replicas", "0 is not allowed: want 1 to 5", []string{"0"}},
		{"replicas", "6 is not allowed: want 1 to 5", []string{"6"}},
		{"replicas", "more than 1 is only allowed together with --nats: the embedded log is a single copy", []string{"3"}},
		{"retain", "VALUE is not allowed: want PATTERN=DURATION, such as answers.>=1h, with a duration of at least 1s, or 0 for no limit",
			[]string{"answers.>", "=1h", "1h", "answers.>=", "a..b=1h", "a=500ms", "a=1h,b=60", "a=-1h", "a=4000d"}},
		{"retain", "48h0m0s for a.* is longer than --retain-age, 24h0m0s: want at most that, or a longer --retain-age", []string{"a=1h,a.*=2d"}},
		{"relay", "what follows wiki= is no URL: want TOPIC=URL, such as wiki=https://events.example.com/stream", []string{"wiki", "wiki=", "wiki=events.example.com/secret", "wiki=ftp://a.example"}},
		{"relay", `"stats" is no topic for a relay: want TOPIC=URL, such as wiki=https://events.example.com/stream`, []string{"stats=http://a.example"}},
		{"relay", `"https://a.example/?b" is no topic for a relay: want TOPIC=URL, such as wiki=https://events.example.com/stream`, []string{"https://a.example/?b=c"}},
		{"counter-interval", "VALUE is too short: want 0 or at least 1ms", []string{"1ns"}},
		{"heartbeat", "VALUE is negative: want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h", []string{"-15s"}},
		{"retry", "VALUE is too short: want at least 1ms", []string{"0", "0-1s"}},
		{"retry", "VALUE begins with the longer duration: want 1s-3s", []string{"3s-1s"}},
		{"retry", "VALUE is not allowed: want a range such as 1s-3s, or one duration such as 2s", []string{"1s-", "1s-2s-3s"}},
		{"retry", "VALUE is negative: want a range such as 1s-3s, or one duration such as 2s", []string{"-1s"}},
		{"window-bytes", "0 is not allowed: want at least 1B", []string{"0"}},
		{"max-connections", "VALUE is negative: want a whole number, 0 or more", []string{"-1"}},
		{"max-connections-per-address", "VALUE is negative: want a whole number, 0 or more", []string{"-1"}},
		{"publish-rate", "VALUE is not allowed: want a whole number, 0 or more", []string{"10/s"}},
		{"publish-rate", "VALUE is negative: want a whole number, 0 or more", []string{"-1"}},
		{"max-topics", "VALUE is not allowed: want a whole number, 0 or more", []string{"many"}},
		{"max-topics", "VALUE is out of range: want 0 to 9223372036854775807", []string{"99999999999999999999"}},
		{"max-replays", "0 is not allowed: want at least 1", []string{"0"}},
		{"max-body", "0B is not allowed: want 1B to 31MiB", []string{"0"}},
		{"max-body", "32MiB is not allowed: want 1B to 31MiB", []string{"32MiB"}},
		{"publish-token", "too weak or malformed: want at least 16 printable ASCII characters and no space", []string{"fifteen-letters", "with a space inside", "with-a-tab\tinside it", "mit-Umläuten-drin"}},
		{"publish-token", "an empty value is not allowed: want --publish-token TOKEN, or leave the flag out", []string{""}},
		{"jwt-secret", "too short: want at least 32 bytes, ideally random ones", []string{"thirty-one-bytes-are-too-short."}},
		{"jwks-url", "not allowed: want http:// or https://, a host and a path, without user or password", []string{"id.example/keys", "ftp://id.example/keys", "https://", "https://user:pass@id.example/keys"}},
		{"jwt-audience", "only allowed together with --jwt-secret or --jwks-url", []string{"freshet"}},
		{"jwt-issuer", "only allowed together with --jwt-secret or --jwks-url", []string{"me"}},
		{"anonymous", "VALUE is not allowed: want a topic pattern such as news, orders.* or public.>", []string{"a..b", ">.a", "a b", "a*", "a/b", "news,a..b", strings.Repeat("a", 201)}},
		{"anonymous", "an empty value is not allowed: want none (reading needs a token) or '>' (anyone may read everything)", []string{""}},
		{"cors-origin", "an empty value is not allowed: want --cors-origin ORIGIN, or leave the flag out", []string{""}},
		{"cors-origin", "VALUE is not allowed: want * or scheme://host[:port], without a path", []string{"app.example", "https://app.example/", "https://*.example", "https://me@app.example", "https://app.example:", "https://bücher.example", "https://app.example?q", "null", "*,nonsense"}},
		{"log", "VALUE is not allowed: want text or json", []string{"xml"}},
		{"log-level", "VALUE is not allowed: want debug, info, warn or error", []string{"loud"}},
		{"park", "VALUE is not allowed: want on or off", []string{"maybe"}},
	} {
		for _, value := range test.values {
			list := strings.Split(value, ",")
			want := "--" + test.flag + ": " + strings.ReplaceAll(test.want, "VALUE", strconv.Quote(list[len(list)-1]))
			if got := refusal(t, nil, "--"+test.flag+"="+value); got != want {
				t.Errorf("--%s=%q: got %s\nwant %s", test.flag, value, got, want)
			}
			if value == "" {
				continue // TestEmptyVariables
			}
			want += " (from " + variable(test.flag) + ")"
			if got := refusal(t, map[string]string{variable(test.flag): value}); got != want {
				t.Errorf("%s=%q: got %s\nwant %s", variable(test.flag), value, got, want)
			}
		}
	}
}

// refusal returns the text of Parse's error, which is one line.
func refusal(t *testing.T, env map[string]string, args ...string) string {
	t.Helper()
	var stdout bytes.Buffer
	_, err := config.Parse(args, environ(env), &stdout)
	if err == nil || errors.Is(err, config.ErrPrinted) || stdout.Len() > 0 {
		t.Errorf("%q with %q: got the error %v, printed %q", args, env, err, &stdout)
		return ""
	}
	if strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("%q with %q: the error %q is not one line", args, env, err)
	}
	return err.Error()
}

// What is no flag is refused, with a suggestion only if one is near. No error shows a value: it may be a secret.
func TestUnknownFlags(t *testing.T) {
	for _, test := range []struct {
		want string
		args []string
	}{
		{"unknown flag --publish-tokn; did you mean --publish-token?", []string{"--publish-tokn=" + token}},
		{"unknown flag --publish-tokn; did you mean --publish-token?", []string{"--publish-tokn", token}},
		{"unknown flag --port; did you mean --listen?", []string{"--port", "80"}},
		{"unknown flag --port; did you mean --listen?", []string{"--port=80"}},
		{"unknown flag --bind; did you mean --listen?", []string{"--data", "d", "--bind", ":80"}},
		{"unknown flag -p; did you mean --listen?", []string{"-p", "80"}},
		{"unknown flag -listen; did you mean --listen?", []string{"-listen", ":80"}},
		{"unknown flag --Listen; did you mean --listen?", []string{"--Listen", ":80"}},
		{"unknown flag --retain_age; did you mean --retain-age?", []string{"--retain_age", "1d"}},
		{"unknown flag --token; did you mean --publish-token?", []string{"--token", token}},
		{"unknown flag --cors; did you mean --cors-origin?", []string{"--cors", "*"}},
		{"unknown flag --nat; did you mean --nats?", []string{"--nat", "a"}},
		{"unknown flag --color; see freshet --help", []string{"--color"}},
		{"unknown flag -x; see freshet --help", []string{"-x"}},
		{"unknown flag --; see freshet --help", []string{"--"}},
		{"unknown flag -; see freshet --help", []string{"-"}},
		{`unexpected argument "run"; see freshet --help`, []string{"run", "--data", "d"}},
		{`unexpected argument "help"; did you mean --help?`, []string{"help"}},
		{`unexpected argument "freshet-data"; see freshet --help`, []string{"--data", "d", "freshet-data"}},
		{"--publish-token: no value: want --publish-token TOKEN", []string{"--publish-token"}},
		{"--publish-token: no value: want --publish-token TOKEN", []string{"--publish-token", "--data", "d"}},
		{"--listen: no value: want --listen ADDRESS", []string{"--listen"}},
		{`--drain: "-5s" is negative: want 0 or a duration such as 500ms, 15s, 90m, 36h, 7d, 2w or 1d12h`, []string{"--drain", "-5s"}},
	} {
		if got := refusal(t, nil, test.args...); got != test.want {
			t.Errorf("%q: got %s\nwant %s", test.args, got, test.want)
		}
	}
}

func TestValuesThatLookLikeFlags(t *testing.T) {
	c := parse(t, nil, "--publish-token", "-"+token, "--data=--data", "--jwt-secret", "-h=2"+secret)
	if c.PublishToken != "-"+token || c.Data != "--data" || c.JWTSecret != "-h=2"+secret {
		t.Errorf("got %q, %q, %q", string(c.PublishToken), c.Data, string(c.JWTSecret))
	}
}

func TestUnknownVariables(t *testing.T) {
	for name, want := range map[string]string{
		"FRESHET_ANONIMOUS":     "unknown environment variable FRESHET_ANONIMOUS; did you mean FRESHET_ANONYMOUS?",
		"FRESHET_PUBLISH_TOKNE": "unknown environment variable FRESHET_PUBLISH_TOKNE; did you mean FRESHET_PUBLISH_TOKEN?",
		"FRESHET_PUBLISH-TOKEN": "unknown environment variable FRESHET_PUBLISH-TOKEN; did you mean FRESHET_PUBLISH_TOKEN?",
		"FRESHET_listen":        "unknown environment variable FRESHET_listen; did you mean FRESHET_LISTEN?",
		"FRESHET_PORT":          "unknown environment variable FRESHET_PORT; did you mean FRESHET_LISTEN?",
		"FRESHET_COLOR":         "unknown environment variable FRESHET_COLOR; unset it, or see freshet --help",
		"FRESHET_":              "unknown environment variable FRESHET_; unset it, or see freshet --help",
		// Flags without a variable.
		"FRESHET_VERSION": "unknown environment variable FRESHET_VERSION; unset it, or see freshet --help",
		"FRESHET_HELP":    "unknown environment variable FRESHET_HELP; unset it, or see freshet --help",
		// Kubernetes sets no such variable without FRESHET_SERVICE_HOST.
		"FRESHET_SERVICE_PORT": "unknown environment variable FRESHET_SERVICE_PORT; unset it, or see freshet --help",
	} {
		for _, value := range []string{token, "8080", ""} {
			if got := refusal(t, map[string]string{name: value}); got != want {
				t.Errorf("%s=%q: got %s\nwant %s", name, value, got, want)
			}
		}
	}
}

func TestVariablesOfKubernetes(t *testing.T) {
	env := map[string]string{
		"FRESHET_SERVICE_HOST": "10.0.0.11", "FRESHET_SERVICE_PORT": "8080", "FRESHET_SERVICE_PORT_HTTP_WEB": "8080",
		"FRESHET_PORT": "tcp://10.0.0.11:8080", "FRESHET_PORT_8080_TCP": "tcp://10.0.0.11:8080", "FRESHET_PORT_8080_TCP_PROTO": "tcp",
		"FRESHET_PORT_8080_TCP_PORT": "8080", "FRESHET_PORT_8080_TCP_ADDR": "10.0.0.11",
		// A service with the name freshet-nats.
		"FRESHET_NATS_SERVICE_HOST": "fd00::12", "FRESHET_NATS_SERVICE_PORT": "4222", "FRESHET_NATS_PORT": "tcp://[fd00::12]:4222",
		"FRESHET_NATS_PORT_4222_UDP": "udp://[fd00::12]:4222", "FRESHET_NATS_PORT_4222_UDP_ADDR": "fd00::12",
		"FRESHET_DATA": "d",
	}
	if c := parse(t, env); c.Data != "d" {
		t.Errorf("got the data folder %q", c.Data)
	}
	env["FRESHET_PORT"] = "8080"
	if got, want := refusal(t, env), "unknown environment variable FRESHET_PORT; did you mean FRESHET_LISTEN?"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// An empty variable counts as not set, because Compose files and unit files have many. An empty FRESHET_ANONYMOUS does not.
func TestEmptyVariables(t *testing.T) {
	env := map[string]string{}
	for field := range reflect.TypeFor[config.Config]().Fields() {
		if field.Tag.Get("kong") == "-" { // only for programs that embed the server
			continue
		}
		env[variable(field.Tag.Get("name"))] = ""
	}
	want := "--anonymous: an empty value is not allowed: want none (reading needs a token) or '>' (anyone may read everything) (from FRESHET_ANONYMOUS)"
	if got := refusal(t, env); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	delete(env, "FRESHET_ANONYMOUS")
	if diff := cmp.Diff(parse(t, nil), parse(t, env), cmpopts.EquateComparable(netip.Prefix{}, event.Pattern{})); diff != "" {
		t.Error(diff)
	}
}

// A flag without a value has one as a variable.
func TestRefusalsOfUpdateStream(t *testing.T) {
	const alone = "--update-stream: only allowed together with --nats: the embedded log always gets the settings of its server"
	if got := refusal(t, nil, "--update-stream"); got != alone {
		t.Errorf("without --nats: %s", got)
	}
	if got := refusal(t, map[string]string{"FRESHET_UPDATE_STREAM": "true"}); got != alone+" (from FRESHET_UPDATE_STREAM)" {
		t.Errorf("without --nats: %s", got)
	}
	if got := refusal(t, map[string]string{"FRESHET_UPDATE_STREAM": "maybe"}); got != `--update-stream: "maybe" is not allowed: want true or false (from FRESHET_UPDATE_STREAM)` {
		t.Errorf("maybe: %s", got)
	}
	if c := parse(t, map[string]string{"FRESHET_UPDATE_STREAM": "false"}); c.UpdateStream {
		t.Error("false is true")
	}
}
