package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/doctor"
)

// result is what a command of the program printed, and its exit code.
type result struct {
	stdout, stderr string
	code           int
}

// program is the program as a command in an empty folder, with these variables.
func program(ctx context.Context, t *testing.T, variables []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd, err := apptest.Command(ctx, args...)
	must(t, err)
	cmd.Env = append(cmd.Env, variables...)
	cmd.Dir = t.TempDir()
	return cmd
}

func runProgram(t *testing.T, variables []string, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := program(ctx, t, variables, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// printed are the data of the lines that tail printed.
func printed(t *testing.T, stdout string) (data []string) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var e struct{ ID, Topic, Type, Data string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ID == "" || e.Topic == "" {
			t.Errorf("tail printed %q: %v", line, err)
		}
		data = append(data, e.Topic+" "+e.Type+" "+e.Data)
	}
	return data
}

func TestPublishAndTailCommands(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	variables := []string{"FRESHET_URL=" + s.URL, "FRESHET_TOKEN=" + s.Token}
	r := runProgram(t, variables, "one\n\ntwo\r\n \"three\"", "publish", "news")
	if r.code != 0 || !strings.HasPrefix(r.stderr, "freshet: 3 events published, in ") {
		t.Errorf("publish: %+v", r)
	}
	r = runProgram(t, variables, strings.Join([]string{
		`{"topic":"orders","type":"order","data":{"id": 17}}`, `{"data":"to the topic of the command"}`,
		`{"topic":"counter","data":"x"}`, `not JSON`, `{"topic":"a","dat":"x"}`, `{"topic":"orders","data":"last"}`}, "\n"), "publish", "news", "--json")
	if r.code != 1 || strings.Count(r.stderr, "\n") != 4 || !strings.Contains(r.stderr, "freshet: line 3: ") || !strings.Contains(r.stderr, "freshet: line 4: ") ||
		!strings.Contains(r.stderr, "freshet: line 5: ") || !strings.Contains(r.stderr, "3 events published, 3 refused") {
		t.Errorf("publish --json: %+v", r)
	}
	want := "news news one,news news two,news news  \"three\",orders order {\"id\":17},news news to the topic of the command,orders orders last"
	r = runProgram(t, variables, "", "tail", "--since", "all", "--exit-after", "6")
	if have := strings.Join(printed(t, r.stdout), ","); r.code != 0 || have != want || r.stderr != "" {
		t.Errorf("tail: %s, %+v", have, r)
	}
	r = runProgram(t, variables, "", "tail", "order?", "orders", "--since", "-1", "--exit-after", "1")
	if have := strings.Join(printed(t, r.stdout), ","); r.code != 0 || have != "orders orders last" {
		t.Errorf("tail of one topic: %s, %+v", have, r)
	}
}

func TestPublishCommandWithATTL(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "")
	lines := `{"data":"of the command"}
{"data":"of the line","ttl":"1h"}
{"data":"refused","ttl":"1"}`
	r := runProgram(t, []string{"FRESHET_URL=" + s.URL, "FRESHET_TOKEN=" + s.Token}, lines, "publish", "news", "--json", "--ttl", "1s")
	if r.code != 1 || !strings.Contains(r.stderr, "freshet: line 3: ttl: must be a duration from 1s to 3650d") || !strings.Contains(r.stderr, "2 events published, 1 refused") {
		t.Errorf("publish: %+v", r)
	}
	must(t, apptest.Until(t.Context(), func() bool { return !strings.Contains(get(t, s.URL+"/history"), "of the command") }))
	if history := get(t, s.URL+"/history"); !strings.Contains(history, "of the line") {
		t.Errorf("the history is %s", history)
	}
}

func TestErrorsOfCommands(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "", "--anonymous", "none")
	away := "http://" + apptest.FreeAddress(t)
	for name, c := range map[string]struct {
		variables []string
		args      []string
		code      int
		want      string
	}{
		"server away":       {nil, []string{"publish", "news", "--url", away}, 1, away + " cannot be reached: "},
		"tail, server away": {nil, []string{"tail", "--url", away}, 1, away + " cannot be reached: "},
		"no token":          {nil, []string{"publish", "news", "--url", s.URL}, 1, "wants a token: set FRESHET_TOKEN, --token or --token-file"},
		"a wrong token":     {[]string{"FRESHET_TOKEN=wrong"}, []string{"publish", "news", "--url", s.URL}, 1, "refuses the token: "},
		"tail, no token":    {nil, []string{"tail", "--url", s.URL}, 1, "wants a token: "},
		"no token file":     {nil, []string{"tail", "--url", s.URL, "--token-file", "gone"}, 1, "--token-file: open gone: "},
		"no topic":          {nil, []string{"publish"}, 2, "no topic: want freshet publish TOPIC, or --json"},
		"two topics":        {nil, []string{"publish", "a", "b"}, 2, `unexpected argument "b"`},
		"a pattern":         {nil, []string{"publish", "news.*"}, 2, `"news.*" is not allowed: want a topic`},
		"a bad TTL":         {nil, []string{"publish", "news", "--ttl", "10ms"}, 2, "--ttl: 10ms is not allowed: want a duration from 1s to 3650d"},
		"a bad URL":         {nil, []string{"tail", "--url", "localhost:8080"}, 2, `--url: "localhost:8080" is not allowed`},
		"a bad start":       {nil, []string{"tail", "--since", "soon"}, 2, `--since: "soon" is not allowed`},
		"a bad time":        {nil, []string{"doctor", "--for", "1s"}, 2, "--for: 1s is not allowed: want 5s to 1h"},
		"a bad origin":      {nil, []string{"doctor", "--origin", "https://a.example/"}, 2, `--origin: "https://a.example/" is not allowed`},
		"no scheme":         {nil, []string{"doctor", "localhost:8080"}, 2, "the URL is not allowed: want one such as"},
		"no file":           {nil, []string{"backup"}, 2, "no file: want freshet backup FILE"},
		"backup, no token":  {nil, []string{"backup", "b.zip", "--url", s.URL}, 1, "wants a token: "},
		"backup, no folder": {[]string{"FRESHET_TOKEN=" + s.Token}, []string{"backup", "gone/b.zip", "--url", s.URL}, 1, "open gone/b.zip.part: no such file or directory"},
		"backup, away":      {nil, []string{"backup", "b.zip", "--url", away}, 1, away + " cannot be reached: "},
		"no backup":         {nil, []string{"restore"}, 2, "no backup: want freshet restore BACKUP"},
		"a backup is gone":  {nil, []string{"restore", "gone.zip"}, 1, "gone.zip: no such file or directory"},
		"no log":            {nil, []string{"restore", "."}, 1, "there is no log in ."},
		"many copies":       {nil, []string{"restore", "b.zip", "--replicas", "3"}, 2, "--replicas: more than 1 is only allowed together with --nats"},
		"move, no folder":   {nil, []string{"move", "--nats", "localhost"}, 2, "no folder: want freshet move FOLDER --nats URL"},
		"move, no NATS":     {nil, []string{"move", "freshet-data"}, 2, "no NATS: want freshet move FOLDER --nats URL"},
		"move, no log":      {nil, []string{"move", "gone", "--nats", "localhost"}, 1, "there is no log in gone"},
		"an unknown shell":  {nil, []string{"completion", "csh"}, 2, "want freshet completion bash, or zsh, or fish"},
	} {
		r := runProgram(t, c.variables, "x\n", c.args...)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		if r.code != c.code || !strings.Contains(lines[len(lines)-1], c.want) || strings.Contains(r.stderr, "wrong\n") || r.stdout != "" {
			t.Errorf("%s: %+v, want code %d and %q", name, r, c.code, c.want)
		}
	}
}

// The exit code and the output of doctor are for scripts. faults/ has what it finds.
func TestDoctorCommand(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "", "--anonymous", "none")
	away := "http://" + apptest.FreeAddress(t)
	for target, want := range map[string]string{away: "connect", s.URL: "status"} {
		r := runProgram(t, nil, "", "doctor", target, "--json")
		var report doctor.Report
		if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 1 || r.stderr != "" || report.OK || report.URL != target+"/event" {
			t.Errorf("%s: %+v, %v", target, r, err)
		}
		if last := report.Findings[len(report.Findings)-1]; last.Check != want || last.Result != doctor.Fail {
			t.Errorf("%s: %+v", target, last)
		}
		if r = runProgram(t, nil, "", "doctor", "--url", target); r.code != 1 || r.stderr != "" || !strings.Contains(r.stdout, "fail  "+want) {
			t.Errorf("%s: %+v", target, r)
		}
	}
}

// The line at which publish stops is the input's, also after empty lines and lines that are refused.
func TestPublishStopsAtALine(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, t.TempDir(), "", "--anonymous", "none")
	r := runProgram(t, []string{"FRESHET_URL=" + s.URL, "FRESHET_TOKEN=wrong"}, "\n\nnot JSON\n\n{\"data\":1}\n", "publish", "news", "--json")
	if r.code != 1 || !strings.Contains(r.stderr, "freshet: line 3: ") || !strings.Contains(r.stderr, "freshet: stopped at line 5: ") {
		t.Errorf("publish: %+v", r)
	}
}

// tail goes on over a restart of the server, and ends when the pipe is closed.
func TestTailResumes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir, address := t.TempDir(), apptest.FreeAddress(t)
	s := apptest.Start(t, dir, address)
	cmd := program(ctx, t, []string{"FRESHET_URL=" + s.URL}, "tail", "--since", "all")
	out, in, err := os.Pipe()
	must(t, err)
	cmd.Stdout = in
	must(t, errors.Join(cmd.Start(), in.Close()))
	lines := bufio.NewScanner(out)
	for i := range 3 {
		_, err := s.Publish(ctx, "news", "", fmt.Sprint(i), "")
		must(t, err)
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"data":"%d"`, i)) {
			t.Fatalf("event %d: %q, %v", i, lines.Text(), lines.Err())
		}
		if i == 1 {
			s.Stop()
			s = apptest.Start(t, dir, address)
		}
	}
	must(t, out.Close())
	_, err = s.Publish(ctx, "news", "", "into a closed pipe", "")
	must(t, err)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the end: %v", err)
	}
}

func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash in PATH")
	}
	script := runProgram(t, nil, "", "completion", "bash").stdout
	for words, want := range map[string]string{
		"freshet pu":                  "publish",
		"freshet --retain-a":          "--retain-age",
		"freshet serve --retain-b":    "--retain-bytes",
		"freshet tail --exit":         "--exit-after",
		"freshet completion f":        "fish",
		"freshet publish --type ":     "",
		"freshet completion --":       "--help",
		"freshet token --jwt-secret ": "",
	} {
		cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-c", script+`
COMP_WORDS=($1)
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_freshet
printf '%s\n' "${COMPREPLY[@]}"`, "bash", words)
		out, err := cmd.CombinedOutput()
		if have := strings.TrimSpace(string(out)); err != nil || have != want {
			t.Errorf("%q completes to %q, %v, want %q", words, have, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if r := runProgram(t, nil, "", "completion", shell); r.code != 0 || !strings.Contains(r.stdout, "retain-age") {
			t.Errorf("%s: %+v", shell, r)
		}
		if path, err := exec.LookPath(shell); err == nil { // its syntax, where there is one
			cmd := exec.CommandContext(t.Context(), path, "-n", "/dev/stdin")
			cmd.Stdin = strings.NewReader(runProgram(t, nil, "", "completion", shell).stdout)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v: %s", shell, err, out)
			}
		}
	}
}
