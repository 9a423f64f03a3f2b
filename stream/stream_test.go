package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
	"freshet/stream"

	"github.com/golang-jwt/jwt/v5"
)

// bench is a registry of streams of a log in memory, in fake time.
type bench struct {
	*stream.Registry
	t   *testing.T
	log *eventlogtest.Memory
}

func newBench(t *testing.T, window int64, cfg stream.Config) *bench {
	t.Helper()
	log := eventlogtest.NewMemory()
	h, err := hub.New(t.Context(), log, hub.Config{WindowBytes: window})
	must(t, err)
	cfg.Hub = h
	cfg.RetryMin, cfg.RetryMax = time.Second, time.Second
	r, err := stream.New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return &bench{r, t, log}
}

// output keeps what is written, and takes only so many writes.
type output struct {
	text  strings.Builder
	takes int // further writes; negative: all
	err   error
}

func (o *output) Blocked() bool { return o.takes == 0 }

func (o *output) Write(p event.Encoded) error {
	o.takes--
	o.text.Write(p.Bytes)
	return o.err
}

func (o *output) WriteEntries(entries []*hub.Entry, f event.Format) (int, error) {
	for i, e := range entries {
		if o.Blocked() {
			return i, o.err
		}
		_ = o.Write(e.Encoded(f))
	}
	return len(entries), o.err
}

// take returns what was written since the last call, with the line ends as spaces.
func (o *output) take() string {
	defer o.text.Reset()
	return strings.TrimSpace(strings.ReplaceAll(o.text.String(), "\n", " "))
}

func (b *bench) open(q stream.Request, topics ...string) *stream.Stream {
	b.t.Helper()
	q.Patterns = eventlogtest.Patterns(b.t, topics...)
	s, err := b.Open(b.t.Context(), q)
	must(b.t, err)
	return s
}

// step steps the stream after d and checks what it writes.
func (b *bench) step(s *stream.Stream, out *output, d time.Duration, want string) stream.Result {
	b.t.Helper()
	<-time.After(d)
	synctest.Wait()
	var scratch stream.Scratch
	r := s.Step(b.Now(), out, &scratch)
	if got := out.take(); got != want {
		b.t.Errorf("after %v more the stream writes %q, want %q", d, got, want)
	}
	if r.Wrote != (want != "") {
		b.t.Errorf("after %v more the stream says that it wrote: %v", d, r.Wrote)
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAStepWritesWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stats := event.Stats([]byte(`{"n":1}`))
		b := newBench(t, 0, stream.Config{CounterInterval: time.Second, StatsInterval: 2 * time.Second, Heartbeat: 5 * time.Second,
			Stats: func() *event.Event { return &stats }})
		s, out := b.open(stream.Request{Counter: true, Stats: true}, "n"), &output{takes: -1}
		const count, figures = "data: %d", `event: stats data: {"n":1}`
		r := b.step(s, out, 0, `retry: 1000 id: 10-0  `+figures)
		if r.Next != time.Second {
			t.Errorf("the next step is due at %v", r.Next)
		}
		b.step(s, out, 999*time.Millisecond, "")
		b.step(s, out, time.Millisecond, fmt.Sprintf(count, 1))
		b.log.Publish(t, "n", "x")
		b.step(s, out, 500*time.Millisecond, "event: n data: x id: 10-1")
		b.step(s, out, 500*time.Millisecond, fmt.Sprintf(count, 2)+"  "+figures)
		b.step(s, out, time.Second, fmt.Sprintf(count, 3))
		// A late step writes each thing once, and keeps the phase.
		r = b.step(s, out, 3100*time.Millisecond, fmt.Sprintf(count, 4)+"  "+figures)
		if r.Next < 6187*time.Millisecond || r.Next > 6500*time.Millisecond {
			t.Errorf("the next step is due at %v, want the heartbeat", r.Next)
		}
		r = b.step(s, out, 400*time.Millisecond, "id: 10-1")
		if r.Next != 7*time.Second || r.Ended != stream.Open {
			t.Errorf("%+v", r)
		}
		s.Close(stream.Gone)
	})
}

func TestABlockedStreamWaitsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0, stream.Config{CounterInterval: time.Second, Heartbeat: 5 * time.Second})
		s, out := b.open(stream.Request{Counter: true}, "n"), &output{takes: 1}
		r := b.step(s, out, 0, "retry: 1000 id: 10-0")
		if r.Next != stream.Never {
			t.Errorf("a blocked stream is due at %v", r.Next)
		}
		for i := range 3 {
			b.log.Publish(t, "n", fmt.Sprint(i))
		}
		b.step(s, out, 10*time.Second, "")
		out.takes = 2
		b.step(s, out, 0, "event: n data: 0 id: 10-1  event: n data: 1 id: 10-2")
		out.takes = -1
		b.step(s, out, 0, "event: n data: 2 id: 10-3  data: 1")
		s.Close(stream.Gone)
	})
}

func TestAReplayIsWrittenInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, stream.Config{Heartbeat: 5 * time.Second}) // a window of one event
		s, out := b.open(stream.Request{}, "n"), &output{takes: -1}
		b.step(s, out, 0, "retry: 1000 id: 10-0")
		for i := range 3 {
			b.log.Publish(t, "n", fmt.Sprint(i))
		}
		if r := b.step(s, out, 0, ""); !r.Behind {
			t.Fatal("the stream is not behind")
		}
		if r := b.step(s, out, 6*time.Second, "id: 10-0"); r.Behind || r.Next > 11*time.Second {
			t.Errorf("while the log is read: %+v", r)
		}
		entries, err := s.Replay(t.Context())
		must(t, err)
		s.Replayed(entries, nil)
		out.takes = 1
		b.step(s, out, 0, "event: n data: 0 id: 10-1")
		out.takes = -1
		b.step(s, out, 0, "event: n data: 1 id: 10-2  event: n data: 2 id: 10-3")
		s.Replayed(nil, errors.New("no log"))
		if r := b.step(s, out, 0, ""); r.Ended != stream.LogUnavailable {
			t.Errorf("without a log the stream says: %s", r.Ended)
		}
		s.Close(stream.LogUnavailable)
	})
}

func TestHowAStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0, stream.Config{})
		keys, err := auth.New(auth.Config{PublishToken: "a-token-for-the-tests"})
		must(t, err)
		operator, err := keys.Authenticate(t.Context(), "a-token-for-the-tests")
		must(t, err)
		begun := func(q stream.Request) (*stream.Stream, *output) {
			s, out := b.open(q, "n"), &output{takes: -1}
			b.step(s, out, 0, "retry: 1000 id: 10-0")
			return s, out
		}
		const drain, expired = `retry: 1000 event: drain data: {}`, `event: auth-expired data: {}`

		s, out := begun(stream.Request{})
		woken := 0
		s.Drive(func() { woken++ })
		s.Stop(stream.Ended)
		s.Stop(stream.Expired) // too late
		if r := b.step(s, out, 0, drain); r.Ended != stream.Ended || woken != 2 {
			t.Errorf("%+v, woken %d times", r, woken)
		}
		s.Drive(func() { woken++ }) // a new driver hears of it
		if woken != 3 {
			t.Errorf("woken %d times", woken)
		}
		s.Close(stream.Ended)

		s, out = begun(stream.Request{Caller: operator})
		other, _ := begun(stream.Request{})
		b.StopMatching(func(c auth.Caller) bool { return c.MayOperate() == nil }, stream.Expired)
		if r := b.step(s, out, 0, expired); r.Ended != stream.Expired || !r.Ended.Whole() {
			t.Errorf("%+v", r)
		}
		s.Close(stream.Expired)
		if b.Len() != 1 || b.Closed(stream.Expired) != 1 || b.Turnover() != 5 {
			t.Errorf("%d open, %d expired, turnover %d", b.Len(), b.Closed(stream.Expired), b.Turnover())
		}
		other.Close(stream.Gone)

		s, out = begun(stream.Request{})
		out.takes = 0
		s.Stop(stream.Ended)
		if r := b.step(s, out, 0, ""); r.Ended != stream.Ended {
			t.Errorf("a blocked stream that is stopped: %+v", r)
		}
		s.Close(stream.Ended)

		s, out = begun(stream.Request{})
		out.err = stream.ErrStalled
		b.log.Publish(t, "n", "x")
		synctest.Wait()
		var scratch stream.Scratch
		if r := s.Step(b.Now(), out, &scratch); r.Ended != stream.Stalled {
			t.Errorf("a stalled client: %+v", r)
		}
		s.Close(stream.Stalled)
	})
}

func TestLimitsAndDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0, stream.Config{MaxStreams: 3, MaxPerAddress: 2})
		here, there := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
		first := b.open(stream.Request{Address: here})
		b.open(stream.Request{Address: here}).Close(stream.Gone)
		second := b.open(stream.Request{Address: here})
		if _, err := b.Open(t.Context(), stream.Request{Address: here}); !errors.Is(err, stream.ErrAddressFull) {
			t.Errorf("a third stream of an address: %v", err)
		}
		third := b.open(stream.Request{Address: there})
		if _, err := b.Open(t.Context(), stream.Request{Address: there}); !errors.Is(err, stream.ErrFull) {
			t.Errorf("a fourth stream: %v", err)
		}
		infos := []string{}
		for _, s := range b.Newest(2) {
			infos = append(infos, s.Info().Address)
		}
		if got := strings.Join(infos, " "); got != "2001:db8::/64 192.0.2.1" {
			t.Errorf("the newest are of %s", got)
		}
		if older := b.Older(third.ID(), -1); len(older) != 2 || older[0] != second || older[1] != first {
			t.Errorf("%d streams are older than the third", len(older))
		}
		if id := second.ID(); b.Find(id) != second || b.Find(id+100) != nil {
			t.Error("streams are not found by their IDs")
		}
		second.Close(stream.Gone)

		drained := make(chan error, 1)
		go func() { drained <- b.Drain(t.Context(), time.Hour) }()
		synctest.Wait()
		if _, err := b.Open(t.Context(), stream.Request{Address: there}); !errors.Is(err, stream.ErrDraining) {
			t.Errorf("a stream while draining: %v", err)
		}
		// Two streams take 10 ms, not an hour.
		for _, s := range []*stream.Stream{first, third} {
			var scratch stream.Scratch
			out := &output{takes: -1}
			r := s.Step(b.Now(), out, &scratch)
			if r.Ended == stream.Open && r.Next > b.Now()+11*time.Millisecond {
				t.Errorf("a stream is to be drained at %v", r.Next)
			}
			<-time.After(r.Next - b.Now())
			if r := s.Step(b.Now(), out, &scratch); r.Ended != stream.Drained {
				t.Errorf("when its time has come: %+v", r)
			}
			s.Close(stream.Drained)
		}
		must(t, <-drained)
	})
}

// Some issuers write an expiry that a time.Duration cannot reach.
func TestAFarExpiryIsNoExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0, stream.Config{})
		const secret = "thirty-two-bytes-of-a-JWT-secret"
		keys, err := auth.New(auth.Config{JWTSecret: secret})
		must(t, err)
		year9999 := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "a", "exp": year9999}).SignedString([]byte(secret))
		must(t, err)
		caller, err := keys.Authenticate(t.Context(), token)
		must(t, err)
		<-time.After(time.Second) // the registry is older than its stream
		s, out := b.open(stream.Request{Caller: caller}, "n"), &output{takes: -1}
		if r := b.step(s, out, 0, "retry: 1000 id: 10-0"); r.Ended != stream.Open || r.Next != stream.Never {
			t.Errorf("%s, the next step is due at %v", r.Ended, r.Next)
		}
		s.Close(stream.Gone)
	})
}

func TestStatsAreOptional(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0, stream.Config{StatsInterval: time.Second})
		s, out := b.open(stream.Request{Stats: true}, "n"), &output{takes: -1}
		b.step(s, out, 0, "retry: 1000 id: 10-0")
		b.step(s, out, time.Second, "")
		s.Close(stream.Gone)
	})
}

// A parked stream has no other place that would say it.
func TestAFailedReadIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		b := newBench(t, 0, stream.Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		s := b.open(stream.Request{}, "n")
		b.log.Fail(errors.New("disk is gone"))
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := s.Replay(ctx); err == nil || strings.Count(logged.String(), "disk is gone") != 1 {
			t.Errorf("%v, logged: %s", err, logged.String())
		}
		cancel()
		if _, err := s.Replay(ctx); err == nil || strings.Count(logged.String(), "\n") != 1 {
			t.Errorf("after the client left: %v, logged: %s", err, logged.String())
		}
		s.Close(stream.LogUnavailable)
	})
}
