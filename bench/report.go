//go:build linux

package main

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

// writeReport writes the page, and beside it the plot that it shows.
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
		"Rounds":     r.done(),
		"Plot":       filepath.Base(plot),
		"Servers":    r.servers(),
		"Rows":       r.rows(),
		"Losses":     r.losses(),
		"Targets":    r.targetRows(),
		"Missed":     r.missed(),
		"MaxAhead":   maxAhead,
		"Missing":    missed,
		"Publishers": publishers,
		"BulkLines":  number(bulkLines, 0),
		"Latency":    number(float64(min(r.Options.Readers, latencyReaders)), 0),
		"Nchan":      slices.Contains(r.servers(), nchan),
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, text.Bytes(), 0o644); err != nil { //nolint:gosec // it is for everybody
		return err
	}
	return os.WriteFile(plot, r.plot(), 0o644) //nolint:gosec // it is for everybody
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

func (r *results) missed() (n int) {
	for _, t := range r.Targets {
		if !t.Met {
			n++
		}
	}
	return n
}

// done is how many rounds there are figures of.
func (r *results) done() (rounds int) {
	for _, f := range r.Figures {
		rounds = max(rounds, len(f.Values))
	}
	return rounds
}
