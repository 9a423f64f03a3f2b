package app

import (
	"fmt"
	"io"
)

// printReady tells a new user what to do next, with lines that work when pasted.
func printReady(out io.Writer, base string, token publishToken, anonymous bool) {
	dashboard, bearer, note := base+"/#token="+token.text, token.text, ""
	switch {
	case token.text == "":
		dashboard, bearer, note = base+"/", "$TOKEN", "\n             where TOKEN is a JSON web token that may publish to news"
	case token.configured: // the operator knows it; a terminal's history should not
		dashboard, bearer, note = base+"/", "$FRESHET_PUBLISH_TOKEN", "\n             where FRESHET_PUBLISH_TOKEN is the configured publish token"
	}
	credential := ""
	if !anonymous {
		credential = `-H "Authorization: Bearer ` + bearer + `" `
	}
	fmt.Fprintf(out, `freshet is ready

  dashboard  %s
  publish    curl -H "Authorization: Bearer %s" -d hello %s/event/news%s
  subscribe  curl -N %s%s/event

`, dashboard, bearer, base, note, credential, base)
}
