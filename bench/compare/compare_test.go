//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/bench"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.v); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.v, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("nothing has a median")
	}
}

// rounds are results in which each system has one value a round.
func rounds(metric string, values map[string][]float64) *results {
	r := &results{Workload: "produce-1k", Title: "a test"}
	for _, s := range []string{fanfold, kafka, floor} {
		for i, v := range values[s] {
			r.Runs = append(r.Runs, measured{System: s, Round: i + 1, Values: sample{metric: v}, Verified: &bench.Sum{Records: 1}})
		}
	}
	return r
}

// TestRatioIsOfTheSameRound: a slow minute of the machine slows both systems,
// and their ratio stays.
func TestRatioIsOfTheSameRound(t *testing.T) {
	r := rounds(mbPerSecond, map[string][]float64{fanfold: {200, 20, 180}, kafka: {100, 10, 100}})
	if v, ok := r.ratio(mbPerSecond, kafka); !ok || v != 2 {
		t.Errorf("got %v, %v", v, ok)
	}
	if _, ok := r.ratio(mbPerSecond, floor); ok {
		t.Error("a ratio to a system that did not run")
	}
}

func TestTargets(t *testing.T) {
	fast := map[string][]float64{fanfold: {190}, kafka: {200}, floor: {200}}
	slow := map[string][]float64{fanfold: {170}, kafka: {200}, floor: {200}}
	for _, c := range []struct {
		name   string
		target target
		metric string
		values map[string][]float64
		want   outcome
	}{
		{"the lesser of two, one kept", lesserOf, mbPerSecond, fast, hit},
		{"the lesser of two, none kept", lesserOf, mbPerSecond, slow, missed},
		{"one of two not measured", lesserOf, mbPerSecond, map[string][]float64{fanfold: {190}, kafka: {200}}, missed},
		{"nothing measured", lesserOf, mbPerSecond, nil, unknown},
		{"less is better", against(cpuPerGB, kafka, 0.5), cpuPerGB, map[string][]float64{fanfold: {1}, kafka: {2}}, hit},
		{"less is better, missed", against(cpuPerGB, kafka, 0.5), cpuPerGB, map[string][]float64{fanfold: {1.1}, kafka: {2}}, missed},
		{"a limit", atMost(peakMiB, 120), peakMiB, map[string][]float64{fanfold: {119, 120, 300}}, hit},
		{"a limit, missed", atMost(peakMiB, 120), peakMiB, map[string][]float64{fanfold: {121}}, missed},
	} {
		if got := c.target.check(rounds(c.metric, c.values)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWorkloadsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range workloads {
		if seen[w.name] || w.run == nil || w.title == "" || len(w.targets) == 0 || len(w.plots) == 0 {
			t.Errorf("%s: twice, or not whole", w.name)
		}
		seen[w.name] = true
		for _, target := range w.targets {
			_ = target.text() // panics for a metric that does not exist
			for _, b := range target.bounds {
				if b.rival != "" && !slices.Contains(w.systems, b.rival) {
					t.Errorf("%s: a target against %s, which does not take part", w.name, b.rival)
				}
			}
		}
	}
}

func TestReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(out); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(out), "RESULTS.md")); err == nil {
		t.Error("a report of nothing")
	}
	r := rounds(mbPerSecond, map[string][]float64{fanfold: {100, 120, 110}, kafka: {200, 210, 190}, floor: {1300, 1400, 1500}})
	r.LeftOut = map[string]string{kafkaSynced: "no Java"}
	if err := r.save(out); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, notes), []byte("## Tried\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(out); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(out), "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"**missed**", "Where Fanfold loses", "110 (100–120)", "1400 (1300–1500)", "Left out: Kafka synced (no Java)", "results/produce-1k-mb_s.svg", "## Tried"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	f, err := os.Open(filepath.Join(out, "produce-1k-mb_s.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := xml.NewDecoder(f); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	u, err := usageOf(os.Getpid())
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	if u.resident <= 0 || u.peak < u.resident/2 {
		t.Errorf("%+v", u)
	}
}
