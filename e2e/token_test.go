package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/config"
)

// signed runs the command token in the environment, and returns what it prints and its error.
func signed(ctx context.Context, t *testing.T, env []string, args ...string) (token, complaint string) {
	t.Helper()
	cmd, err := apptest.Command(ctx, append([]string{"token"}, args...)...)
	must(t, err)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(cmd.Env, env...), &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	if (err == nil) != (stdout.Len() > 0 && stderr.Len() == 0) || strings.Count(stdout.String()+stderr.String(), "\n") != 1 {
		t.Errorf("%q: ended with %v, printed %q and %q", args, err, &stdout, &stderr)
	}
	return strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String())
}

// A server accepts the tokens that the command token signs in the same environment, for what they allow.
func TestSignedTokens(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	env := []string{"FRESHET_JWT_SECRET=" + jwtSecret, "FRESHET_JWT_AUDIENCE=freshet", "FRESHET_JWT_ISSUER=https://id.example", "FRESHET_ANONYMOUS=none"}
	server, err := apptest.Command(ctx, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir())
	must(t, err)
	server.Env = append(server.Env, env...)
	p, err := apptest.StartProcess(server)
	must(t, err)
	t.Cleanup(p.Kill)
	with := func(token string) *client.Client {
		c, err := client.New(client.Config{URL: p.URL, Token: token, Attempts: 1})
		must(t, err)
		return c
	}
	status := func(err error) int {
		var refusal *client.Error
		if !errors.As(err, &refusal) {
			return 0
		}
		return refusal.Status
	}

	token, _ := signed(ctx, t, env, "--publish", "orders.*", "--subscribe", "news", "--subscribe=orders.>", "--subject", "u")
	c := with(token)
	if _, err := c.Publish(ctx, client.Message{Topic: "orders.eu", Data: "paid"}); err != nil {
		t.Errorf("publish: %v", err)
	}
	if _, err := c.Publish(ctx, client.Message{Topic: "news", Data: "x"}); status(err) != 403 {
		t.Errorf("publish beyond the patterns: %v, want 403", err)
	}
	reader, err := c.Open(ctx, client.Subscription{Topics: []string{"orders.eu"}, Since: "all"})
	must(t, err)
	defer reader.Close()
	for data := ""; data != "paid"; {
		frame, err := reader.Next()
		must(t, err)
		data = frame.Data
	}
	if _, err := c.Open(ctx, client.Subscription{Topics: []string{"secret"}}); status(err) != 403 {
		t.Errorf("read beyond the patterns: %v, want 403", err)
	}
	operator, _ := signed(ctx, t, env, "--operator")
	for token, want := range map[string]int{token: 403, operator: 200} {
		p.Token = token
		_, err := p.Get(ctx, "/connections")
		if got := cmp.Or(status(err), 200); got != want {
			t.Errorf("GET /connections: %d %v, want %d", got, err, want)
		}
	}
	other, _ := signed(ctx, t, env, "--publish", ">", "--jwt-audience", "another")
	if _, err := with(other).Publish(ctx, client.Message{Topic: "news", Data: "x"}); status(err) != 401 {
		t.Errorf("publish with a token for another audience: %v, want 401", err)
	}

	short, _ := signed(ctx, t, env, "--publish", "news", "--expires", "1s")
	c = with(short)
	var expiry error
	must(t, apptest.Until(ctx, func() bool {
		_, expiry = c.Publish(ctx, client.Message{Topic: "news", Data: "x"})
		return expiry != nil
	}))
	if status(expiry) != 401 || !strings.Contains(expiry.Error(), "has expired") {
		t.Errorf("after the expiry: %v, want 401", expiry)
	}
}

func TestTokensThatAreNotSigned(t *testing.T) {
	t.Parallel()
	secret := []string{"FRESHET_JWT_SECRET=" + jwtSecret}
	for _, c := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, []string{"--publish", "news"}, "freshet: the token needs a secret: set FRESHET_JWT_SECRET to that of the server; openssl rand -base64 32 prints a new one"},
		{[]string{"FRESHET_JWT_SECRET=short"}, []string{"--publish", "news"}, "freshet: --jwt-secret: too short: want at least 32 bytes, ideally random ones (from FRESHET_JWT_SECRET)"},
		{secret, []string{"--subject", "u"}, "freshet: the token would allow nothing: want --publish, --subscribe or --operator, such as freshet token --publish 'orders.*' --subscribe '>'"},
		{secret, []string{"--publish", "news", "--expires", "0"}, "freshet: --expires: 0s is too short: want at least 1s"},
		{secret, []string{"--publish", "a..b"}, `freshet: --publish: "a..b" is not allowed: want a topic pattern such as news, orders.* or public.>`},
		{secret, []string{"--listen", ":80"}, "freshet: unknown flag --listen; see freshet token --help"},
		{append(secret, "FRESHET_EXPIRES=1h"), []string{"--publish", "news"}, "freshet: unknown environment variable FRESHET_EXPIRES; unset it, or see freshet --help"},
	} {
		if _, got := signed(t.Context(), t, c.env, c.args...); got != c.want {
			t.Errorf("%q with %q: got %s\nwant %s", c.args, c.env, got, c.want)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (stdout, stderr string) {
		cmd, err := apptest.Command(t.Context(), args...)
		must(t, err)
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaint
		_ = cmd.Run() // a refusal prints
		return out.String(), complaint.String()
	}
	for name, want := range map[string]string{
		"tokn":           "freshet: unknown command \"tokn\"; did you mean freshet token?\n",
		"run":            "freshet: unknown command \"run\"; see freshet --help\n",
		"version x":      "freshet: unexpected argument \"x\"; see freshet version --help\n",
		"--data d serve": "freshet: unexpected argument \"serve\"; see freshet --help\n",
	} {
		if stdout, stderr := run(strings.Fields(name)...); stdout != "" || stderr != want {
			t.Errorf("freshet %s: printed %q and %q, want %q", name, stdout, stderr, want)
		}
	}
	help, _ := run("--help")
	for _, name := range []string{"serve", "token", "version"} {
		if !strings.Contains(help, "\n  "+name+" ") {
			t.Errorf("the help does not name %s:\n%s", name, help)
		}
	}
	if serveHelp, _ := run("serve", "--help"); serveHelp != help {
		t.Errorf("freshet serve --help printed %q", serveHelp)
	}
	tokenHelp, _ := run("token", "--help")
	if !strings.HasPrefix(tokenHelp, "Usage: freshet token") || !strings.Contains(tokenHelp, "\n  --expires DURATION  (default 1h)\n") {
		t.Errorf("freshet token --help printed %q", tokenHelp)
	}
	for line := range strings.Lines(tokenHelp) {
		if len(line) > 81 {
			t.Errorf("a line of the help has %d columns: %s", len(line)-1, line)
		}
	}
	version, _ := run("version")
	if flag, _ := run("--version"); version != flag || !strings.HasPrefix(version, "freshet ") || !strings.HasSuffix(version, "\n") || !strings.Contains(version, ", go1.") {
		t.Errorf("freshet version printed %q, freshet --version %q", version, flag)
	}
	text, _ := run("version", "--json")
	var build config.Build
	if err := json.Unmarshal([]byte(text), &build); err != nil || build.String()+"\n" != version {
		t.Errorf("freshet version --json printed %q (%v), freshet version %q", text, err, version)
	}
}
