package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// What one subject may get, on one node: a page that asks in a loop, or a hostile user, is to leave room for the others. As a
	// ticket that nobody uses is gone after two minutes, that is 1,400 of them at once.
	ticketRate  = 10
	ticketBurst = 200
)

// limits holds each subject to a rate, so that one gets no more tickets than it can have use for.
type limits struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	tidy    int // as soon as there are so many buckets, the full ones go
}

func (l *limits) take(subject string) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[subject]
	if bucket == nil {
		if len(l.buckets) >= l.tidy {
			for subject, bucket := range l.buckets {
				if bucket.TokensAt(now) >= ticketBurst {
					delete(l.buckets, subject)
				}
			}
			l.tidy = max(1024, 2*len(l.buckets))
		}
		bucket = rate.NewLimiter(ticketRate, ticketBurst)
		l.buckets[subject] = bucket
	}
	return bucket.AllowN(now, 1)
}
