package limit

import (
	"sync"
	"time"
)

// logInterval is the least time between two lines.
const logInterval = time.Minute

// Log limits a kind of log line that strangers can cause to one a minute. Its zero value is ready for use.
type Log struct {
	mu    sync.Mutex
	last  time.Time
	since int
}

// Allow counts an occurrence. If a line may be written now, it returns how many occurred since the last line, else 0.
func (l *Log) Allow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since++
	if !l.last.IsZero() && time.Since(l.last) < logInterval {
		return 0
	}
	n := l.since
	l.last, l.since = time.Now(), 0
	return n
}
