package scale

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// table is one series of sizes.
type table struct {
	caption, of string
	points      []point
}

// figures are the columns of a table.
var figures = []struct {
	title, unit string
	digits      int
	of          func(point) float64
}{
	{"memory of a connection", "bytes", 0, func(p point) float64 { return p.memory }},
	{"memory of its socket in the kernel", "bytes", 0, func(p point) float64 { return p.kernel }},
	{"CPU of an idle connection", "µs a second", 2, func(p point) float64 { return p.idle }},
	{"CPU of a delivery", "µs", 2, func(p point) float64 { return p.delivery }},
	{"CPU of a publish with its deliveries", "µs", 0, func(p point) float64 { return p.publish }},
	{"latency, median", "ms", 2, func(p point) float64 { return p.p50 }},
	{"latency, 99th percentile", "ms", 2, func(p point) float64 { return p.p99 }},
}

// String is the table as Markdown.
func (t table) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n| %s |", t.caption, t.of)
	for _, f := range figures {
		fmt.Fprintf(&text, " %s, %s |", f.title, f.unit)
	}
	text.WriteString("\n|" + strings.Repeat("---:|", len(figures)+1))
	for _, p := range t.points {
		fmt.Fprintf(&text, "\n| %d |", p.size)
		for _, f := range figures {
			fmt.Fprintf(&text, " %s |", strconv.FormatFloat(f.of(p), 'f', f.digits, 64))
		}
	}
	return text.String()
}

// The page that shows the plot may be light or dark.
const plotStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.faint { fill: #59636e }
.axis { stroke: #d1d9e0; fill: none }
.line { stroke: #0969da; stroke-width: 2; fill: none }
.dot { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .faint { fill: #9198a1 }
  .axis { stroke: #3d444d }
  .line { stroke: #4493f8 }
  .dot { fill: #4493f8 }
}
</style>
`

// Sizes in the plot's units.
const (
	panelWidth  = 380
	panelHeight = 170
	marginLeft  = 64
	marginRight = 24
	marginTop   = 34
	marginLow   = 30
)

// plot draws memory, processor time and latency of the tables beside each other.
func plot(tables ...table) []byte {
	chosen := []int{0, 3, 4, 5} // of the figures
	var svg bytes.Buffer
	width, height := panelWidth*len(tables), panelHeight*len(chosen)
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%d" role="img">`+"\n", width, height, height)
	fmt.Fprintf(&svg, "<title>How the cost of one node grows with connections and with topics</title>\n%s", plotStyle)
	for column, t := range tables {
		for row, f := range chosen {
			fmt.Fprintf(&svg, `<g transform="translate(%d %d)">`, column*panelWidth, row*panelHeight)
			t.panel(&svg, f)
			svg.WriteString("</g>\n")
		}
	}
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

// panel draws one figure over the sizes. The scale of the sizes is logarithmic, that of the figure begins at 0.
func (t table) panel(svg *bytes.Buffer, n int) {
	f := figures[n]
	most := 0.0
	for _, p := range t.points {
		most = max(most, f.of(p))
	}
	top := ceiling(most)
	first, last := math.Log(float64(t.points[0].size)), math.Log(float64(t.points[len(t.points)-1].size))
	x := func(size int) float64 {
		if first == last {
			return marginLeft
		}
		return marginLeft + (math.Log(float64(size))-first)/(last-first)*(panelWidth-marginLeft-marginRight)
	}
	y := func(value float64) float64 {
		return marginTop + (1-max(value, 0)/top)*(panelHeight-marginTop-marginLow)
	}
	fmt.Fprintf(svg, `<text class="title" x="8" y="20">%s, %s</text>`+"\n", f.title, f.unit)
	for _, value := range []float64{0, top / 2, top} {
		fmt.Fprintf(svg, `<path class="axis" d="M%d %.1fH%d"/><text class="faint" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			marginLeft, y(value), panelWidth-marginRight, marginLeft-6, y(value)+4, strconv.FormatFloat(value, 'g', 4, 64))
	}
	var line bytes.Buffer
	for i, p := range t.points {
		fmt.Fprintf(&line, "%c%.1f %.1f", "ML"[min(i, 1)], x(p.size), y(f.of(p)))
		fmt.Fprintf(svg, `<circle class="dot" cx="%.1f" cy="%.1f" r="3"/>`, x(p.size), y(f.of(p)))
		fmt.Fprintf(svg, `<text class="faint" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(p.size), panelHeight-marginLow+18, short(p.size))
	}
	fmt.Fprintf(svg, `<path class="line" d="%s"/>`+"\n", line.String())
	fmt.Fprintf(svg, `<text class="faint" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", panelWidth-marginRight, marginTop-14, t.of)
}

// ceiling rounds up to 1, 2 or 5 times a power of ten.
func ceiling(value float64) float64 {
	if value <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(value)))
	for _, step := range []float64{1, 2, 5} {
		if value <= step*power {
			return step * power
		}
	}
	return 10 * power
}

func short(n int) string {
	if n >= 1000 && n%1000 == 0 {
		return strconv.Itoa(n/1000) + "k"
	}
	return strconv.Itoa(n)
}
