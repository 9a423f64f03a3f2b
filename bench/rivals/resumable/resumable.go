// Package resumable contains a server that sends the answers of a model with the npm package resumable-stream, as its README shows it.
//
// POST /answers/ID takes the tokens of an answer as lines of JSON. GET /answers/ID is the reader's stream: the first reader gets it from the process that
// has the answer, and with ?reloaded it comes through Redis, as after a reload.
package resumable

import "embed"

// Files are the server and its package.json.
//
//go:embed server.mjs package.json
var Files embed.FS
