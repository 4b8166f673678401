package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/partition"
)

// cleanerConfigs let the cleaner look all the time.
var cleanerConfigs = map[string]string{"log.cleaner.backoff.ms": "5"}

func createCompacted(t *testing.T, ctx context.Context, c *kgo.Client, topic string, more ...string) {
	t.Helper()
	set := map[string]*string{
		"cleanup.policy": kadm.StringPtr("compact"), "segment.ms": kadm.StringPtr("1"), "file.delete.delay.ms": kadm.StringPtr("0"),
		"min.cleanable.dirty.ratio": kadm.StringPtr("0.01"), "delete.retention.ms": kadm.StringPtr("0"),
	}
	for i := 0; i < len(more); i += 2 {
		set[more[i]] = kadm.StringPtr(more[i+1])
	}
	_, err := kadm.NewClient(c).CreateTopic(ctx, 1, 1, set, topic)
	must(t, err)
}

func partitionOf(t *testing.T, b *testBroker, topic string) *partition.Partition {
	t.Helper()
	for meta := range b.node.Image().Topics() {
		if meta.Name != topic {
			continue
		}
		must(t, b.node.WaitReady(t.Context(), meta.ID))
		r, err := b.node.Replica(meta.ID, 0)
		must(t, err)
		return r.(*partition.Partition)
	}
	t.Fatalf("there is no topic %s", topic)
	return nil
}

// consumeAll reads a topic from the start to its end offset: key → value, with
// the offsets at which they are.
func consumeAll(t *testing.T, ctx context.Context, b *testBroker, topic string) (values map[string]string, offsets map[string]int64, records int) {
	t.Helper()
	c := b.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	end := partitionOf(t, b, topic).HighWatermark()
	values, offsets = map[string]string{}, map[string]int64{}
	for next := int64(0); next < end; {
		fetches := c.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			records++
			next = r.Offset + 1
			offsets[string(r.Key)] = r.Offset
			if r.Value == nil {
				delete(values, string(r.Key))
			} else {
				values[string(r.Key)] = string(r.Value)
			}
		})
	}
	return values, offsets, records
}

// A client writes keys again and again, deletes some, and reads: the newest
// value of each key is there at its offset, deleted ones are gone, and most of
// the log too; a restart changes nothing.
func TestCompactedTopicOfAClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	b := startBroker(t, dir, cleanerConfigs)
	c := b.client(t, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	createCompacted(t, ctx, c, "state")
	err := c.ProduceSync(ctx, &kgo.Record{Topic: "state", Value: []byte("without a key")}).FirstErr()
	if !errors.Is(err, kerr.InvalidRecord) {
		t.Errorf("a record without a key: %v", err)
	}
	want, wantOffsets := map[string]string{}, map[string]int64{}
	written := 0
	write := func(key, value string) {
		t.Helper()
		r := &kgo.Record{Topic: "state", Key: []byte(key), Value: []byte(value)}
		if want[key] = value; value == "" {
			r.Value = nil
			delete(want, key)
		}
		must(t, c.ProduceSync(ctx, r).FirstErr())
		wantOffsets[key] = r.Offset
		written++
	}
	for i := range 300 {
		write(fmt.Sprintf("key %d", i%20), fmt.Sprintf("value %d", i))
	}
	write("key 3", "")
	write("key 4", "")
	p := partitionOf(t, b, "state")
	clean := func() {
		t.Helper()
		eventually(t, "the log is compacted to its end", func() bool {
			l := p.Log()
			segments := l.Segments()
			return l.CleanedOffset() >= segments[len(segments)-1].BaseOffset && l.SettledOffset() == l.CleanedOffset()
		})
	}
	clean()
	write("key 5", "last")
	write("key 6", "last")
	clean()
	write("key 7", "last")
	check := func() {
		t.Helper()
		values, offsets, records := consumeAll(t, ctx, b, "state")
		for key, value := range want {
			if values[key] != value || offsets[key] != wantOffsets[key] {
				t.Errorf("%s is %q at %d; want %q at %d", key, values[key], offsets[key], value, wantOffsets[key])
			}
		}
		if len(values) != len(want) || records > 40 {
			t.Errorf("%d keys in %d records; want %d keys of %d records written", len(values), records, len(want), written)
		}
	}
	check()
	if got := counterValue(t, b.node.cleaner.stats.removed); got < 250 {
		t.Errorf("%v records were removed", got)
	}
	c.Close()
	b.stop(t)
	b = startBroker(t, dir, map[string]string{"log.cleaner.enable": "false"})
	defer b.stop(t)
	must(t, b.node.WaitAllReady(ctx))
	check()
}

// The dirtiest goes first, and what is due before it; a log whose compaction
// fails rests, and the others are compacted.
func TestCleanerChooses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := startBroker(t, t.TempDir(), map[string]string{"log.cleaner.enable": "false"})
	defer b.stop(t)
	var said bytes.Buffer
	b.node.opts.Logger = slog.New(slog.NewTextHandler(&said, nil))
	c := b.client(t)
	defer c.Close()
	fill := func(topic string, records int) {
		for i := range records {
			r := &kgo.Record{Topic: topic, Key: []byte(fmt.Sprint(i % 3)), Value: bytes.Repeat([]byte("v"), 100), Timestamp: time.UnixMilli(int64(1000 + 10*i))}
			must(t, c.ProduceSync(ctx, r).FirstErr())
		}
	}
	for _, topic := range []string{"dirty", "clean", "due"} {
		createCompacted(t, ctx, c, topic, "min.cleanable.dirty.ratio", "0.4")
		fill(topic, 10)
	}
	n, s := b.node.cleaner, b.node.cleaner.settings()
	chosen := func() string {
		r := n.choose()
		if r.localReplica == nil {
			return "none"
		}
		return b.node.Image().TopicByID(r.topic).Name
	}
	for range 3 { // all are dirty as a whole
		if !n.cleanNext(ctx, s) {
			t.Fatal("nothing is to be compacted")
		}
	}
	if got := chosen(); got != "none" {
		t.Fatalf("%s is to be compacted again", got)
	}
	fill("clean", 4)
	fill("dirty", 12)
	if got := chosen(); got != "dirty" {
		t.Errorf("%s is chosen; want the dirtiest", got)
	}
	fill("due", 3)
	_, err := kadm.NewClient(c).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.compaction.lag.ms", Value: kadm.StringPtr("1000")}}, "due")
	must(t, err)
	eventually(t, "the one that is due is chosen", func() bool { return chosen() == "due" })
	// It is damaged: it rests, and is named.
	must(t, partitionOf(t, b, "due").Log().Sync())
	files, err := filepath.Glob(filepath.Join(b.node.replicaDir(n.choose().topic, 0), "*.log"))
	must(t, err)
	damaged := ""
	for _, file := range files {
		if flipSome(t, file) {
			damaged = file
		}
	}
	n.cleanNext(ctx, s)
	if !strings.Contains(said.String(), "damaged") || !strings.Contains(said.String(), filepath.Dir(damaged)) {
		t.Errorf("the damage of %s is not named: %q", damaged, &said)
	}
	if got := chosen(); got != "dirty" {
		t.Errorf("%s is chosen while what is damaged rests", got)
	}
	if got := gaugeValue(t, n.stats.failed); got != 1 {
		t.Errorf("%v logs failed; want 1", got)
	}
}

// flipSome flips a bit of a batch's records; false: the file is empty.
func flipSome(t *testing.T, file string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	if len(b) == 0 {
		return false
	}
	b[len(b)-5] ^= 1
	must(t, os.WriteFile(file, b, 0o600))
	return true
}

func gaugeValue(t *testing.T, g prometheus.Gauge) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(g)
	families, err := reg.Gather()
	must(t, err)
	return families[0].Metric[0].Gauge.GetValue()
}

// The cleaner waits, so that it reads and writes no more than it may.
func TestCleanerPace(t *testing.T) {
	n := newCleaner(&LocalNode{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	must(t, n.pace(ctx, cleanerBurst-1, 1))
	cancel()
	if err := n.pace(ctx, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a burst at a byte a second: %v", err)
	}
	if n.since != 0 || counterValue(t, n.stats.bytes) != cleanerBurst {
		t.Errorf("%d bytes since, %v in all", n.since, counterValue(t, n.stats.bytes))
	}
	must(t, n.pace(t.Context(), 1<<30, 1e300))
	if configs.Lookup(configs.Broker, "log.cleaner.io.max.bytes.per.second") == nil {
		t.Error("the rate is no config")
	}
}

// Compaction goes on beside writers and readers, and loses nothing.
func TestCompactionBesideClients(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := startBroker(t, t.TempDir(), cleanerConfigs)
	defer b.stop(t)
	c := b.client(t)
	defer c.Close()
	createCompacted(t, ctx, c, "busy")
	p := partitionOf(t, b, "busy")
	reader := b.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"busy": {0: kgo.NewOffset().AtStart()}}))
	defer reader.Close()
	newest := map[string]int64{}
	const records = 3000
	for i := range records {
		key := fmt.Sprintf("key %d", i%50)
		c.Produce(ctx, &kgo.Record{Topic: "busy", Key: []byte(key), Value: fmt.Append(nil, i)}, func(r *kgo.Record, err error) {
			if err != nil || r.Offset < newest[key] {
				t.Errorf("record at %d: %v", r.Offset, err)
			}
			newest[key] = r.Offset
		})
		if i%100 == 99 {
			must(t, c.Flush(ctx))
		}
	}
	seen := map[string]int64{}
	for last := int64(-1); last < records-1; {
		fetches := reader.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset <= last {
				t.Errorf("record at %d behind %d", r.Offset, last)
			}
			last = r.Offset
			seen[string(r.Key)] = r.Offset
		})
	}
	for key, offset := range newest {
		if seen[key] != offset {
			t.Errorf("the newest %s that was read is at %d, written at %d", key, seen[key], offset)
		}
	}
	eventually(t, "something is compacted", func() bool { return p.Log().CleanedOffset() > 0 })
	if err := p.Log().Scrub(ctx, nil); err != nil {
		t.Error(err)
	}
}
