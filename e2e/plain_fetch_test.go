package e2e_test

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
)

// The generator of docs/answers.md reads an answer with fetch alone, over lost connections.
func TestPlainFetch(t *testing.T) {
	t.Parallel()
	requireNode(t, "node")
	s := apptest.Start(t, t.TempDir(), "")
	f := newFront(t, s.URL)
	script := ""
	for _, b := range parseDocument(t, "docs/answers.md").blocks {
		if b.language == "js" && strings.HasPrefix(b.text, "async function* read(") {
			script = strings.ReplaceAll(b.text, "http://localhost:8080", f.URL)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience/3)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "--input-type=module", "--eval", script)
	var printed apptest.Buffer
	node.Stdout, node.Stderr = &printed, t.Output()
	must(t, node.Start())
	c, err := client.New(client.Config{URL: s.URL, Token: s.Token, HTTP: s.HTTP})
	must(t, err)
	written, err := c.Answer(ctx, "answers.17")
	must(t, err)
	write := func(piece string) {
		t.Helper()
		_, err := io.WriteString(written, piece)
		must(t, err)
	}
	for i, piece := range []string{"The ", "answer\n", "is "} {
		write(piece)
		must(t, apptest.Until(ctx, func() bool { return f.opened.Load() > int64(i) && f.open.Load() == 1 }))
		f.cut()
	}
	f.answer("503")
	must(t, apptest.Until(ctx, func() bool { return f.asked("503") > 0 }))
	f.answer("")
	write("42.")
	must(t, written.End())
	must(t, node.Wait())
	if got, want := printed.String(), "The answer\nis 42.\n"; got != want {
		t.Errorf("the script prints %q, want %q", got, want)
	}
}
