//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// figureKind is one thing that is measured.
type figureKind struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Unit    string `json:"unit"`
	Digits  int    `json:"-"` // behind the point
	More    bool   `json:"more_is_better"`
	Meaning string `json:"meaning"` // to whoever runs a server
}

func figureKinds() []figureKind {
	return []figureKind{
		{"memory", "memory of an idle reader", "bytes", 0, false,
			"How many pages can be open on a small machine: a gigabyte holds its size divided by this. The system needs about 4 KiB more for each socket, with every server."},
		{"opened", "connections opened", "a second", 0, true,
			"How fast all pages are back after a restart, or when a link is posted where many see it."},
		{"cpu_5hz", "CPU for a delivery, 5 events a second", "µs", 2, false,
			"What the everyday traffic costs: events × readers × this, in seconds of one core."},
		{"cpu_flood", "CPU for a delivery, as fast as possible", "µs", 2, false,
			"The same where more is published than can be written one by one: whoever writes several events at once gets below the minimal server."},
		{"deliveries", "deliveries, as fast as possible", "a second", 0, true,
			"The most that one machine of this size delivers, the readers' side of the work included."},
		{"p50", "publish to read, half within", "ms", 2, false,
			"What a page usually waits between the backend's call and its event."},
		{"p99", "publish to read, 99 % within", "ms", 2, false,
			"What the unlucky wait: the last of a thousand readers that are written to one after the other, or behind a collection of garbage."},
		{"p999", "publish to read, 99.9 % within", "ms", 2, false,
			"The same for one delivery in a thousand."},
		{"cpu_counter", "CPU for a count of the topic counter", "µs", 2, false,
			"What it costs that each page has its own counter: readers × this, in seconds of one core, every second."},
		{"storm", "all readers back, 100 events behind", "s", 2, false,
			"How long after a network outage the last page is up to date."},
		{"acks_1", "publishes, one after the other", "a second", 0, true,
			"What one backend gets that waits for each answer. Freshet's is sent when the event is on disk; nobody else here keeps anything on disk."},
		{"acks_64", "publishes, 64 at a time", "a second", 0, true,
			"What many backends get together: events that come at once share the wait for the disk."},
		{"acks_bulk", "publishes, 4000 in a request", "a second", 0, true,
			"How fast many events are brought in, as NDJSON."},
	}
}

// results is all that a run has found.
type results struct {
	When    time.Time       `json:"when"`
	Machine machine         `json:"machine"`
	Options options         `json:"options"`
	LeftOut []string        `json:"left_out"`
	Kinds   []figureKind    `json:"kinds"`
	Figures []figure        `json:"figures"`
	Targets []targetResult  `json:"targets"`
	Lost    map[string]loss `json:"lost"` // by server
}

// loss is what went wrong with deliveries.
type loss struct {
	Lost     uint64 `json:"lost"`
	Repeated uint64 `json:"repeated"`
}

// figure is what one server has reached of one kind.
type figure struct {
	Kind   string    `json:"kind"`
	Server string    `json:"server"`
	Values []float64 `json:"values"` // by round
	Median float64   `json:"median"`
	Least  float64   `json:"least"`
	Most   float64   `json:"most"`
}

func newResults(o options) *results {
	return &results{When: time.Now(), Options: o, Kinds: figureKinds(), Lost: map[string]loss{}}
}

// add takes the sample of one round.
func (r *results) add(server string, s sample) {
	for _, k := range r.Kinds {
		value, ok := s.figures[k.Name]
		if !ok {
			continue
		}
		f := r.find(k.Name, server)
		if f == nil {
			r.Figures = append(r.Figures, figure{Kind: k.Name, Server: server})
			f = &r.Figures[len(r.Figures)-1]
		}
		f.Values = append(f.Values, value)
		f.Median, f.Least, f.Most = median(f.Values), slices.Min(f.Values), slices.Max(f.Values)
	}
	l := r.Lost[server]
	l.Lost += s.lost
	l.Repeated += s.repeated
	r.Lost[server] = l
	r.Targets = r.targets()
}

// find returns nil if there is none.
func (r *results) find(kind, server string) *figure {
	for i, f := range r.Figures {
		if f.Kind == kind && f.Server == server {
			return &r.Figures[i]
		}
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// lost is an error where a reader of ours has not got every event once.
func (r *results) lost() error {
	var errs []error
	for _, name := range []string{minimal, freshet, freshetStream} {
		if l := r.Lost[name]; l.Lost+l.Repeated > 0 {
			errs = append(errs, fmt.Errorf("%s: %d deliveries were lost, and %d repeated", name, l.Lost, l.Repeated))
		}
	}
	return errors.Join(errs...)
}

// writeJSON writes nothing if there is no name.
func (r *results) writeJSON(name string) error {
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644) //nolint:gosec // it is for everybody
}

func readJSON(name string) (*results, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	r.Kinds, r.Targets = figureKinds(), r.targets() // as they are now
	return r, nil
}
