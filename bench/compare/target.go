package compare

// target is a limit for a figure of Freshet: a fixed one, or a multiple of another figure of the
// same round.
type target struct {
	Kind    string  `json:"kind"`
	Server  string  `json:"server"`
	Beside  string  `json:"beside,omitempty"`   // the server whose figure the limit multiplies; empty: the limit is fixed
	BesideK string  `json:"kind_of,omitempty"`  // the kind of that figure, if it differs
	AtLeast bool    `json:"at_least,omitempty"` // otherwise at most
	Limit   float64 `json:"limit"`
}

// targetResult says whether a target was met.
type targetResult struct {
	target
	Values []float64 `json:"values"` // by round
	Median float64   `json:"median"`
	Met    bool      `json:"met"`
}

func targets() []target {
	return []target{
		{Kind: "memory", Server: freshet, Limit: 2048},
		{Kind: "memory", Server: freshetStream, Limit: 26 * 1024},
		{Kind: "cpu_5hz", Server: freshet, Beside: minimal, Limit: 1.15},
		{Kind: "cpu_5hz", Server: freshetStream, Beside: minimal, Limit: 2},
		{Kind: "cpu_flood", Server: freshet, Beside: minimal, Limit: 0.5},
		{Kind: "cpu_flood", Server: freshetStream, Beside: minimal, Limit: 1},
		{Kind: "p50", Server: freshet, Beside: minimal, Limit: 1.5},
		{Kind: "p99", Server: freshet, Beside: minimal, Limit: 2},
		{Kind: "p50", Server: freshetStream, Beside: minimal, Limit: 3},
		{Kind: "p99", Server: freshetStream, Beside: minimal, Limit: 4},
		{Kind: "cpu_counter", Server: freshet, Beside: minimal, Limit: 1.3},
		{Kind: "opened", Server: freshet, Beside: plainGin, AtLeast: true, Limit: 1.3},
		{Kind: "opened", Server: freshetStream, Beside: plainGin, AtLeast: true, Limit: 1},
		{Kind: "storm", Server: freshet, Beside: goSSE, Limit: 1},
		{Kind: "acks_64", Server: freshet, Beside: freshet, BesideK: "acks_1", AtLeast: true, Limit: 4},
		{Kind: "acks_bulk", Server: freshet, AtLeast: true, Limit: 50_000},
	}
}

// checkTargets compares the figures with the targets that have some.
func (r *results) checkTargets() (reached []targetResult) {
	for _, t := range targets() {
		f := r.find(t.Kind, t.Server)
		if f == nil {
			continue
		}
		values := append([]float64(nil), f.Values...)
		if t.Beside != "" {
			kind := t.Kind
			if t.BesideK != "" {
				kind = t.BesideK
			}
			beside := r.find(kind, t.Beside)
			if beside == nil || len(beside.Values) != len(values) {
				continue
			}
			for i := range values {
				values[i] /= beside.Values[i]
			}
		}
		m := median(values)
		met := m <= t.Limit
		if t.AtLeast {
			met = m >= t.Limit
		}
		reached = append(reached, targetResult{t, values, m, met})
	}
	return reached
}
