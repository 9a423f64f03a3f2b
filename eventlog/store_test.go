package eventlog_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func openStore(t *testing.T, l *eventlog.Log) *eventlog.Store {
	t.Helper()
	s, err := l.Store(t.Context())
	must(t, err)
	return s
}

func TestTheRulesOfTheStore(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		l := open(t, eventlog.Config{Dir: t.TempDir()})
		eventlogtest.TestStore(t, openStore(t, l), openStore(t, l))
	})
	t.Run("two nodes of a cluster", func(t *testing.T) {
		url := clusterNATS(t)
		a, b := open(t, eventlog.Config{NATS: url, Replicas: 3}), open(t, eventlog.Config{NATS: url, Replicas: 3})
		eventlogtest.TestStore(t, openStore(t, a), openStore(t, b))
	})
	t.Run("in memory", func(t *testing.T) {
		s := eventlogtest.NewStore()
		eventlogtest.TestStore(t, s, s)
	})
}

// watch sends what the store holds, "loaded", and what is written to it.
func watch(ctx context.Context, s *eventlog.Store) (changes chan string, done chan error) {
	changes, done = make(chan string, 1000), make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(key string, value []byte, _ uint64) { changes <- key + "=" + string(value) }, func() { changes <- "loaded" })
	}()
	return changes, done
}

// The store outlives its process, and the log beside it is unchanged.
func TestTheStoreOverARestart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	id := appendOne(t, l, "a", "x", "")
	s := openStore(t, l)
	must(t, s.Create(t.Context(), "key", []byte("secret")))
	_, err := s.Put(t.Context(), "id.gone", []byte("1"), time.Second)
	must(t, err)
	_, err = s.Put(t.Context(), "id.stays", []byte("1"), time.Hour)
	must(t, err)
	must(t, l.Close())

	l = open(t, eventlog.Config{Dir: dir})
	if l.Epoch() != id.Epoch() || len(read(t, l, 0, ">")) != 1 {
		t.Error("the log is another one")
	}
	s = openStore(t, l)
	must(t, s.Create(t.Context(), "key", []byte("another")))
	// A key whose TTL has ended is deleted: reported to nobody, and no change for a watch that is open.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := ""; got != "key=secret id.stays=1 loaded"; {
		watching, stop := context.WithCancel(ctx)
		changes, done := watch(watching, s)
		var all []string
		for len(all) == 0 || all[len(all)-1] != "loaded" {
			all = append(all, first(t, changes, done))
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		got = strings.Join(all, " ")
	}
}

// A watch survives a restart of NATS: it starts over, and reports what others wrote meanwhile.
func TestAWatchOverARestartOfTheNATS(t *testing.T) {
	dir := t.TempDir()
	port := quietPort(t)
	nats1 := startNATS(t, dir, port)
	s := openStore(t, open(t, eventlog.Config{NATS: nats1.ClientURL()}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes, done := watch(ctx, s)
	reports := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := first(t, changes, done); got != w {
				t.Errorf("reported %q, want %q", got, w)
			}
		}
	}
	reports("loaded")
	_, err := s.Put(ctx, "id.a", []byte("1"), time.Hour)
	must(t, err)
	reports("id.a=1")
	nats1.Shutdown()
	nats1.WaitForShutdown()
	soon, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	if _, err := s.Put(soon, "id.b", []byte("1"), time.Hour); !errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("without NATS: %v", err)
	}
	nats2 := startNATS(t, dir, port)
	nc, err := nats.Connect(nats2.ClientURL())
	must(t, err)
	defer nc.Close()
	_, err = nc.Request("$KV.freshet-store.id.b", []byte("2"), 10*time.Second)
	must(t, err)
	// Whether the write comes before or after loading depends on how fast the node reconnects.
	var all []string
	for range 3 {
		all = append(all, first(t, changes, done))
	}
	if got := strings.Join(all, " "); got != "id.a=1 id.b=2 loaded" && got != "id.a=1 loaded id.b=2" {
		t.Errorf("reported %q", got)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

// The library's watcher blocks on a channel of 256 changes. A watch that ends while many are on their way ends at once all the same.
func TestAWatchEndsInTheMiddle(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir(), SyncInterval: time.Hour})
	s := openStore(t, l)
	for i := range 600 {
		_, err := s.Put(t.Context(), "id."+strconv.Itoa(i), []byte("1"), time.Hour)
		must(t, err)
	}
	for n := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		seen := 0
		began := time.Now()
		err := s.Watch(ctx, func(string, []byte, uint64) {
			if seen++; seen == n*n {
				cancel()
			}
		}, cancel)
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 10*time.Second {
			t.Errorf("ended after %d changes and %v with %v", seen, took, err)
		}
		cancel()
	}
}

func TestTheStoreIsBounded(t *testing.T) {
	url := externalNATS(t)
	s := openStore(t, open(t, eventlog.Config{NATS: url}))
	_, err := s.Put(t.Context(), "id.a", []byte("1"), time.Hour)
	must(t, err)
	if _, err := s.Put(t.Context(), "id.a", make([]byte, 2000), time.Hour); !errors.Is(err, eventlog.ErrTooLarge) {
		t.Errorf("a value of 2,000 bytes: %v", err)
	}
	// To the tools of NATS it is a key-value bucket like others.
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	kv, err := js.KeyValue(t.Context(), "freshet-store")
	must(t, err)
	if entry, err := kv.Get(t.Context(), "id.a"); err != nil || string(entry.Value()) != "1" {
		t.Errorf("%v, %v", entry, err)
	}
	// A full bucket refuses values, and loses none.
	_, err = js.UpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "freshet-store", MaxBytes: 300, MaxValueSize: 1024, LimitMarkerTTL: time.Second})
	must(t, err)
	for i := 0; err == nil && i < 10; i++ {
		_, err = s.Put(t.Context(), "id.b"+strconv.Itoa(i), []byte("1"), time.Hour)
	}
	if !errors.Is(err, eventlog.ErrFull) {
		t.Errorf("a full store: %v", err)
	}
	if _, err := kv.Get(t.Context(), "id.a"); err != nil {
		t.Errorf("a value of a full store: %v", err)
	}
}
