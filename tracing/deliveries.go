package tracing

import (
	"context"
	"sync/atomic"
	"time"

	"freshet/event"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

const (
	// scope is the name of this package in each span.
	scope = "freshet/tracing"
	// collectFor is how long the deliveries of an event count. A slower reader is not in the span.
	collectFor = 5 * time.Second
	// maxOpen bounds the events whose deliveries are being counted.
	maxOpen = 4096
)

// Deliveries counts the deliveries of events whose publish is in a sampled trace. Each event gets one span, from the moment at which this node
// has read it from the log until the last delivery. The span is a child of the span that has published the event, and links to it. An event
// that no reader got has no span.
type Deliveries struct {
	tracer trace.Tracer
	node   string
	open   [maxOpen]atomic.Pointer[delivery] // the event of sequence s is in slot s modulo their number
}

// delivery is an event that is being delivered.
type delivery struct {
	id    event.ID
	topic string
	trace event.Trace
	began time.Time
	count atomic.Int64
	took  atomic.Int64 // nanoseconds from began until the last delivery
}

// NewDeliveries returns deliveries that make spans with the provider. node is the name of this node.
func NewDeliveries(provider trace.TracerProvider, node string) *Deliveries {
	return &Deliveries{tracer: provider.Tracer(scope), node: node}
}

func (d *Deliveries) slot(id event.ID) *atomic.Pointer[delivery] { return &d.open[id.Seq()%maxOpen] }

// Begin counts the deliveries of the event from now on. If too many events are being delivered, the oldest one's span ends earlier.
func (d *Deliveries) Begin(e event.Event) {
	d.end(d.slot(e.ID()).Swap(&delivery{id: e.ID(), topic: e.Topic().String(), trace: e.Trace(), began: time.Now()}))
}

// Delivered counts a delivery at the time now, if the event's deliveries are being counted. Any goroutine may call it.
func (d *Deliveries) Delivered(id event.ID, now time.Time) {
	v := d.slot(id).Load()
	if v == nil || v.id != id {
		return
	}
	v.count.Add(1)
	took := int64(now.Sub(v.began))
	for {
		longest := v.took.Load()
		if took <= longest || v.took.CompareAndSwap(longest, took) {
			return
		}
	}
}

// Run ends the spans that have collected deliveries long enough, and all of them once ctx is done.
func (d *Deliveries) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.endOlder(collectFor)
		case <-ctx.Done():
			d.endOlder(0)
			return nil
		}
	}
}

func (d *Deliveries) endOlder(age time.Duration) {
	for i := range d.open {
		if v := d.open[i].Load(); v != nil && time.Since(v.began) >= age && d.open[i].CompareAndSwap(v, nil) {
			d.end(v)
		}
	}
}

// end makes the span. A delivery that comes at this moment may be missing in it.
func (d *Deliveries) end(v *delivery) {
	if v == nil || v.count.Load() == 0 {
		return
	}
	ctx := withParent(context.Background(), v.trace)
	_, span := d.tracer.Start(ctx, "deliver",
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.LinkFromContext(ctx)),
		trace.WithTimestamp(v.began),
		trace.WithAttributes(
			attribute.String("messaging.system", "freshet"),
			attribute.String("messaging.operation.name", "deliver"),
			attribute.String("messaging.destination.name", v.topic),
			attribute.String("messaging.message.id", v.id.String()),
			attribute.String("freshet.node", d.node),
			attribute.Int64("freshet.deliveries", v.count.Load()),
		))
	span.End(trace.WithTimestamp(v.began.Add(time.Duration(v.took.Load()))))
}
