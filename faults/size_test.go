//go:build !full

package faults_test

import "time"

// The sizes of everyday tests. With -tags full they are those of size_full_test.go.
const (
	full     = false
	parallel = 8

	kills         = 3
	drainReaders  = 500
	stormReaders  = 500
	slowReaders   = 50
	slowFirst     = 10
	slowTick      = 20 * time.Millisecond
	proxyKills    = 2
	diskFills     = 1
	replayEvents  = 10_000
	replayReaders = 20

	clusterReaders = 6
	clusterFault   = 0 * time.Second

	// patience bounds every test. The longest needs a quarter of it.
	patience = time.Minute
)
