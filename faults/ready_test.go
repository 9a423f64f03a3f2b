package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pasted returns the words that the command of the line has if it is pasted into a shell in the folder.
func pasted(t *testing.T, dir, ready, line string) []string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^  ` + line + ` +(curl .*)$`).FindStringSubmatch(ready)
	if found == nil {
		t.Fatalf("no line %s in the ready message:\n%s", line, ready)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", `curl() { printf '%s\n' "$@"; }; `+found[1])
	shell.Dir = dir
	words, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", found[1], err, words)
	}
	return strings.Split(strings.TrimSuffix(string(words), "\n"), "\n")
}

// Output that is no terminal may be kept as a log. It names the file of the token, and its lines work when they are pasted.
func TestTheReadyMessageInALog(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"freshet-data", "it's $HOME; a folder"} {
		cmd := command(begin(t), t, "--listen", "127.0.0.1:0", "--data", data, "--anonymous", "none")
		cmd.Dir = t.TempDir()
		p := startCommand(t, cmd)
		text, err := os.ReadFile(filepath.Join(cmd.Dir, data, "publish-token"))
		must(t, err)
		token := strings.TrimSpace(string(text))
		header := "-H\nAuthorization: Bearer " + token + "\n"
		for line, want := range map[string]string{
			"publish": header + "-d\nhello\n" + p.URL + "/event/news", "subscribe": "-N\n" + header + p.URL + "/event",
		} {
			if got := strings.Join(pasted(t, cmd.Dir, p.Printed(), line), "\n"); got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", line, got, want)
			}
		}
		if said := p.Printed() + p.Log(); len(token) < 40 || strings.Contains(said, token) || !strings.Contains(said, filepath.Join(data, "publish-token")) {
			t.Errorf("the token is %q, and this was said:\n%s", token, said)
		}
	}
}
