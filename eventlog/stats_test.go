package eventlog_test

import (
	"errors"
	"strings"
	"testing"

	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
)

func TestStatsCountAppendsByTheirReceipt(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir(), MaxEvent: 1000})
	entry := func(data, key string) eventlog.Entry {
		return eventlog.Entry{Event: eventlogtest.NewEvent(t, "news", "news", data), Key: key}
	}
	l.Append(t.Context(), entry("one", "k"))
	l.Append(t.Context(), entry("one", "k"))
	l.AppendAll(t.Context(), []eventlog.Entry{entry("two", ""), entry("one", "k"), entry("three", "")})
	if r := l.Append(t.Context(), entry(strings.Repeat("x", 200_000), "")); !errors.Is(r.Err, eventlog.ErrTooLarge) {
		t.Fatal(r.Err)
	}
	if s := l.Stats(); s.Stored != 3 || s.Repeats != 2 || s.Failed != 1 || s.Appends.Count() != 4 || s.Appends.Sum() <= 0 || !s.Connected || s.Reconnects != 0 {
		t.Errorf("stored %d, repeats %d, failed %d, %d appends in %v, connected %v, %d reconnects",
			s.Stored, s.Repeats, s.Failed, s.Appends.Count(), s.Appends.Sum(), s.Connected, s.Reconnects)
	}
}
