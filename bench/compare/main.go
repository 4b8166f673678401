//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fanfold/fanfold/internal/units"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	settings
	workloads, systems string
	out, dir           string
	fillCache          bool
	list, report, keep bool
	quick              bool
}

func parse(args []string) (options, error) {
	var o options
	fill, read := "10GiB", "2GiB"
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.StringVar(&o.workloads, "workloads", "all", "`NAMES` of workloads, with commas")
	flags.StringVar(&o.systems, "systems", "all", "`NAMES` of systems, with commas")
	flags.IntVar(&o.runs, "runs", 5, "rounds that count; each system has its turn in each")
	flags.DurationVar(&o.duration, "duration", 2*time.Second, "what counts of a run")
	flags.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "load before that, in each run")
	flags.DurationVar(&o.warmRun, "warm-run", 6*time.Second, "the run that warms each system up, before the first round")
	flags.StringVar(&fill, "fill", fill, "`SIZE` of the data for start and recovery")
	flags.StringVar(&read, "read", read, "`SIZE` of the data for reading")
	flags.BoolVar(&o.fillCache, "fill-cache", true, "fill the page cache before each run, as it is on a server that has run for a day; free memory of a virtual machine may be slow when it is first used")
	flags.BoolVar(&o.quick, "quick", false, "check that every workload works, with little data and one short round: the numbers say nothing")
	flags.StringVar(&o.out, "out", "bench/results", "`DIRECTORY` of the results")
	flags.StringVar(&o.dir, "dir", "", "`DIRECTORY` for the servers' data, on the disk to measure (default: a new one under the system's for temporary files)")
	flags.BoolVar(&o.keep, "keep", false, "keep the servers' data and output")
	flags.BoolVar(&o.list, "list", false, "list workloads, their systems and targets")
	flags.BoolVar(&o.report, "report", false, "write plots and RESULTS.md from the results that are there")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.runs, o.duration, o.warmup, o.warmRun = 1, time.Second, 100*time.Millisecond, 0
		fill, read, o.fillCache = "32MiB", "32MiB", false
	}
	var err1, err2 error
	o.fillBytes, err1 = units.ParseBytes(fill)
	o.readBytes, err2 = units.ParseBytes(read)
	if o.systems != "all" {
		for name := range strings.SplitSeq(o.systems, ",") {
			if titleOf(name) == name {
				return o, fmt.Errorf("there is no system %q", name)
			}
		}
	}
	if o.runs < 1 || o.duration <= 0 {
		return o, errors.New("-runs and -duration must be above 0")
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	return o, errors.Join(err1, err2)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.list {
		list(out)
		return nil
	}
	chosen, err := chooseWorkloads(o.workloads)
	if err != nil {
		return err
	}
	if o.report {
		return writeReport(o.out)
	}
	debug.SetGCPercent(400) // the clients' garbage is not what is measured
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	c := &comparison{options: o, out: out, command: "go run ./bench/compare " + strings.Join(args, " ")}
	if err := c.open(ctx); err != nil {
		return err
	}
	defer c.close()
	var failed []error
	for _, w := range chosen {
		if err := c.workload(ctx, &w); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", w.name, err))
			fmt.Fprintf(out, "%s: FAILED: %v\n", w.name, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errors.Join(failed...), writeReport(o.out))
}

func chooseWorkloads(names string) ([]workload, error) {
	if names == "all" {
		return workloads, nil
	}
	var chosen []workload
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no workload %q; -list shows them", name)
		}
		chosen = append(chosen, workloads[i])
	}
	return chosen, nil
}

func list(out io.Writer) {
	for _, w := range workloads {
		fmt.Fprintf(out, "%-20s %s\n%20s systems: %s\n", w.name, w.title, "", strings.Join(w.systems, ", "))
		for _, t := range w.targets {
			fmt.Fprintf(out, "%20s target:  %s\n", "", t.text())
		}
	}
}

// sourceTree is the root of the module.
func sourceTree(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the source tree (run this in it): %w", err)
	}
	return filepath.Clean(strings.TrimSpace(string(out))), nil
}
