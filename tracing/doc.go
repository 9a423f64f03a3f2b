// Package tracing connects Freshet with OpenTelemetry. It owns what is exported, and what a span of a delivery is.
//
//   - [FromEnvironment] returns the exporter of a server program. The standard variables of OpenTelemetry turn it on; without them there is none.
//   - [Global] is the provider of a program that embeds Freshet.
//   - [TraceOf] is the trace of a publish, which the log stores in the event's headers.
//   - [Deliveries] makes one span for each event of a sampled trace on each node, whatever the number of its readers (docs/decisions/0025).
//
// Rules:
//
//   - Nothing here sets a global of OpenTelemetry.
//   - Off, no part of the server calls this package.
//   - A collector that does not answer costs memory for a bounded number of spans, a line of the log a minute, and at most a second when
//     the server stops.
//
// Package middleware makes the spans of HTTP requests.
package tracing
