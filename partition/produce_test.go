package partition

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

func TestProduceAnswers(t *testing.T) {
	for _, acks := range []int16{AcksNone, AcksLeader, AcksAll} {
		d := newDriver(t, defaultConfig(), log.Limits{})
		for i := range 5 {
			o := d.produce(batchSpec{records: 3}, acks)
			if o.Err != nil || o.answers != 1 || o.releases != 1 {
				t.Fatalf("acks %d: %+v", acks, o)
			}
			if o.BaseOffset != int64(3*i) || o.LogAppendTime != -1 || o.LogStartOffset != 0 || o.LeaderEpoch != 1 {
				t.Errorf("acks %d: batch %d is answered with %+v", acks, i, o.ProduceResult)
			}
			// Who was answered can read what was written.
			if o.watermark != int64(3*i+3) {
				t.Errorf("acks %d: answered when the high watermark was %d", acks, o.watermark)
			}
		}
	}
}

// acks=1 is answered when the batch is durable here, acks=all when committed;
// the bytes are given back when nobody reads them.
func TestProduceAcks(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	s := newSink(d.p)
	for tag, acks := range []int16{AcksNone, AcksLeader, AcksAll} {
		d.p.Produce(batchSpec{}.build(t), acks, tag, s)
		if o := s.get(tag); o.answers != 0 {
			t.Fatalf("acks %d is answered before the batch is stored", acks)
		}
	}
	stored := d.store(3)
	d.p.Applied()
	for tag, want := range []int{1, 1, 0} {
		if o := s.get(tag); o.answers != want || o.releases != 0 || (want == 1 && o.BaseOffset != int64(tag)) {
			t.Errorf("tag %d once stored: %+v", tag, o)
		}
	}
	if hw := d.p.HighWatermark(); hw != 0 {
		t.Errorf("the high watermark is %d before anything is committed", hw)
	}
	d.commit(stored)
	for tag := range 3 {
		if o := s.get(tag); o.answers != 1 || o.releases != 1 || o.BaseOffset != int64(tag) {
			t.Errorf("tag %d once committed: %+v", tag, o)
		}
	}
}

func TestProduceRefuses(t *testing.T) {
	now := start.UnixMilli()
	for name, c := range map[string]struct {
		cfg   func(*Config)
		spec  batchSpec
		spoil func([]byte) []byte
		acks  int16
		code  *kerr.Error
		text  string
	}{
		"CRC":                 {spoil: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, code: kerr.CorruptMessage, text: "CRC"},
		"cut":                 {spoil: func(b []byte) []byte { return b[:len(b)-3] }, code: kerr.CorruptMessage, text: "batch length"},
		"empty":               {spoil: func([]byte) []byte { return nil }, code: kerr.InvalidRecord, text: "no record batch"},
		"two batches":         {spoil: func(b []byte) []byte { return append(b, b...) }, code: kerr.InvalidRecord, text: "one batch"},
		"old format":          {spoil: func(b []byte) []byte { b[16] = 1; return b }, code: kerr.InvalidRecord, text: "magic 1"},
		"control":             {spec: batchSpec{producer: 5, prepare: (*record.Builder).SetControl}, code: kerr.InvalidRecord, text: "control"},
		"transactional":       {spec: batchSpec{producer: 5, prepare: (*record.Builder).SetTransactional}, code: kerr.InvalidTxnState, text: "not supported yet"},
		"size":                {cfg: func(c *Config) { c.MaxMessageBytes = 100 }, spec: batchSpec{value: make([]byte, 200)}, code: kerr.MessageTooLarge, text: "max.message.bytes is 100"},
		"size, recompressed":  {cfg: func(c *Config) { c.MaxMessageBytes, c.Recompress = 100, true }, spec: batchSpec{codec: record.Gzip, value: make([]byte, 2000)}, code: kerr.MessageTooLarge, text: "max.message.bytes is 100"},
		"in sync":             {cfg: func(c *Config) { c.MinInsyncReplicas = 2 }, acks: AcksAll, code: kerr.NotEnoughReplicas, text: "min.insync.replicas is 2"},
		"too late":            {spec: batchSpec{timestamps: []int64{now, now + 3_600_001}}, code: kerr.InvalidTimestamp, text: "message.timestamp.after.max.ms is 3600000"},
		"too early":           {cfg: func(c *Config) { c.TimestampBeforeMaxMillis = 1000 }, spec: batchSpec{timestamps: []int64{now, now - 1001}}, code: kerr.InvalidTimestamp, text: "of record 1"},
		"log append time":     {spoil: func(b []byte) []byte { record.SetLogAppendTime(b, now); return b }, code: kerr.InvalidTimestamp, text: "LogAppendTime"},
		"producer's sequence": {spec: batchSpec{producer: 5, sequence: -3}, code: kerr.InvalidRecord, text: "base sequence -3"},
		"bomb":                {cfg: func(c *Config) { c.Recompress, c.MaxDecompressedBytes = true, 1000 }, spec: batchSpec{codec: record.Zstd, value: make([]byte, 100_000)}, code: kerr.MessageTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := defaultConfig()
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			d := newDriver(t, cfg, log.Limits{})
			b := c.spec.build(t)
			if c.spoil != nil {
				b = c.spoil(b)
			}
			s := newSink(d.p)
			d.p.Produce(b, c.acks, 1, s)
			o := s.get(1)
			code, text := protocol.ErrorOf(o.Err)
			if code != c.code.Code || !strings.Contains(text, c.text) || o.answers != 1 || o.releases != 1 || o.BaseOffset != -1 {
				t.Errorf("got code %d %q in %+v; want %v, …%s…", code, text, o, c.code, c.text)
			}
			d.step()
			if end := d.log.EndOffset(); end != 0 {
				t.Errorf("the log ends at %d", end)
			}
		})
	}
}

func TestProduceTimestamps(t *testing.T) {
	now := start.UnixMilli()
	cfg := defaultConfig()
	cfg.TimestampBeforeMaxMillis = 1000
	d := newDriver(t, cfg, log.Limits{})
	for name, ts := range map[string][]int64{
		"at the limits": {now - 1000, now + 3_600_000},
		"none":          {-1},
	} {
		if o := d.produce(batchSpec{timestamps: ts}, AcksAll); o.Err != nil {
			t.Errorf("%s: %v", name, o.Err)
		}
	}
	cfg.LogAppendTime = true
	d.p.SetConfig(cfg)
	o := d.produce(batchSpec{timestamps: []int64{now - 100_000, now + 9_000_000}}, AcksAll)
	if o.Err != nil || o.LogAppendTime != now {
		t.Fatalf("LogAppendTime: %+v", o)
	}
	b := read(t, d.p, o.BaseOffset, 1<<20)
	h, err := record.Verify(b)
	if err != nil || h.MaxTimestamp != now || h.TimestampType() != record.LogAppendTime {
		t.Errorf("stored as %+v, %v", h, err)
	}
}

func TestProduceRecompresses(t *testing.T) {
	value := bytes.Repeat([]byte("fanfold "), 500)
	codecs := []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
	for _, from := range codecs {
		for _, to := range codecs {
			t.Run(fmt.Sprintf("%v to %v", from, to), func(t *testing.T) {
				cfg := defaultConfig()
				cfg.Recompress, cfg.Codec = true, to
				d := newDriver(t, cfg, log.Limits{})
				o := d.produce(batchSpec{codec: from, records: 3, value: value, producer: 9, epoch: 2, sequence: 0}, AcksAll)
				if o.Err != nil {
					t.Fatal(o.Err)
				}
				b := read(t, d.p, 0, 1<<20)
				h, err := record.Verify(b)
				if err != nil || h.Codec() != to || h.Records != 3 || h.ProducerID != 9 || h.ProducerEpoch != 2 {
					t.Fatalf("stored as %+v, %v", h, err)
				}
				n := 0
				for r, err := range record.Records(b, record.Limits{}) {
					if err != nil || !bytes.Equal(r.Value, value) {
						t.Fatalf("record %d: %v", n, err)
					}
					n++
				}
				if n != 3 {
					t.Errorf("%d records", n)
				}
			})
		}
	}
}

func TestProduceWithoutLeadership(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	s := newSink(d.p)
	d.p.Produce(batchSpec{producer: 5}.build(t), AcksAll, 1, s)
	d.p.SteppedDown()
	for _, q := range d.take(1) {
		d.p.Dropped(q.request, errors.New("leadership is lost"))
	}
	if o := s.get(1); o.answers != 1 || !errors.Is(o.Err, kerr.NotLeaderForPartition) {
		t.Errorf("dropped with the leadership: %+v", o)
	}
	d.p.Produce(batchSpec{}.build(t), AcksAll, 2, s)
	if o := s.get(2); !errors.Is(o.Err, kerr.NotLeaderForPartition) || o.releases != 1 {
		t.Errorf("no leader: %+v", o)
	}
	d.lead(3)
	d.refuse = errors.New("replica is not the leader")
	d.p.Produce(batchSpec{producer: 5}.build(t), AcksAll, 3, s)
	if o := s.get(3); !errors.Is(o.Err, kerr.NotLeaderForPartition) {
		t.Errorf("refused by the group: %+v", o)
	}
	d.refuse = nil
	if o := d.produce(batchSpec{producer: 5}, AcksAll); o.Err != nil || o.BaseOffset != 0 {
		t.Errorf("tried again: %+v", o)
	}
}

func TestProduceOffline(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	if o := d.produce(batchSpec{}, AcksAll); o.Err != nil {
		t.Fatal(o.Err)
	}
	s := newSink(d.p)
	d.p.Produce(batchSpec{producer: 5}.build(t), AcksAll, 1, s)
	// The group tells of the failed write before it says that the replica is
	// offline.
	for _, q := range d.take(1) {
		d.p.Dropped(q.request, fmt.Errorf("append: %w", &log.FailedError{Cause: syscall.ENOSPC}))
	}
	d.fail(fmt.Errorf("append: %w", syscall.ENOSPC))
	d.p.Produce(batchSpec{}.build(t), AcksAll, 2, s)
	for tag := 1; tag <= 2; tag++ {
		if o := s.get(tag); o.answers != 1 || !errors.Is(o.Err, kerr.KafkaStorageError) || !strings.Contains(o.Err.Error(), "no space") {
			t.Errorf("tag %d: %+v", tag, o)
		}
	}
	if b := read(t, d.p, 0, 1<<20); len(b) == 0 {
		t.Error("nothing can be read offline")
	}
	if offset, _, err := d.p.LatestOffset(-1, ReadUncommitted); offset != 1 || err != nil {
		t.Errorf("latest offset %d, %v", offset, err)
	}
}

// A duplicate of a batch that is under way waits for it, as long as its own
// acks ask for.
func TestProduceDuplicateUnderWay(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	s := newSink(d.p)
	spec := batchSpec{producer: 5, records: 2}
	d.p.Produce(spec.build(t), AcksLeader, 1, s)
	d.p.Produce(spec.build(t), AcksAll, 2, s)
	d.p.Produce(spec.build(t), AcksLeader, 3, s)
	stored := d.store(9)
	d.p.Applied()
	d.p.Produce(spec.build(t), AcksAll, 4, s)
	for tag, want := range map[int]int{1: 1, 2: 0, 3: 1, 4: 0} {
		if o := s.get(tag); o.answers != want {
			t.Errorf("tag %d once stored: %+v", tag, o)
		}
	}
	d.commit(stored)
	d.p.Produce(spec.build(t), AcksAll, 5, s)
	for tag := 1; tag <= 5; tag++ {
		if o := s.get(tag); o.answers != 1 || o.releases != 1 || o.Err != nil || o.BaseOffset != 0 {
			t.Errorf("tag %d: %+v", tag, o)
		}
	}
	if end := d.log.EndOffset(); end != 2 {
		t.Errorf("the log ends at %d", end)
	}
	// Those that wait fail with it, too.
	spec.sequence = 2
	d.p.Produce(spec.build(t), AcksAll, 6, s)
	d.p.Produce(spec.build(t), AcksAll, 7, s)
	d.fail(errors.New("disk is gone"))
	for tag := 6; tag <= 7; tag++ {
		if o := s.get(tag); o.answers != 1 || o.Err == nil {
			t.Errorf("tag %d: %+v", tag, o)
		}
	}
}

func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			cfg := defaultConfig()
			cfg.MaxMessageBytes = 2 << 20
			d := newDriver(b, cfg, log.Limits{})
			data := batchSpec{value: make([]byte, size)}.build(b)
			s := newSink(d.p)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				d.p.Produce(data, AcksAll, 1, s)
				for _, q := range d.take(1) {
					d.p.Dropped(q.request, errors.New("not stored"))
				}
			}
		})
	}
}
