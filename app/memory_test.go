package app

import "testing"

func TestACrowdSettles(t *testing.T) {
	var c crowd
	for i, second := range []struct {
		turnover uint64
		settled  bool
	}{
		{0, false},
		{50, false}, // few
		{900, false},
		{2000, false}, // they come
		{2099, true},
		{2100, false}, // told already
		{3000, false},
		{3098, false}, // 999 since
		{3099, true},
		{5000, false},
		{7000, false},
		{7000, true},
	} {
		if got := c.settled(second.turnover); got != second.settled {
			t.Errorf("second %d, turnover %d: settled %v", i, second.turnover, got)
		}
	}
}
