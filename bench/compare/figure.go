package compare

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
	Digits  int    `json:"-"` // after the decimal point
	More    bool   `json:"more_is_better"`
	Meaning string `json:"meaning"` // for an operator
}

func figureKinds() []figureKind {
	return []figureKind{
		{"memory", "memory of an idle reader", "bytes", 0, false,
			"How many pages can be open on a small machine: a gigabyte divided by this. With every server, the system needs about 4 KiB more for each socket."},
		{"opened", "connections opened", "a second", 0, true,
			"How fast all pages are back after a restart, or when many people follow a link."},
		{"cpu_5hz", "CPU for a delivery, 5 events a second", "µs", 2, false,
			"The cost of everyday traffic: events × readers × this, in seconds of one core."},
		{"cpu_flood", "CPU for a delivery, as fast as possible", "µs", 2, false,
			"The same when events come faster than they can be written one by one. A server that writes several events at once needs less than the minimal server."},
		{"deliveries", "deliveries, as fast as possible", "a second", 0, true,
			"The most that one machine of this size delivers, including the readers' side of the work."},
		{"p50", "latency, median", "ms", 2, false,
			"How long a page usually waits between the backend's call and its event."},
		{"p99", "latency, 99th percentile", "ms", 2, false,
			"How long the slowest deliveries take: to the last of a thousand readers, or during a garbage collection."},
		{"p999", "latency, 99.9th percentile", "ms", 2, false,
			"The same for one delivery in a thousand."},
		{"cpu_counter", "CPU for a count of the topic counter", "µs", 2, false,
			"The cost of a counter for each page: readers × this, in seconds of one core, every second."},
		{"storm", "all readers back, 100 events behind", "s", 2, false,
			"How long after a network outage the last page is up to date."},
		{"acks_1", "publishes, one after the other", "a second", 0, true,
			"The rate of one backend that waits for each answer. Freshet answers when the event is on disk; the other servers here keep nothing on disk."},
		{"acks_64", "publishes, 64 at a time", "a second", 0, true,
			"The rate of many backends together: events that come at the same time share the wait for the disk."},
		{"acks_bulk", "publishes, 4000 in a request", "a second", 0, true,
			"How fast many events are imported, as NDJSON."},
	}
}

// results are the figures of a run.
type results struct {
	When    time.Time       `json:"when"`
	Machine machine         `json:"machine"`
	Options Options         `json:"options"`
	Skipped []string        `json:"skipped"` // servers that are not installed
	Kinds   []figureKind    `json:"kinds"`
	Figures []figure        `json:"figures"`
	Targets []targetResult  `json:"targets"`
	Lost    map[string]loss `json:"lost"` // by server
}

// loss counts faulty deliveries.
type loss struct {
	Lost     uint64 `json:"lost"`
	Repeated uint64 `json:"repeated"`
}

// figure is one kind of figure of one server.
type figure struct {
	Kind   string    `json:"kind"`
	Server string    `json:"server"`
	Values []float64 `json:"values"` // by round
	Median float64   `json:"median"`
	Least  float64   `json:"least"`
	Most   float64   `json:"most"`
}

func newResults(o Options) *results {
	return &results{When: time.Now(), Options: o, Kinds: figureKinds(), Lost: map[string]loss{}}
}

// add adds the sample of one round.
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
	r.Targets = r.checkTargets()
}

// find returns nil if there is no such figure.
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

// lost returns an error if a reader of Freshet or of the minimal server did not get every event once.
func (r *results) lost() error {
	var errs []error
	for _, name := range []string{minimal, freshet, freshetStream} {
		if l := r.Lost[name]; l.Lost+l.Repeated > 0 {
			errs = append(errs, fmt.Errorf("%s: %d deliveries were lost, and %d repeated", name, l.Lost, l.Repeated))
		}
	}
	return errors.Join(errs...)
}

// writeJSON writes nothing if the name is empty.
func (r *results) writeJSON(name string) error {
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644) //nolint:gosec // everyone may read it
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
	r.Kinds, r.Targets = figureKinds(), r.checkTargets() // those of this version
	return r, nil
}
