//go:build linux

package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sizes in a plot, in pixels.
const (
	plotLabels = 170
	plotBars   = 380
	plotValues = 90
	plotRow    = 26
	plotHead   = 34
)

var plotColours = map[string]string{
	fanfold: "#c2410c", floor: "#a8a29e", kafka: "#1e3a5f", kafkaSynced: "#5b7ea6", jetstream: "#4d7c0f", jetstreamSynced: "#84a83f",
}

func plotFile(w *workload, m metric) string { return w.name + "-" + m.name + ".svg" }

// writePlot draws one bar a system: its median, with a line from the least to
// the most.
func writePlot(dir string, w *workload, r *results, m metric) error {
	type bar struct {
		system, title    string
		least, mid, most float64
	}
	var bars []bar
	most := 0.0
	for _, s := range allSystems("", "") {
		v := r.values(s.name(), m.name)
		if len(v) == 0 {
			continue
		}
		bars = append(bars, bar{s.name(), s.title(), slices.Min(v), median(v), slices.Max(v)})
		most = max(most, slices.Max(v))
	}
	if most <= 0 {
		return nil
	}
	b := &strings.Builder{}
	width, height := plotLabels+plotBars+plotValues, plotHead+plotRow*len(bars)+8
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	better := "less is better"
	if m.higher {
		better = "more is better"
	}
	fmt.Fprintf(b, `<text x="8" y="20" font-weight="bold">%s: %s</text>`+"\n", html.EscapeString(w.name), html.EscapeString(m.heading()+" ("+better+")"))
	for i, bar := range bars {
		top := plotHead + plotRow*i
		at := func(v float64) float64 { return plotLabels + max(v, 0)/most*plotBars }
		middle := float64(top) + plotRow/2
		fmt.Fprintf(b, `<text x="%d" y="%.0f" text-anchor="end">%s</text>`+"\n", plotLabels-8, middle+4, html.EscapeString(bar.title))
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", plotLabels, top+4, at(bar.mid)-plotLabels, plotRow-8, plotColours[bar.system])
		fmt.Fprintf(b, `<path d="M%.1f %.1fH%.1f" stroke="black" stroke-width="1.5"/>`+"\n", at(bar.least), middle, at(bar.most))
		fmt.Fprintf(b, `<text x="%.1f" y="%.0f">%s</text>`+"\n", at(bar.most)+6, middle+4, m.number(bar.mid))
	}
	fmt.Fprint(b, "</svg>\n")
	return os.WriteFile(filepath.Join(dir, plotFile(w, m)), []byte(b.String()), 0o644)
}
