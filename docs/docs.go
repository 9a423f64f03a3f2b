// Package docs has the project's documents. The server serves one of them, the description of its HTTP API.
package docs

import _ "embed"

//go:embed openapi.yaml
var openAPI string

// OpenAPI returns the description of the HTTP API (OpenAPI 3.1), as YAML.
func OpenAPI() string { return openAPI }
