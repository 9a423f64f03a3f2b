// Package metrics shows a server's counts to Prometheus.
//
//   - The parts of the server count for themselves. A scrape reads their snapshots, so it costs nothing between scrapes, and nothing is counted
//     twice.
//   - Names follow Prometheus's conventions: prefix freshet_, base units, _total for counters. No label has a topic, an address or a subject.
//   - Histograms are native ones, and classic ones with a bucket for each power of two, for servers that cannot read native ones.
//   - A figure that is not known is left out: those of the log while it does not respond, and those of a certificate without TLS.
//
// docs/operations.md describes each metric.
package metrics
