//go:build full

package faults_test

import "time"

const (
	full     = true
	parallel = 4

	kills         = 20
	drainReaders  = 2000
	stormReaders  = 5000
	slowReaders   = 1000
	slowFirst     = 40
	slowTick      = 100 * time.Millisecond
	proxyKills    = 5
	diskFills     = 3
	replayEvents  = 50_000
	replayReaders = 100

	clusterReaders = 30
	clusterFault   = 20 * time.Second

	patience = 2 * time.Minute
)
