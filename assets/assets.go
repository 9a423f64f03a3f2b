// Package assets holds the files that the browser loads. There is no build step: the server serves each file at /assets/ and its
// name, as it stands here.
//
//   - freshet.js is the client module, which pages of any origin import. Its parts are in freshet/, its types in freshet.d.ts. With
//     package.json, README.md and LICENSE they are the package that npm pack makes.
//   - dashboard/ has the scripts and the style sheet of the page at /.
//   - test/ has the tests of the client module, for node --test. The server does not contain them.
package assets

import (
	"embed"
	"io/fs"
)

//go:embed freshet.js freshet.d.ts freshet dashboard favicon.svg
var files embed.FS

// Files returns the browser's files. It is read-only and safe for concurrent use.
func Files() fs.FS { return files }
