package metrics

import (
	"time"

	"freshet/metrics/latency"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// sink takes the metrics of a scrape. Labels are pairs of a name and a value.
type sink chan<- prometheus.Metric

func (s sink) gauge(name, help string, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(describe(name, help, labels), prometheus.GaugeValue, value)
}

func (s sink) counter(name, help string, value uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(describe(name, help, labels), prometheus.CounterValue, float64(value))
}

func describe(name, help string, labels []string) *prometheus.Desc {
	constant := prometheus.Labels{}
	for i := 0; i < len(labels); i += 2 {
		constant[labels[i]] = labels[i+1]
	}
	return prometheus.NewDesc(name, help, nil, constant)
}

// The classic buckets of a histogram: up to 2^-14 s, 61 microseconds, and so on up to 2^6 s.
const (
	leastOctave = -14
	mostOctave  = 6
)

func (s sink) histogram(name, help string, h latency.Snapshot) {
	shortest, byKey := h.Buckets()
	native := prometheus.MustNewConstNativeHistogram(describe(name, help, nil), h.Count(), h.Sum().Seconds(), byKey, nil,
		shortest, latency.Schema, latency.Shortest(), time.Time{})
	s <- histogram{native, prometheus.MustNewConstHistogram(native.Desc(), h.Count(), h.Sum().Seconds(), h.Octaves(leastOctave, mostOctave))}
}

// histogram is a native histogram with the buckets of a classic one.
type histogram struct {
	prometheus.Metric // the native one
	classic           prometheus.Metric
}

// Write implements [prometheus.Metric].
func (h histogram) Write(out *dto.Metric) error {
	var classic dto.Metric
	if err := h.classic.Write(&classic); err != nil {
		return err
	}
	if err := h.Metric.Write(out); err != nil {
		return err
	}
	out.Histogram.Bucket = classic.GetHistogram().GetBucket()
	return nil
}
