package compare

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// servers are the names of servers that have figures.
func (r *results) servers() (names []string) {
	for _, name := range serverNames() {
		if _, ok := r.Lost[name]; ok {
			names = append(names, name)
		}
	}
	return names
}

// print prints the table of medians with their spread, and on request the targets.
func (r *results) print(out io.Writer, targets bool) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	w := io.Writer(table)
	fmt.Fprintf(w, "\t%s\t\n", strings.Join(r.servers(), "\t"))
	for _, k := range r.Kinds {
		if cells, any := r.row(k, "-"); any {
			fmt.Fprintf(w, "%s, %s\t%s\t\n", k.Title, k.Unit, strings.Join(cells, "\t"))
		}
	}
	fmt.Fprintf(w, "lost + repeated\t%s\t\n", strings.Join(r.losses(), "\t"))
	_ = table.Flush() // nothing can be done about a broken terminal
	fmt.Fprintln(out)
	for _, t := range r.Targets {
		if !targets {
			break
		}
		met := "met"
		if !t.Met {
			met = "MISSED"
		}
		fmt.Fprintf(out, "%-6s  %s: %s\n", met, t.sentence(), number(t.Median, 2))
	}
	for _, name := range r.Skipped {
		fmt.Fprintf(out, "skipped because it is not installed: %s\n", name)
	}
}

// row returns the figures of one kind, a cell for each server.
func (r *results) row(k figureKind, none string) (cells []string, any bool) {
	for _, name := range r.servers() {
		f := r.find(k.Name, name)
		if f == nil {
			cells = append(cells, none)
			continue
		}
		any = true
		cell := number(f.Median, k.Digits)
		if spread := (f.Most - f.Least) / f.Median / 2; len(f.Values) > 1 {
			cell += fmt.Sprintf(" ±%.0f%%", math.Round(spread*100))
		}
		cells = append(cells, cell)
	}
	return cells, any
}

func (r *results) losses() (cells []string) {
	for _, name := range r.servers() {
		l := r.Lost[name]
		cells = append(cells, fmt.Sprintf("%d + %d", l.Lost, l.Repeated))
	}
	return cells
}

// number formats x with separated thousands.
func number(x float64, digits int) string {
	text := strconv.FormatFloat(x, 'f', digits, 64)
	whole, rest, point := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		return whole + "." + rest
	}
	return whole
}

// sentence states the target.
func (t target) sentence() string {
	relation := "at most"
	if t.AtLeast {
		relation = "at least"
	}
	var title, unit string
	for _, k := range figureKinds() {
		if k.Name == t.Kind {
			title, unit = k.Title, k.Unit
		}
	}
	text := fmt.Sprintf("%s: %s, %s %s", t.Server, title, relation, number(t.Limit, 2))
	limit := strings.TrimSuffix(text, ".00")
	switch {
	case t.Beside == "":
		return limit + " " + unit
	case t.BesideK != "":
		return limit + " times as many as one after the other"
	}
	return limit + " times " + t.Beside + "'s"
}
