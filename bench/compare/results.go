//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfold/fanfold/bench"
)

// results are one workload's, as its file holds them.
type results struct {
	Workload string            `json:"workload"`
	Title    string            `json:"title"`
	Started  time.Time         `json:"started"`
	Command  string            `json:"command"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	LeftOut  map[string]string `json:"left_out,omitempty"` // systems, and why
	Runs     []measured        `json:"runs"`
}

// measured is one run of one system.
type measured struct {
	System   string     `json:"system"`
	Round    int        `json:"round"` // from 1
	Values   sample     `json:"values"`
	Verified *bench.Sum `json:"verified,omitempty"` // read back, and the same as acknowledged

	Ack      *bench.Distribution `json:"ack,omitempty"`
	EndToEnd *bench.Distribution `json:"end_to_end,omitempty"`
}

type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  int64  `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Go         string `json:"go"`
	LoadBefore string `json:"load_before"` // the machine's load averages when the workload began
}

// values are a system's, in the order of rounds.
func (r *results) values(system, metric string) []float64 {
	var v []float64
	for _, run := range r.Runs {
		if x, ok := run.Values[metric]; ok && run.System == system {
			v = append(v, x)
		}
	}
	return v
}

// ratio is the median of Fanfold's ratios to a rival in the same rounds.
func (r *results) ratio(metric, rival string) (float64, bool) {
	other := map[int]float64{}
	for _, run := range r.Runs {
		if x, ok := run.Values[metric]; ok && run.System == rival {
			other[run.Round] = x
		}
	}
	var ratios []float64
	for _, run := range r.Runs {
		x, ok := run.Values[metric]
		if y := other[run.Round]; ok && run.System == fanfold && y > 0 {
			ratios = append(ratios, x/y)
		}
	}
	m := median(ratios)
	return m, !math.IsNaN(m)
}

// save writes the results' file in one step.
func (r *results) save(dir string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, r.Workload+".json")
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// loadResults reads a workload's file; nil without an error means there is none.
func loadResults(dir, workload string) (*results, error) {
	text, err := os.ReadFile(filepath.Join(dir, workload+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read results of %s: %w", workload, err)
	}
	return r, nil
}

// describeMachine says where the numbers come from; dir is where data is.
func describeMachine(dir string) machine {
	m := machine{Cores: runtime.NumCPU(), Go: strings.TrimPrefix(runtime.Version(), "go")}
	m.CPU = firstField("/proc/cpuinfo", "model name")
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		release := unix.ByteSliceToString(name.Release[:])
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + strings.SplitN(release, "-", 2)[0]
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMiB = int64(info.Totalram) * int64(info.Unit) >> 20
	}
	m.FileSystem = fileSystem(dir)
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.LoadBefore = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	return m
}

// fileSystem is the type of the one that a directory is on.
func fileSystem(dir string) string {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	found, longest := "", 0
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < longest {
			continue
		}
		if f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/") {
			found, longest = f[2], len(f[1])
		}
	}
	return found
}

// firstField is the first value of a key in a file of "key : value" lines.
func firstField(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
