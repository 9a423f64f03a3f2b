package compare

import (
	"bytes"
	"fmt"
)

// Sizes in the plot's units.
const (
	plotWidth  = 760
	panelWidth = plotWidth / 2
	labelWidth = 96
	valueWidth = 64
	rowHeight  = 20
	titleSpace = 34
)

// The page that shows the plot may be light or dark.
const plotStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.faint { fill: #59636e }
.bar { fill: #a8b3bf }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .faint { fill: #9198a1 }
  .bar { fill: #59636e }
  .ours { fill: #4493f8 }
}
</style>
`

// plot draws bar charts of the most important figures.
func (r *results) plot() []byte {
	names := r.servers()
	panelHeight := titleSpace + len(names)*rowHeight + 16
	var panels bytes.Buffer
	n := 0
	for _, kind := range []string{"memory", "cpu_5hz", "cpu_flood", "p99"} {
		for _, k := range r.Kinds {
			if k.Name == kind && r.panel(&panels, k, names, n%2*panelWidth, n/2*panelHeight) {
				n++
			}
		}
	}
	height := (n + 1) / 2 * panelHeight
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%d" role="img">`+"\n", plotWidth, height, height)
	fmt.Fprintf(&svg, "<title>Freshet beside other servers of event streams; shorter is better</title>\n%s", plotStyle)
	svg.Write(panels.Bytes())
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

// panel draws one chart, or returns false if there are no figures for it.
func (r *results) panel(out *bytes.Buffer, k figureKind, names []string, left, top int) bool {
	most := 0.0
	for _, name := range names {
		if f := r.find(k.Name, name); f != nil {
			most = max(most, f.Median)
		}
	}
	if most == 0 {
		return false
	}
	fmt.Fprintf(out, `<g transform="translate(%d %d)"><text class="title" x="8" y="20">%s, %s</text>`+"\n", left, top, k.Title, k.Unit)
	const room = panelWidth - labelWidth - valueWidth - 16
	for i, name := range names {
		y := titleSpace + i*rowHeight
		fmt.Fprintf(out, `<text class="faint" x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth+2, y+12, name)
		f := r.find(k.Name, name)
		if f == nil {
			fmt.Fprintf(out, `<text class="faint" x="%d" y="%d">not measured</text>`+"\n", labelWidth+8, y+12)
			continue
		}
		class := "bar"
		if ours(name) {
			class = "ours"
		}
		width := max(1, f.Median/most*room)
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="14" rx="2"/><text x="%.1f" y="%d">%s</text>`+"\n",
			class, labelWidth+8, y+1, width, labelWidth+13+width, y+12, number(f.Median, k.Digits))
	}
	out.WriteString("</g>\n")
	return true
}
