package partition

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

// compactor is a partition of a compacted topic whose segments hold two batches
// each.
func compactor(t *testing.T, change func(*Config)) *driver {
	cfg := defaultConfig()
	cfg.Compact, cfg.MinCleanableDirtyRatio = true, 0.5
	cfg.MaxCompactionLagMillis, cfg.DeleteRetentionMillis = 1<<62, 60_000
	if change != nil {
		change(&cfg)
	}
	size := int64(len(keyed(t, "key 0", []byte("value"))))
	return newDriver(t, cfg, log.Limits{SegmentBytes: 2 * size})
}

func keyed(t tester, key string, value []byte) []byte {
	t.Helper()
	b, err := record.NewBuilder(record.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.Append(start.UnixMilli(), []byte(key), value, nil)
	data, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (d *driver) put(key int, value string) {
	d.t.Helper()
	to := newSink(d.p)
	d.p.Produce(keyed(d.t, fmt.Sprintf("key %d", key), []byte(value)), AcksAll, 1, to)
	d.step()
	if err := to.get(1).Err; err != nil {
		d.t.Fatal(err)
	}
}

func TestCompactedTopicsNeedKeys(t *testing.T) {
	d := compactor(t, func(c *Config) { c.Recompress, c.Codec = false, record.None })
	for _, codec := range []record.Codec{record.None, record.LZ4} {
		for _, recompress := range []bool{false, true} {
			cfg := d.p.Config()
			cfg.Recompress, cfg.Codec = recompress, record.Zstd
			d.p.SetConfig(cfg)
			b, err := record.NewBuilder(codec, 0)
			if err != nil {
				t.Fatal(err)
			}
			b.Append(start.UnixMilli(), []byte("key"), []byte("value"), nil)
			b.Append(start.UnixMilli(), nil, []byte("value"), nil)
			raw, err := b.Build(nil)
			if err != nil {
				t.Fatal(err)
			}
			to := newSink(d.p)
			d.p.Produce(raw, AcksAll, 1, to)
			d.step()
			if code, text := protocol.ErrorOf(to.get(1).Err); code != kerr.InvalidRecord.Code || text == "" || d.p.EndOffset() != 0 {
				t.Errorf("%v, recompress %v: %v; the log ends at %d", codec, recompress, to.get(1).Err, d.p.EndOffset())
			}
		}
	}
	d.p.SetConfig(defaultConfig())
	if o := d.produce(batchSpec{}, AcksAll); o.Err != nil {
		t.Error(o.Err)
	}
}

func TestCleanable(t *testing.T) {
	d := compactor(t, nil)
	look := func(want Cleanable) {
		t.Helper()
		got, ok := d.p.Cleanable()
		if !ok || got.UpTo != want.UpTo || got.Due != want.Due || got.Wanted != want.Wanted || got.CleanBytes > 0 != (want.CleanBytes > 0) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	look(Cleanable{})
	for i := range 5 {
		d.put(i%2, "value")
	}
	look(Cleanable{UpTo: 4, Wanted: true})
	stats, err := d.p.Compact(t.Context(), 4, log.CompactOptions{})
	if err != nil || stats.To != 4 || stats.Removed != 2 {
		t.Fatalf("%+v, %v", stats, err)
	}
	if c, ok := d.p.Cleanable(); !ok || c.Wanted || c.DirtyBytes != 0 || c.CleanBytes == 0 {
		t.Errorf("%+v", c)
	}
	// Half of it is dirty.
	d.put(2, "value")
	d.put(3, "value")
	look(Cleanable{UpTo: 6, CleanBytes: 1, Wanted: false})
	cfg := d.p.Config()
	cfg.MinCleanableDirtyRatio = 0.3
	d.p.SetConfig(cfg)
	look(Cleanable{UpTo: 6, CleanBytes: 1, Wanted: true})
	// Too young, then too old.
	cfg.MinCompactionLagMillis = 60_000
	d.p.SetConfig(cfg)
	look(Cleanable{CleanBytes: 1})
	d.clock.advance(time.Minute)
	look(Cleanable{UpTo: 6, CleanBytes: 1, Wanted: true})
	cfg.MinCleanableDirtyRatio, cfg.MaxCompactionLagMillis = 1, 60_001
	d.p.SetConfig(cfg)
	look(Cleanable{UpTo: 6, CleanBytes: 1})
	d.clock.advance(2 * time.Millisecond)
	look(Cleanable{UpTo: 6, CleanBytes: 1, Due: true, Wanted: true})
	d.fail(errors.New("disk is gone"))
	if _, ok := d.p.Cleanable(); ok {
		t.Error("an offline replica is to be compacted")
	}
	if _, ok := newDriver(t, defaultConfig(), log.Limits{}).p.Cleanable(); ok {
		t.Error("a topic that is not compacted is to be")
	}
}

// What is not committed is not compacted.
func TestCompactionEndsAtTheHighWatermark(t *testing.T) {
	d := compactor(t, nil)
	d.put(0, "value")
	d.put(1, "value")
	for range 4 {
		d.p.Produce(keyed(t, "key 0", []byte("value")), AcksAll, 1, newSink(d.p))
	}
	stored := d.store(1 << 30)
	if c, _ := d.p.Cleanable(); c.UpTo != 2 {
		t.Errorf("%+v", c)
	}
	d.commit(stored)
	if c, _ := d.p.Cleanable(); c.UpTo != 4 {
		t.Errorf("%+v", c)
	}
}

// Sequences of idempotent producers go on behind what was compacted, also for a
// partition that learns them from the log.
func TestCompactionKeepsSequences(t *testing.T) {
	d := compactor(t, nil)
	for i := range int32(6) {
		if o := d.produce(batchSpec{producer: 7, sequence: i, value: []byte("v")}, AcksAll); o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	for range 3 {
		d.produce(batchSpec{value: []byte("of another")}, AcksAll)
	}
	last := d.p.Log().Segments()
	upTo := last[len(last)-1].BaseOffset
	if stats, err := d.p.Compact(t.Context(), upTo, log.CompactOptions{}); err != nil || stats.Removed == 0 {
		t.Fatalf("%+v, %v", stats, err)
	}
	b := read(t, d.p, 0, 1<<20)
	found := false
	for len(b) > 0 {
		h, err := record.ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		found = found || h.ProducerID == 7 && h.BaseSequence == 5
		b = b[h.Bytes():]
	}
	if !found {
		t.Error("the producer's last batch is gone from the log")
	}
	if o := d.produce(batchSpec{producer: 7, sequence: 6, value: []byte("v")}, AcksAll); o.Err != nil {
		t.Error(o.Err)
	}
	if o := d.produce(batchSpec{producer: 7, sequence: 5, value: []byte("v")}, AcksAll); o.Err != nil || o.BaseOffset != 5 {
		t.Errorf("a duplicate: %+v", o)
	}
}

// With compact,delete retention takes compacted segments, emptied ones too.
func TestRetentionOfACompactedLog(t *testing.T) {
	d := compactor(t, func(c *Config) { c.RetentionMillis = 10 * 60_000 })
	for i := range 9 {
		d.put(i%2, fmt.Sprintf("val%02d", i))
	}
	if _, err := d.p.Compact(t.Context(), 8, log.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := d.p.Retain(); err != nil {
		t.Fatal(err)
	}
	d.step()
	if d.p.LogStartOffset() != 0 {
		t.Fatalf("the log starts at %d too early", d.p.LogStartOffset())
	}
	d.p.DeleteRecords(3, func(low int64, err error) {
		if low != 3 || err != nil {
			t.Errorf("%d, %v", low, err)
		}
	})
	d.step()
	b := read(t, d.p, 3, 1<<20)
	h, err := record.ParseHeader(b)
	if err != nil || h.BaseOffset != 6 {
		t.Errorf("from offset 3 on there is %d, %v", h.BaseOffset, err)
	}
	cfg := d.p.Config()
	cfg.KeepRecords = true
	d.p.SetConfig(cfg)
	d.p.DeleteRecords(4, func(low int64, err error) {
		if low != -1 || !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("of a topic that is compacted only: %d, %v", low, err)
		}
	})
	d.clock.advance(11 * time.Minute)
	if err := d.p.Retain(); err != nil {
		t.Fatal(err)
	}
	d.step()
	if d.p.LogStartOffset() != 9 || !slices.Contains(d.dropped, 9) {
		t.Errorf("the log starts at %d, files are dropped up to %v", d.p.LogStartOffset(), d.dropped)
	}
}

func TestCompactWithoutALog(t *testing.T) {
	p := New(testIdentity, defaultConfig(), nil, nil)
	if _, err := p.Compact(context.Background(), 5, log.CompactOptions{}); err == nil {
		t.Error("a replica that is not there was compacted")
	}
	if err := p.RollAged(); err != nil {
		t.Error(err)
	}
}
