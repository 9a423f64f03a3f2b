package compare

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed report.md.tmpl
var page string

// writeReport writes the page, and the plot that it shows beside it.
func (r *results) writeReport(name string) error {
	t, err := template.New("report").Funcs(template.FuncMap{"join": strings.Join}).Parse(page)
	if err != nil {
		return err
	}
	plot := strings.TrimSuffix(name, filepath.Ext(name)) + ".svg"
	var text bytes.Buffer
	err = t.Execute(&text, map[string]any{
		"Results":    r,
		"Date":       r.When.Format(time.DateOnly),
		"Memory":     number(float64(r.Machine.Memory)/(1<<30), 0),
		"Load":       number(r.Machine.Load, 1),
		"Fsync":      number(r.Machine.Fsync, 0),
		"Readers":    number(float64(r.Options.Readers), 0),
		"Rounds":     r.rounds(),
		"Plot":       filepath.Base(plot),
		"Servers":    r.servers(),
		"Rows":       r.rows(),
		"Losses":     r.losses(),
		"Targets":    r.targetRows(),
		"Missed":     r.missedTargets(),
		"MaxAhead":   maxAhead,
		"Missing":    stormEvents,
		"Publishers": publishers,
		"BulkLines":  number(bulkLines, 0),
		"Latency":    number(float64(min(r.Options.Readers, latencyReaders)), 0),
		"Nchan":      slices.Contains(r.servers(), nchan),
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, text.Bytes(), 0o644); err != nil { //nolint:gosec // everyone may read it
		return err
	}
	return os.WriteFile(plot, r.plot(), 0o644) //nolint:gosec // everyone may read it
}

// tableRow is one row of the page's table.
type tableRow struct {
	Title, Unit, Meaning string
	Cells                []string
}

func (r *results) rows() (rows []tableRow) {
	for _, k := range r.Kinds {
		if cells, any := r.row(k, "–"); any {
			rows = append(rows, tableRow{k.Title, k.Unit, k.Meaning, cells})
		}
	}
	return rows
}

type targetRow struct{ Sentence, Median, Spread, Met string }

func (r *results) targetRows() (rows []targetRow) {
	for _, t := range r.Targets {
		digits := 2
		if t.Median >= 100 {
			digits = 0
		}
		row := targetRow{t.sentence(), number(t.Median, digits), "", "yes"}
		row.Spread = fmt.Sprintf("%s to %s", number(slices.Min(t.Values), digits), number(slices.Max(t.Values), digits))
		if !t.Met {
			row.Met = "**no**"
		}
		rows = append(rows, row)
	}
	return rows
}

func (r *results) missedTargets() (n int) {
	for _, t := range r.Targets {
		if !t.Met {
			n++
		}
	}
	return n
}

// rounds is how many rounds have figures.
func (r *results) rounds() (rounds int) {
	for _, f := range r.Figures {
		rounds = max(rounds, len(f.Values))
	}
	return rounds
}
