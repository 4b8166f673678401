//go:build linux

package main

import (
	"context"
	"slices"
	"time"

	"github.com/fanfold/fanfold/bench"
)

// workload is a named measurement with its targets.
type workload struct {
	name, title string
	systems     []string
	targets     []target
	plots       []string // metrics that get a plot
	warm        bool     // each system runs it once before what counts
	setUp       func(t *turn) error
	run         func(t *turn) (measured, error)
	cold        bool // run starts the server itself
	partitions  int  // of the turn's topic; zero is 8
}

// turn is one run of one system.
type turn struct {
	ctx      context.Context
	server   *server
	settings settings
	topic    string  // of this turn alone; created before, unless the workload is cold
	round    int     // 0 is the warm-up
	kept     *kept   // of this system
	shared   *shared // by all systems
}

// shared is what one system's turns find out for all.
type shared struct {
	rate float64 // records a second
}

// kept is what a system's turns of a workload hand on.
type kept struct {
	topic string // filled once, and read in each turn
	sum   bench.Sum
	bytes int64
}

// settings of all runs.
type settings struct {
	runs             int
	duration, warmup time.Duration // of one run; the warm-up within a run
	warmRun          time.Duration // of the run that only warms a system up
	fillBytes        int64         // for start and recovery
	readBytes        int64         // for reading
}

const partitions = 8

// produceTargets hold for writing 1 KiB records, whatever the batches.
func produceTargets(throughput target) []target {
	return append([]target{
		throughput,
		against(cpuPerGB, kafka, 0.5),
		against(cpuPerGB, floor, 1.5),
	}, memoryTargets(120)...)
}

func memoryTargets(limit float64) []target {
	return []target{against(peakMiB, kafka, 0.1), atMost(peakMiB, limit)}
}

func with(first []target, more ...target) []target { return append(slices.Clone(first), more...) }

// Kafka with syncing takes part where it says something that its default does
// not.
var (
	contenders = []string{fanfold, kafka, floor}
	brokers    = append(slices.Clone(contenders), kafkaSynced)
	// The floor knows no groups.
	groupContenders = []string{fanfold, kafka, kafkaSynced}
	everyone        = append(slices.Clone(brokers), jetstream, jetstreamSynced)
)

// lesserOf is the target of the plain produce workloads.
var lesserOf = target{mbPerSecond, []bound{{kafka, 1.2}, {floor, 0.9}}}

// workloads are all, in the order of the results.
var workloads = []workload{
	{
		name: "produce-1k", title: "Write 1 KiB records, 8 partitions, 1 client", systems: everyone, warm: true,
		targets: produceTargets(lesserOf), plots: []string{mbPerSecond, cpuPerGB, peakMiB},
		run: produceWith(bench.Load{RecordBytes: 1024, Linger: -1}),
	},
	{
		name: "produce-1k-4", title: "Write 1 KiB records, 8 partitions, 4 clients", systems: everyone, warm: true,
		targets: produceTargets(lesserOf), plots: []string{mbPerSecond, cpuPerGB, peakMiB},
		run: produceWith(bench.Load{RecordBytes: 1024, Linger: -1, Clients: 4}),
	},
	{
		name: "produce-16k-batches", title: "Write 1 KiB records in batches of 16 KiB, 8 partitions, 1 client", systems: contenders, warm: true,
		targets: produceTargets(against(mbPerSecond, kafka, 1)), plots: []string{mbPerSecond, cpuPerGB},
		run: produceWith(bench.Load{RecordBytes: 1024, Linger: -1, BatchBytes: 16 << 10}),
	},
	{
		name: "produce-java", title: "Write 1 KiB records with Java's own client, its defaults, 8 partitions", systems: []string{fanfold, kafka}, warm: true,
		targets: with(memoryTargets(120), against(mbPerSecond, kafka, 1), against(cpuPerGB, kafka, 0.5)), plots: []string{mbPerSecond, cpuPerGB},
		run: produceJava,
	},
	{
		name: "produce-100b", title: "Write 100-byte records, 8 partitions, 1 client", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(recordsPerSecond, kafka, 1.2)), plots: []string{recordsPerSecond, cpuPerGB},
		run: produceWith(bench.Load{RecordBytes: 100, Linger: -1}),
	},
	{
		name: "produce-lz4", title: "Write 1 KiB records of text, lz4, 8 partitions, 1 client", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(mbPerSecond, kafka, 1.2)), plots: []string{mbPerSecond, cpuPerGB},
		run: produceWith(bench.Load{RecordBytes: 1024, Linger: -1, Text: true, Compression: "lz4"}),
	},
	{
		name: "produce-zstd", title: "Write 1 KiB records of text, zstd, 8 partitions, 1 client", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(mbPerSecond, kafka, 1.2)), plots: []string{mbPerSecond, cpuPerGB},
		run: produceWith(bench.Load{RecordBytes: 1024, Linger: -1, Text: true, Compression: "zstd"}),
	},
	{
		name: "exchange-64", title: "64 connections with one record of 1 KiB in flight each, no linger",
		systems: everyone, warm: true,
		targets: with(memoryTargets(120), against(recordsPerSecond, kafkaSynced, 2), against(recordsPerSecond, jetstreamSynced, 2)),
		plots:   []string{recordsPerSecond, ackP99}, run: exchange,
	},
	{
		name: "consume-disk", title: "Read 1 KiB records that are not in memory, 8 partitions, 1 reader", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(cpuPerGB, kafka, 0.9), against(cpuPerGB, floor, 1.25)), plots: []string{cpuPerGB, mbPerSecond},
		setUp: fillForReaders, run: consumeWith(1, true),
	},
	{
		name: "consume-tail", title: "4 readers at the end of the log, behind a client that writes 50 MB/s: CPU for reading alone", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(cpuPerGB, kafka, 0.9), against(cpuPerGB, floor, 1.25)), plots: []string{cpuPerGB},
		run: consumeTail,
	},
	{
		name: "consume-8", title: "8 groups' worth of readers on one topic, each reads all of it", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(mbPerSecond, kafka, 1.2)), plots: []string{mbPerSecond, cpuPerGB},
		setUp: fillForReaders, run: consumeWith(8, false),
	},
	{
		name: "latency-1k", title: "1,000 records a second of 1 KiB, from due to read", systems: brokers, warm: true,
		targets: latencyTargets, plots: []string{p50, p99, p999}, run: latencyAt(1_000),
	},
	{
		name: "latency-10k", title: "10,000 records a second of 1 KiB, from due to read", systems: contenders, warm: true,
		targets: latencyTargets, plots: []string{p50, p99, p999}, run: latencyAt(10_000),
	},
	{
		name: "mixed", title: "1,000 records a second, from due to read, while another client writes at half of Kafka's maximum", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(p99, kafka, 0.5)), plots: []string{p50, p99, p999}, setUp: calibrate, run: mixed,
	},
	{
		name: "partitions-1000", title: "1,000 partitions, 20,000 records a second of 1 KiB to all of them", systems: contenders, warm: true,
		targets: with(memoryTargets(150), against(ackP99, kafka, 1), against(cpuCores, kafka, 1)), plots: []string{ackP99, cpuCores, peakMiB},
		run: manyPartitions, partitions: 1000,
	},
	{
		name: "idle-1000", title: "1,000 partitions, written to once, then idle", systems: []string{fanfold, kafka}, warm: true,
		targets: with(memoryTargets(150), against(cpuCores, kafka, 0.6)), plots: []string{cpuCores, peakMiB},
		setUp: fillIdle, run: idle,
	},
	{
		name: "producers-1000", title: "1,000 connected producers at 1 record a second each", systems: contenders, warm: true,
		targets: with(memoryTargets(120), against(ackP99, kafka, 0.5)), plots: []string{ackP99, peakMiB},
		run: producers1000,
	},
	{
		name: "group-join", title: "A new member of a new group, from nothing to its first record", systems: groupContenders, warm: true,
		targets: []target{against(firstRecord, kafka, 1)}, plots: []string{firstRecord}, run: groupJoin,
	},
	{
		name: "group-rebalance-10", title: "Rebalance of a classic group of 10 members, 1,000 partitions", systems: groupContenders, warm: true,
		targets: []target{against(rebalance, kafka, 1)}, plots: []string{rebalance}, run: groupRebalance(10), partitions: groupPartitions,
	},
	{
		name: "group-rebalance-100", title: "Rebalance of a classic group of 100 members, 1,000 partitions", systems: groupContenders, warm: true,
		targets: []target{against(rebalance, kafka, 1)}, plots: []string{rebalance}, run: groupRebalance(100), partitions: groupPartitions,
	},
	{
		name: "group-rebalance-500", title: "Rebalance of a classic group of 500 members, 1,000 partitions", systems: groupContenders, warm: true,
		targets: []target{against(rebalance, kafka, 1)}, plots: []string{rebalance}, run: groupRebalance(500), partitions: groupPartitions,
	},
	{
		name: "group-commits", title: "Offset commits of 1,000 groups, each over its own connection with one in flight", systems: groupContenders, warm: true,
		targets: []target{{commitsPerSecond, []bound{{"", 50_000}}}, against(cpuPerCommit, kafka, 1)}, plots: []string{commitsPerSecond, cpuPerCommit, ackP99},
		run: groupCommits(commitClients, 1),
	},
	{
		name: "group-commits-64", title: "Offset commits of 1,000 groups over 64 connections, 16 in flight on each", systems: groupContenders, warm: true,
		targets: []target{{commitsPerSecond, []bound{{"", 50_000}}}, against(cpuPerCommit, kafka, 1)}, plots: []string{commitsPerSecond, cpuPerCommit},
		run: groupCommits(64, 16),
	},
	{
		name: "groups-many", title: "10,000 groups with an offset, and a group of 5,000 members (KIP-848) on 1,000 partitions that send heartbeats every 5 s",
		systems: []string{fanfold, kafka}, targets: []target{atMost(peakMiB, 300), atMost(cpuCores, 0.05)}, plots: []string{cpuCores, peakMiB},
		run: groupsMany, partitions: groupPartitions,
	},
	{
		name: "start-empty", title: "Start on an empty directory, to the first acknowledgement", systems: contenders, cold: true,
		targets: []target{against(firstAck, kafka, 0.1)}, plots: []string{firstAck}, run: startEmpty,
	},
	{
		name: "start-10g", title: "Start with 10 GiB after a clean stop, to the first acknowledgement", systems: []string{fanfold, kafka}, cold: true,
		targets: []target{against(firstAck, kafka, 0.1)}, plots: []string{firstAck}, setUp: fillForStart, run: startFull,
	},
	{
		name: "recovery-10g", title: "Start with 10 GiB after kill -9 under load, to the first acknowledgement", systems: []string{fanfold, kafka, kafkaSynced}, cold: true,
		targets: []target{against(firstAck, kafka, 0.25)}, plots: []string{firstAck}, setUp: fillForStart, run: recoverFull,
	},
}

var latencyTargets = with(memoryTargets(120), against(p50, kafka, 1.2), against(p99, kafka, 0.5), against(p999, kafka, 0.5))
