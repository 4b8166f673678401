//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// number writes a metric's value.
func (m metric) number(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	text := strconv.FormatFloat(v, 'f', m.digits, 64)
	if m.digits == 0 && len(text) > 4 {
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
	}
	return text
}

func (m metric) heading() string {
	if m.unit == "" {
		return m.text
	}
	return m.text + ", " + m.unit
}

// text is a run in one line: what the workload's targets are about.
func (r measured) text(w *workload) string {
	var parts []string
	for _, m := range metrics {
		v, ok := r.Values[m.name]
		if ok && (slices.Contains(w.plots, m.name) || slices.ContainsFunc(w.targets, func(t target) bool { return t.metric == m.name })) {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s %s", m.text, m.number(v), m.unit)))
		}
	}
	if r.Verified != nil {
		parts = append(parts, fmt.Sprintf("%d records verified", r.Verified.Records))
	}
	return strings.Join(parts, ", ")
}

func titleOf(system string) string {
	for _, s := range allSystems("", "") {
		if s.name() == system {
			return s.title()
		}
	}
	return system
}

// text is what a target demands.
func (t target) text() string {
	sign := "≤"
	if metricNamed(t.metric).higher {
		sign = "≥"
	}
	var bounds []string
	for _, b := range t.bounds {
		if b.rival == "" {
			bounds = append(bounds, strings.TrimSpace(fmt.Sprintf("%g %s", b.factor, metricNamed(t.metric).unit)))
		} else {
			bounds = append(bounds, fmt.Sprintf("%g × %s", b.factor, titleOf(b.rival)))
		}
	}
	return fmt.Sprintf("%s %s %s", metricNamed(t.metric).heading(), sign, strings.Join(bounds, " or "))
}

// reached is what Fanfold came to, bound by bound.
func (t target) reached(r *results) string {
	var parts []string
	for _, b := range t.bounds {
		v, ok := b.value(r, t.metric)
		switch {
		case !ok && b.rival != "":
			parts = append(parts, titleOf(b.rival)+": not compared")
		case !ok:
			parts = append(parts, "not measured")
		case b.rival == "":
			parts = append(parts, metricNamed(t.metric).number(v))
		default:
			parts = append(parts, fmt.Sprintf("%.2f × %s", v, titleOf(b.rival)))
		}
	}
	return strings.Join(parts, ", ")
}

// summarize prints a workload's targets.
func summarize(out io.Writer, w *workload, r *results) {
	for _, t := range w.targets {
		verdict := map[outcome]string{hit: "hit", missed: "MISSED", unknown: "?"}[t.check(r)]
		fmt.Fprintf(out, "  %-7s %s: %s\n", verdict, t.text(), t.reached(r))
	}
}

// notes are written by hand and stand in RESULTS.md: what was tried, and what
// it gave.
const notes = "notes.md"

// reportPath is beside a directory that is named results, and otherwise in it.
func reportPath(dir string) (path, plots string) {
	if dir = filepath.Clean(dir); filepath.Base(dir) == "results" {
		return filepath.Join(filepath.Dir(dir), "RESULTS.md"), "results/"
	}
	return filepath.Join(dir, "RESULTS.md"), ""
}

// writeReport writes plots and RESULTS.md.
func writeReport(dir string) error {
	var all []*results
	var known []*workload
	for i := range workloads {
		r, err := loadResults(dir, workloads[i].name)
		if err != nil {
			return err
		}
		if r == nil || len(r.Runs) == 0 {
			continue
		}
		all, known = append(all, r), append(known, &workloads[i])
		for _, m := range workloads[i].plots {
			if err := writePlot(dir, &workloads[i], r, metricNamed(m)); err != nil {
				return err
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	b := &strings.Builder{}
	reportHead(b, all)
	reportTargets(b, known, all)
	for i, r := range all {
		reportWorkload(b, dir, known[i], r)
	}
	text, err := os.ReadFile(filepath.Join(dir, notes))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.Write(text)
	path, _ := reportPath(dir)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func reportHead(b *strings.Builder, all []*results) {
	fmt.Fprint(b, "# Measured side by side\n\nWritten by `go run ./bench/compare` (see its package comment for how it measures); do not edit. ")
	fmt.Fprint(b, "Fanfold syncs every acknowledged record. Medians stand before their ranges; a ratio is the median of the ratios in the same round. What was acknowledged in a run was read back and compared by count and checksum (of starts and recoveries, after the last round).\n\n")
	versions := map[string]string{}
	for _, r := range all {
		for name, v := range r.Versions {
			if have := versions[name]; have == "" {
				versions[name] = v
			} else if !slices.Contains(strings.Split(have, "; "), v) {
				versions[name] = have + "; " + v
			}
		}
	}
	m := all[len(all)-1].Machine
	fmt.Fprintf(b, "Machine: %s, %d cores, %d MiB of memory, %s, %s, Go %s.\n\n", m.CPU, m.Cores, m.MemoryMiB, m.Kernel, m.FileSystem, m.Go)
	for _, s := range allSystems("", "") {
		if v := versions[s.name()]; v != "" {
			fmt.Fprintf(b, "- %s: %s\n", s.title(), v)
		}
	}
	fmt.Fprintln(b)
}

func reportTargets(b *strings.Builder, known []*workload, all []*results) {
	fmt.Fprint(b, "## Targets\n\n| workload | target | reached | |\n|---|---|---|---|\n")
	var lost []string
	for i, w := range known {
		for _, t := range w.targets {
			switch t.check(all[i]) {
			case hit:
				fmt.Fprintf(b, "| %s | %s | %s | hit |\n", w.name, t.text(), t.reached(all[i]))
			case missed:
				fmt.Fprintf(b, "| **%s** | **%s** | **%s** | **missed** |\n", w.name, t.text(), t.reached(all[i]))
			case unknown:
				fmt.Fprintf(b, "| %s | %s | %s | not measured |\n", w.name, t.text(), t.reached(all[i]))
			}
		}
		lost = append(lost, losses(w, all[i])...)
	}
	if len(lost) > 0 {
		fmt.Fprint(b, "\n## Where Fanfold loses\n\nWhether a target asks for it or not:\n\n", strings.Join(lost, ""))
	}
	fmt.Fprintln(b)
}

// losses are the plotted numbers in which a rival is better.
func losses(w *workload, r *results) []string {
	var out []string
	for _, name := range w.plots {
		m := metricNamed(name)
		for _, s := range w.systems {
			if s == fanfold || s == floor {
				continue
			}
			if v, ok := r.ratio(name, s); ok && (m.higher && v < 1 || !m.higher && v > 1) {
				out = append(out, fmt.Sprintf("- %s: %s is %.2f times that of %s\n", w.name, m.text, v, titleOf(s)))
			}
		}
	}
	return out
}

func reportWorkload(b *strings.Builder, dir string, w *workload, r *results) {
	fmt.Fprintf(b, "## %s\n\n%s. %s, load before: %s\n\n    %s\n\n", w.name, r.Title, r.Started.UTC().Format("2006-01-02 15:04 UTC"), r.Machine.LoadBefore, r.Command)
	var columns []metric
	for _, m := range metrics {
		if slices.ContainsFunc(r.Runs, func(run measured) bool { _, ok := run.Values[m.name]; return ok }) {
			columns = append(columns, m)
		}
	}
	fmt.Fprint(b, "| |")
	for _, m := range columns {
		fmt.Fprintf(b, " %s |", m.heading())
	}
	fmt.Fprint(b, "\n|---|", strings.Repeat("---:|", len(columns)), "\n")
	for _, s := range allSystems("", "") {
		if !slices.ContainsFunc(r.Runs, func(run measured) bool { return run.System == s.name() }) {
			continue
		}
		fmt.Fprintf(b, "| %s |", s.title())
		for _, m := range columns {
			v := r.values(s.name(), m.name)
			if len(v) == 0 {
				fmt.Fprint(b, " |")
				continue
			}
			fmt.Fprintf(b, " %s (%s–%s)", m.number(median(v)), m.number(slices.Min(v)), m.number(slices.Max(v)))
			if x, ok := r.ratio(m.name, s.name()); ok && s.name() != fanfold {
				fmt.Fprintf(b, "<br>Fanfold × %.2f", x)
			}
			fmt.Fprint(b, " |")
		}
		fmt.Fprintln(b)
	}
	for _, name := range slices.Sorted(maps.Keys(r.LeftOut)) {
		fmt.Fprintf(b, "\nLeft out: %s (%s).\n", titleOf(name), r.LeftOut[name])
	}
	fmt.Fprintln(b)
	_, plots := reportPath(dir)
	for _, name := range w.plots {
		if _, err := os.Stat(filepath.Join(dir, plotFile(w, metricNamed(name)))); err != nil {
			continue // nothing was measured of it
		}
		fmt.Fprintf(b, "![%s](%s%s)\n", metricNamed(name).heading(), plots, plotFile(w, metricNamed(name)))
	}
	fmt.Fprintln(b)
}
