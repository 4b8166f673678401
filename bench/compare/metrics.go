//go:build linux

package main

import (
	"math"
	"slices"
)

// Names of what is measured, in results.
const (
	mbPerSecond      = "mb_s"
	recordsPerSecond = "records_s"
	cpuPerGB         = "cpu_s_gb"
	cpuCores         = "cpu_cores"
	ackP50           = "ack_p50_ms"
	ackP99           = "ack_p99_ms"
	ackP999          = "ack_p999_ms"
	p50              = "p50_ms"
	p99              = "p99_ms"
	p999             = "p999_ms"
	firstAck         = "first_ack_ms"
	allAcks          = "all_acks_ms"
	firstRecord      = "first_record_ms"
	rebalance        = "rebalance_ms"
	joinAll          = "join_all_ms"
	commitsPerSecond = "commits_s"
	cpuPerCommit     = "cpu_us_commit"
	peakMiB          = "peak_mib"
	residentMiB      = "resident_mib"
	writtenRatio     = "written_ratio"
	clientCores      = "client_cores"
)

// metric says what a measured number is.
type metric struct {
	name, text, unit string
	digits           int  // behind the point, in tables
	higher           bool // is better
}

// metrics are in the order of tables.
var metrics = []metric{
	{mbPerSecond, "throughput", "MB/s", 0, true},
	{recordsPerSecond, "records", "1/s", 0, true},
	{cpuPerGB, "broker CPU", "s/GB", 2, false},
	{cpuCores, "broker CPU", "cores", 3, false},
	{ackP50, "ack p50", "ms", 2, false},
	{ackP99, "ack p99", "ms", 2, false},
	{ackP999, "ack p99.9", "ms", 2, false},
	{p50, "p50", "ms", 2, false},
	{p99, "p99", "ms", 2, false},
	{p999, "p99.9", "ms", 2, false},
	{firstAck, "first ack", "ms", 0, false},
	{allAcks, "ack of all partitions", "ms", 0, false},
	{firstRecord, "first record", "ms", 1, false},
	{rebalance, "rebalance", "ms", 1, false},
	{joinAll, "all joined", "ms", 0, false},
	{commitsPerSecond, "commits", "1/s", 0, true},
	{cpuPerCommit, "broker CPU", "µs/commit", 1, false},
	{peakMiB, "peak memory", "MiB", 0, false},
	{residentMiB, "memory", "MiB", 0, false},
	{writtenRatio, "written / payload", "", 2, false},
	{clientCores, "clients' CPU", "cores", 2, false},
}

func metricNamed(name string) metric {
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == name })
	return metrics[i]
}

// sample is what one run of one system measured.
type sample map[string]float64

// median of some numbers, NaN of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// bound is a limit against a rival's median, or of its own where rival is "".
type bound struct {
	rival  string
	factor float64
}

// target is reached where any of its bounds is kept.
type target struct {
	metric string
	bounds []bound
}

// against is a target with one rival.
func against(metric, rival string, factor float64) target {
	return target{metric, []bound{{rival, factor}}}
}

// atMost is a target without a rival.
func atMost(metric string, limit float64) target { return target{metric, []bound{{"", limit}}} }

// outcome of a target.
type outcome int

const (
	unknown outcome = iota // something was not measured
	hit
	missed
)

// value is what a bound is held against: a ratio, or Fanfold's median.
func (b bound) value(r *results, metric string) (float64, bool) {
	if b.rival == "" {
		m := median(r.values(fanfold, metric))
		return m, !math.IsNaN(m)
	}
	return r.ratio(metric, b.rival)
}

// check holds a target against results.
func (t target) check(r *results) outcome {
	found := unknown
	higher := metricNamed(t.metric).higher
	for _, b := range t.bounds {
		v, ok := b.value(r, t.metric)
		if !ok {
			continue
		}
		if higher && v >= b.factor || !higher && v <= b.factor {
			return hit
		}
		found = missed
	}
	return found
}
