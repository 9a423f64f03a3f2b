package app

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/mattn/go-isatty"
)

// printReady tells a new user what to do next, with lines that work when pasted. Only a terminal gets a publish token that was made here:
// other outputs are often kept as logs.
func printReady(out io.Writer, base string, token publishToken, anonymous bool) {
	dashboard, bearer, note, last := base+"/", "$TOKEN", "", ""
	switch {
	case token.configured: // the operator knows it; a terminal's history should not
		bearer, note = "$FRESHET_PUBLISH_TOKEN", "\n             where FRESHET_PUBLISH_TOKEN is the configured publish token"
	case token.text == "":
		note = "\n             where TOKEN is a JSON web token that may publish to news"
	case isTerminal(out):
		dashboard, bearer = base+"/#token="+token.text, token.text
	default:
		bearer, last = "$(cat "+quote(token.file)+")", "  token      is in "+token.file+"\n"
	}
	credential := ""
	if !anonymous {
		credential = `-H "Authorization: Bearer ` + bearer + `" `
	}
	fmt.Fprintf(out, `freshet is ready

  dashboard  %s
  publish    curl -H "Authorization: Bearer %s" -d hello %s/event/news%s
  subscribe  curl -N %s%s/event
%s
`, dashboard, bearer, base, note, credential, base, last)
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}

// plainPath matches a path that a shell takes as it is.
var plainPath = regexp.MustCompile(`^[\w./:@%+,][\w./:@%+,-]*$`)

// quote returns the path as a word for a shell.
func quote(path string) string {
	if plainPath.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
