package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"freshet/client"
	"freshet/event"
	"freshet/eventlog"

	"golang.org/x/sync/errgroup"
)

// Log is the log to append to.
type Log interface {
	AppendAll(ctx context.Context, entries []eventlog.Entry) []eventlog.Receipt
	LastOrigin(ctx context.Context, topic event.Topic, source string) (id string, ok bool, err error)
}

// Leases are the leases that the nodes of the log share.
type Leases interface {
	// Hold takes a lease, with revision 0, or renews one. The error is eventlog.ErrHeld if another node has it.
	Hold(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error)
	Release(ctx context.Context, key string, revision uint64) error
}

// Source is the event stream that a relay follows.
type Source struct {
	Topic  event.Topic // where its events go
	URL    string
	Header http.Header // further headers of the request, such as Authorization
	// Silence is how long the source may send nothing, not even a comment or an answer to the request. Then the relay connects again. 0: 5 minutes.
	Silence time.Duration
}

// Config configures all relays of a node.
type Config struct {
	Log      Log
	Leases   Leases // nil: no other node has the log
	Sources  []Source
	Node     string       // this node's name; nodes may share one
	MaxEvent int          // bytes of the largest event; 0: 1 MiB
	HTTP     *http.Client // nil: the settings of http.DefaultTransport, with proxies of the environment
	Logger   *slog.Logger // nil: logs nothing
}

// How long a lease lasts, how often its holder renews it, and how often other nodes try to take it: together less than 30 seconds.
const (
	leaseTTL   = 15 * time.Second
	leaseRenew = 4 * time.Second
	leaseRetry = 2 * time.Second
)

// defaultSilence is many times the 15 seconds after which a source should send a comment (WHATWG HTML, 9.2.7).
const defaultSilence = 5 * time.Minute

// Waits after a failure of the log.
const (
	firstWait = time.Second
	maxWait   = 30 * time.Second
)

// Relays are the relays of a node.
type Relays struct {
	relays []*relay
}

// New returns the relays. Each topic has at most one.
func New(cfg Config) (*Relays, error) {
	rs := &Relays{}
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	holder := []byte(cfg.Node + " " + rand.Text())
	topics := map[event.Topic]bool{}
	for _, s := range cfg.Sources {
		u, err := client.ParseURL(s.URL)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the relay of topic %s: %w", s.Topic, err)
		case s.Topic.Reserved():
			return nil, fmt.Errorf("topic %s is the server's own; a relay needs another one", s.Topic)
		case topics[s.Topic]:
			return nil, fmt.Errorf("topic %s has two relays; give each its own topic", s.Topic)
		}
		topics[s.Topic] = true
		name := u.Host + u.Path
		rs.relays = append(rs.relays, &relay{
			cfg: cfg, source: s, origin: digest(s.URL)[:16], lease: "relay." + digest(s.Topic.String())[:16], holder: holder,
			logger: cfg.Logger.With("topic", s.Topic.String(), "source", name),
			state:  State{Topic: s.Topic.String(), Source: name, State: Standby, Since: time.Now()},
		})
	}
	return rs, nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Run runs all relays until ctx is done.
func (rs *Relays) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, r := range rs.relays {
		g.Go(func() error { r.run(ctx); return nil })
	}
	return g.Wait()
}

// States returns the state of each relay on this node.
func (rs *Relays) States() []State {
	states := make([]State, 0, len(rs.relays))
	for _, r := range rs.relays {
		states = append(states, r.current())
	}
	return states
}

// run takes the lease again and again. The holder follows the source.
func (r *relay) run(ctx context.Context) {
	if r.cfg.Leases == nil {
		r.work(ctx)
		return
	}
	for ctx.Err() == nil {
		asked := time.Now()
		revision, err := r.cfg.Leases.Hold(ctx, r.lease, r.holder, leaseTTL, 0)
		switch {
		case err == nil:
			r.hold(ctx, revision, asked.Add(leaseTTL))
			continue
		case errors.Is(err, eventlog.ErrHeld):
			r.set(Standby, "another node follows the source", 0)
		default:
			r.set(Waiting, err.Error(), leaseRetry)
		}
		pause(ctx, leaseRetry)
	}
}

// hold follows the source as long as the lease can be renewed. The lease lasts until the time, or longer: its server began to count later.
func (r *relay) hold(ctx context.Context, revision uint64, until time.Time) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.work(working)
	}()
	for pause(ctx, leaseRenew) {
		asked := time.Now()
		renewed, err := r.cfg.Leases.Hold(ctx, r.lease, r.holder, leaseTTL, revision)
		if err == nil {
			revision, until = renewed, asked.Add(leaseTTL)
		} else if errors.Is(err, eventlog.ErrHeld) || time.Until(until) < leaseRenew {
			revision = 0 // it is another node's
			break
		}
	}
	stop()
	<-done
	if revision > 0 {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := r.cfg.Leases.Release(release, r.lease, revision); err != nil {
			r.logger.Debug("release the relay's lease", "error", err)
		}
	}
}

// work follows the source, again after each failure of the log, from the position that the log has then. A stopped relay keeps its lease,
// so that no other node tries too.
func (r *relay) work(ctx context.Context) {
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		began := time.Now()
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if refused, ok := errors.AsType[*client.Error](err); err == nil || ok {
			reason := "the source has no more events (status 204)"
			if ok {
				reason = refused.Error()
			}
			r.logger.Error("the relay has stopped, until the server restarts", "reason", shorten(reason))
			r.set(Stopped, reason, 0)
			<-ctx.Done()
			return
		}
		if time.Since(began) > maxWait {
			wait = firstWait
		}
		pauseFor := wait + mathrand.N(wait/2) //nolint:gosec // spread, not secret
		r.logger.Warn("the relay cannot store events", "error", err, "wait", pauseFor.Round(time.Millisecond).String())
		r.set(Waiting, err.Error(), pauseFor)
		pause(ctx, pauseFor)
	}
}

// follow reads the source from the position that the log has. It returns the log's error, the source's refusal, or nil after a status 204.
func (r *relay) follow(ctx context.Context) error {
	r.set(Connecting, "", 0)
	position, _, err := r.cfg.Log.LastOrigin(ctx, r.source.Topic, r.origin)
	if err != nil {
		return err
	}
	defer r.queued.Store(0)
	var refusal error // the queue is stored first
	g, ctx := errgroup.WithContext(ctx)
	q := newQueue()
	g.Go(func() error { return r.store(ctx, q) })
	g.Go(func() error {
		defer q.close()
		last, first := position, false // whether no event has arrived on this connection
		for e, err := range client.Follow(ctx, client.Source{
			URL: r.source.URL, Header: r.source.Header, LastEventID: position, MaxEvent: cmp.Or(r.cfg.MaxEvent, 1<<20), HTTP: r.cfg.HTTP,
			Silence:      cmp.Or(r.source.Silence, defaultSilence),
			Connected:    func() { first = true; r.connected() },
			Disconnected: r.disconnected,
		}) {
			var entry *eventlog.Entry
			if repeat := first && e.OwnID && e.ID == last; err == nil && !repeat { // some servers begin with the event that the relay had
				entry, err = r.entry(e, last)
			}
			if refusal = err; err != nil {
				return nil
			}
			last, first = e.ID, false
			if entry == nil {
				continue
			}
			r.queued.Add(1)
			if err := q.put(ctx, *entry); err != nil {
				return err
			}
		}
		return nil
	})
	return cmp.Or(g.Wait(), refusal)
}

// store appends what the queue has, many events at a time.
func (r *relay) store(ctx context.Context, q *queue) error {
	for {
		entries := q.take(ctx)
		if entries == nil {
			return nil
		}
		for _, receipt := range r.cfg.Log.AppendAll(ctx, entries) {
			switch {
			case errors.Is(receipt.Err, eventlog.ErrTooLarge):
				r.skip("it is larger than --max-body")
			case receipt.Err != nil:
				return receipt.Err
			case !receipt.Repeat:
				r.stored()
			}
		}
		q.done(entries)
		r.queued.Add(-int64(len(entries)))
	}
}

// pause reports whether ctx is not done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
