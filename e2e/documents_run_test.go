//go:build unix

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"freshet/app/apptest"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats-server/v2/server"
)

// natsVariable makes the test binary the program nats-server.
const natsVariable = "E2E_NATS_SERVER"

// serveNATSIfCommand runs nats-server with the process's arguments, in a process of the shell below.
func serveNATSIfCommand() {
	if os.Getenv(natsVariable) == "" {
		return
	}
	options, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ExitOnError), os.Args[1:], nil, nil, nil)
	if err != nil {
		panic(err)
	}
	s, err := server.NewServer(options)
	if err != nil {
		panic(err)
	}
	s.Start()
	s.WaitForShutdown()
	os.Exit(0)
}

// A reader who pastes a document's commands, from its top to its end, into one shell gets what the document says.
//
// The words after the language of a block `sh` say what is different about it: `fails` (the last command fails), or
// `skip: reason` (not run; only its syntax and flags are checked). A block `output` after it has what it prints.
func TestDocuments(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash in PATH") // .ci/run is a bash script
	}
	known := knownFlags(t)
	ran := 0
	for _, d := range documents(t) {
		if !slices.ContainsFunc(d.blocks, func(b block) bool { return runs(b) }) || strings.HasPrefix(d.name, "docs/decisions/") || d.name == "CONTRIBUTING.md" {
			continue
		}
		ran++
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t)
			if d.name != "README.md" { // it starts the server itself
				s.run(t, "freshet\n", "")
			}
			output := ""
			var tab context.Context // with the page that was shown last; nil after a command
			for i, b := range d.blocks {
				at := fmt.Sprintf("%s:%d", d.name, b.line)
				switch b.language {
				case "sh":
					checkFlags(t, at, b.text, known)
					output, tab = s.run(t, b.text, b.info), nil
				case "js":
					if b.info == bundled {
						continue
					}
					want := ""
					if i+1 < len(d.blocks) && d.blocks[i+1].language == "output" {
						want = d.blocks[i+1].text
					}
					b.text = s.local(t, b.text)
					if err := s.site(t).runScript(t, b, want); err != nil {
						t.Errorf("%s: %v", at, err)
					}
				case "html":
					tab = openBrowser(t)
					do(tab, t, chromedp.Navigate(serveOrigin(t, s.local(t, b.text))))
				case "output":
					if d.blocks[i-1].language == "js" {
						continue
					}
					if tab != nil {
						eventually(tab, t, fmt.Sprintf(`new RegExp(%q).test(document.body.innerText.trim() + '\n')`, outputPattern(b.text)))
						continue
					}
					if err := matches(b.text, output); err != nil {
						t.Errorf("%s: %v; the output is\n%s", at, err, output)
					}
				}
				if t.Failed() {
					t.Fatalf("%s failed", at)
				}
			}
		})
	}
	if ran < 8 {
		t.Errorf("only %d documents have commands", ran)
	}
}

func runs(b block) bool {
	return b.language == "sh" && !strings.HasPrefix(b.info, "skip: ")
}

// shell is a bash in a folder that looks like a fresh clone, in which freshet, go, curl and nats-server are what a document means by them.
type shell struct {
	dir    string            // of the blocks
	work   string            // where they run
	ports  map[string]string // of the text → of this run
	stdin  *os.File
	status *bufio.Scanner
	blocks int
}

// preamble has, as functions:
//   - freshet: the program; a server runs in the background, and the function waits until it is ready;
//   - go run . and go test ./...: the program, and nothing, because this is a test of go test;
//   - curl: fails on a refusal; a stream that stays open is ended once it is quiet;
//   - nats-server: in the background.
const preamble = `
set -eE -o pipefail
trap 'code=$?; echo "exit code $code: $BASH_COMMAND" >&2' ERR
freshet() {
  case ${1-} in
    --help | --version | [a-z]*) program "$@"; return ;;
  esac
  servers=$((${servers-0} + 1))
  local log=$tmp/server-$servers
  : >"$log"
  exec=exec program "$@" >"$log" 2>&1 3>&- & # so that $! is the server
  until grep -q '^freshet is ready' "$log"; do
    kill -0 $! 2>/dev/null || { cat "$log" >&2; return 1; }
    read -rt 0.05 <>"$tmp/never" || true
  done
}
nats-server() { program_nats -a 127.0.0.1 -p $nats_port -sd "$tmp/jetstream" "$@" >/dev/null 2>&1 3>&- & }
go() {
  case "$1 $2" in
    'run .') shift 2; freshet "$@" ;;
    'test ./...') ;;
    *) command go "$@" ;;
  esac
}
curl() {
  case " $* " in
    *' -N '*) stream "$@" ;;
    *) command curl -sS --fail-with-body "$@" ;;
  esac
}
stream() {
  local line pid code=0 patience=20
  exec {lines}< <(command curl -sS --fail-with-body "$@" 3>&-)
  pid=$!
  while IFS= read -r -t $patience -u $lines line; do
    printf '%s\n' "$line"
    patience=0.3
  done
  kill $pid 2>/dev/null || true
  wait $pid || code=$?
  exec {lines}<&-
  case $code in 0 | 143) ;; *) return $code ;; esac # 143: ended here
}
stop_servers() {
  kill $(jobs -p) 2>/dev/null || true
  wait
}
trap stop_servers EXIT
mkfifo "$tmp/never"
`

func openShell(t *testing.T) *shell {
	t.Helper()
	binary, err := os.Executable()
	must(t, err)
	tmp, dir := t.TempDir(), t.TempDir()
	s := &shell{dir: tmp, work: dir, ports: map[string]string{}}
	programs := fmt.Sprintf("tmp='%s' nats_port=%s\nprogram() { APPTEST_SERVE=1 ${exec-} '%s' \"$@\"; }\nprogram_nats() { %s=1 '%s' \"$@\"; }\n",
		tmp, s.port(t, "4222"), binary, natsVariable, binary)
	must(t, os.WriteFile(filepath.Join(tmp, "preamble"), []byte(programs+preamble), 0o600))

	absolute, err := filepath.Abs(top)
	must(t, err)
	entries, err := os.ReadDir(top)
	must(t, err)
	for _, e := range entries {
		if e.Name()[0] != '.' && e.Name() != "freshet-data" {
			must(t, os.Symlink(filepath.Join(absolute, e.Name()), filepath.Join(dir, e.Name())))
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts
	cmd.Dir = dir
	cmd.Env = append(apptest.Env(), "FRESHET_LISTEN=127.0.0.1:"+s.port(t, "8080"), "FRESHET_DRAIN=0s", "FRESHET_URL=http://127.0.0.1:"+s.port(t, "8080"))
	var output apptest.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	stdin, in, errIn := os.Pipe()
	out, status, errOut := os.Pipe()
	must(t, errors.Join(errIn, errOut))
	cmd.Stdin, cmd.ExtraFiles = stdin, []*os.File{status}
	must(t, cmd.Start())
	must(t, errors.Join(stdin.Close(), status.Close()))
	s.stdin, s.status = in, bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = in.Close() // ends the shell, which ends the servers
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("the shell: %v", err)
		}
		cancel()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what has outlived the shell, which is nothing as a rule
		_ = out.Close()
		if t.Failed() {
			t.Logf("the shell: %s", output.String())
		}
	})
	_, err = fmt.Fprintf(in, ". '%s/preamble'\n", tmp)
	must(t, err)
	return s
}

var (
	portOfText = regexp.MustCompile(`((?://)?(?:localhost|127\.0\.0\.1|--listen|-p) ?:?)(\d{4,5})\b`)
	background = regexp.MustCompile(`(?m)^((?:freshet|go run \.|nats-server)(?: .*)?) &$`)
)

// port is a free port that stands for a port of a document.
func (s *shell) port(t *testing.T, port string) string {
	t.Helper()
	if s.ports[port] == "" {
		_, s.ports[port], _ = strings.Cut(apptest.FreeAddress(t), ":")
	}
	return s.ports[port]
}

// local has the ports of this run in place of those of the document.
func (s *shell) local(t *testing.T, text string) string {
	t.Helper()
	return portOfText.ReplaceAllStringFunc(text, func(m string) string {
		parts := portOfText.FindStringSubmatch(m)
		return strings.Replace(parts[1], "//localhost", "//127.0.0.1", 1) + s.port(t, parts[2]) // tests' browsers know no names
	})
}

// site is a page of another origin, whose backend has the publish token.
func (s *shell) site(t *testing.T) site {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(s.work, "freshet-data", "publish-token"))
	must(t, err)
	return site{server: "http://127.0.0.1:" + s.port(t, "8080"), token: strings.TrimSpace(string(token))}
}

// run runs a block and returns what it prints.
func (s *shell) run(t *testing.T, commands, info string) string {
	t.Helper()
	commands = s.local(t, commands)
	commands = background.ReplaceAllString(commands, "$1") // the functions do that
	s.blocks++
	name := filepath.Join(s.dir, fmt.Sprintf("block-%d", s.blocks))
	must(t, os.WriteFile(name, []byte(commands), 0o600))
	line := fmt.Sprintf(". '%[1]s' </dev/null >'%[1]s.out' 2>'%[1]s.err'", name)
	switch reason, skipped := strings.CutPrefix(info, "skip: "); {
	case skipped && reason != "":
		line = fmt.Sprintf("bash -n '%[1]s' >'%[1]s.out' 2>'%[1]s.err'", name)
	case info == "fails":
		line = fmt.Sprintf("if (trap - ERR; %s); then echo 'the last command does not fail' >>'%s.err'; exit 1; fi", line, name)
	case info != "":
		t.Fatalf("nothing knows the words %q after sh", info)
	}
	_, err := fmt.Fprintf(s.stdin, "%s\necho >&3\n", line)
	must(t, err)
	if !s.status.Scan() {
		complaint, _ := os.ReadFile(name + ".err")
		t.Fatalf("these commands fail:\n%s\n%s", commands, complaint)
	}
	output, err := os.ReadFile(name + ".out")
	must(t, err)
	return string(output)
}

// matches compares lines with those of a document.
func matches(want, have string) error {
	if regexp.MustCompile(outputPattern(want)).MatchString(strings.TrimSpace(have) + "\n") {
		return nil
	}
	return fmt.Errorf("the document has another output:\n%s", want)
}

// outputPattern is an expression for the lines of a document, in which `…` stands for any text, and a line `…` for any lines.
func outputPattern(want string) string {
	pattern := "^"
	for line := range strings.Lines(strings.TrimSpace(want) + "\n") {
		if line = strings.TrimRight(line, " \n"); line == "…" {
			pattern += "(?:.*\n)*"
			continue
		}
		pattern += strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + " *\n"
	}
	return pattern + "$"
}

// checkFlags holds the flags of the program in a block, also of one that is not run.
func checkFlags(t *testing.T, at, commands string, known map[string]bool) {
	t.Helper()
	for line := range strings.Lines(strings.ReplaceAll(commands, "\\\n", " ")) {
		_, arguments, found := strings.Cut(line, "freshet ")
		if !found {
			_, arguments, found = strings.Cut(line, "go run . ")
		}
		if !found {
			continue
		}
		for _, m := range flagOfLine.FindAllStringSubmatch(arguments, -1) {
			if !known[m[1]] && !strings.Contains(line, "curl") {
				t.Errorf("%s: freshet has no flag %s", at, m[1])
			}
		}
	}
}
