package handlers

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"freshet/auth"
	"freshet/stream"

	"github.com/gin-gonic/gin"
)

// Figures are what the handlers count, for metrics. All but the open streams count since the start.
type Figures struct {
	Streams stream.Stats
	Parked  int // open streams without a goroutine each
	// Of events in publish requests. Refused are those that are the client's fault, failed those that are the log's. Events of a request
	// that is refused before its body is parsed count nowhere.
	Stored, Repeats, Refused, Failed uint64
	Errors                           map[string]uint64 // error responses and refused streams, by code
}

// Figures returns the counts at this moment.
func (h *Handlers) Figures() Figures {
	p := &h.publishes
	return Figures{
		Streams: h.streams.Stats(), Parked: h.Parked(),
		Stored: p.stored.Load(), Repeats: p.repeats.Load(), Refused: p.refused.Load(), Failed: p.failed.Load(), Errors: h.errors.all(),
	}
}

// publishes counts published events.
type publishes struct{ stored, repeats, refused, failed atomic.Uint64 }

func (p *publishes) count(repeat bool, err error) {
	switch {
	case err == nil && repeat:
		p.repeats.Add(1)
	case err == nil:
		p.stored.Add(1)
	default:
		p.countErrors(1, err)
	}
}

func (p *publishes) countErrors(n int, err error) {
	if status, _ := problemOf(err); status >= http.StatusInternalServerError {
		p.failed.Add(uint64(n))
	} else {
		p.refused.Add(uint64(n))
	}
}

// errorCounts counts errors by code. Codes are the program's, so there are only a few.
type errorCounts struct {
	mu     sync.Mutex
	byCode map[string]uint64
}

func (e *errorCounts) add(code string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byCode[code]++
}

func (e *errorCounts) all() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.byCode)
}

// newErrorCounts begins with 0 for the codes of the table, and for two others: a rate needs a value before the first error.
func newErrorCounts() errorCounts {
	byCode := map[string]uint64{"internal": 0, "too_many_failures": 0}
	for _, row := range table {
		byCode[row.code] = 0
	}
	return errorCounts{byCode: byCode}
}

// countErrorKey is the key of a gin.Context under which those that refuse a request find the function that counts the code of the error.
const countErrorKey = "count_error"

// CountErrors is a middleware: Figures then has the errors of the middleware behind it too.
func (h *Handlers) CountErrors(c *gin.Context) {
	if h.countError != nil { // nil: not made by New
		c.Set(countErrorKey, h.countError)
	}
}

func countError(c *gin.Context, code string) {
	if count, ok := c.Value(countErrorKey).(func(string)); ok {
		count(code)
	}
}

// serveMetrics serves GET /metrics to operators.
func (h *Handlers) serveMetrics(c *gin.Context) error {
	if err := auth.FromContext(c.Request.Context()).MayOperate(); err != nil {
		return err
	}
	c.Header("Cache-Control", "no-store")
	h.cfg.Metrics.ServeHTTP(c.Writer, c.Request)
	return nil
}
