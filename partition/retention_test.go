package partition

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
)

func TestDeleteRecords(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	for range 5 {
		d.produce(batchSpec{records: 2}, AcksAll)
	}
	for _, c := range []struct {
		offset, want int64
		err          error
	}{
		{0, 0, nil},
		{11, -1, kerr.OffsetOutOfRange},
		{-2, -1, kerr.OffsetOutOfRange},
		{3, 3, nil},
		{2, 3, nil}, // it does not move back
		{-1, 10, nil},
	} {
		calls := 0
		d.p.DeleteRecords(c.offset, func(low int64, err error) {
			if calls++; low != c.want || !errors.Is(err, c.err) {
				t.Errorf("to %d: %d, %v; want %d, %v", c.offset, low, err, c.want, c.err)
			}
		})
		d.step()
		if calls != 1 {
			t.Errorf("to %d: %d answers", c.offset, calls)
		}
	}
	if d.p.LogStartOffset() != 10 {
		t.Errorf("the log starts at %d", d.p.LogStartOffset())
	}
	if n := len(d.dropped); n == 0 || d.dropped[n-1] != 10 {
		t.Errorf("files are dropped up to %v", d.dropped)
	}
	r := d.p.Read(FetchRequest{Offset: 9, MaxBytes: 1000, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1})
	if !errors.Is(r.Err, kerr.OffsetOutOfRange) || r.LogStartOffset != 10 {
		t.Errorf("reading what was deleted: %+v", r)
	}
	// It holds after a restart, whatever the snapshot is of.
	if p := d.replay(defaultConfig(), nil); p.LogStartOffset() != 10 {
		t.Errorf("after a restart the log starts at %d", p.LogStartOffset())
	}
	d.produce(batchSpec{}, AcksAll)
	d.p.SteppedDown()
	d.p.DeleteRecords(11, func(low int64, err error) {
		if low != -1 || !errors.Is(err, kerr.NotLeaderForPartition) {
			t.Errorf("as no leader: %d, %v", low, err)
		}
	})
	d.lead(4)
	answered := error(nil)
	d.p.DeleteRecords(11, func(_ int64, err error) { answered = err })
	d.fail(errors.New("disk is gone"))
	if !errors.Is(answered, kerr.KafkaStorageError) {
		t.Errorf("dropped: %v", answered)
	}
}

// retainer has segments of two batches each, a minute apart.
func retainer(t *testing.T, change func(*Config)) *driver {
	cfg := defaultConfig()
	change(&cfg)
	size := int64(len(batchSpec{}.build(t)))
	d := newDriver(t, cfg, log.Limits{SegmentBytes: 2 * size})
	for range 10 {
		if o := d.produce(batchSpec{timestamps: []int64{d.clock.millis()}}, AcksAll); o.Err != nil {
			t.Fatal(o.Err)
		}
		d.clock.advance(time.Minute)
	}
	if n := len(d.log.Segments()); n != 5 {
		t.Fatalf("%d segments", n)
	}
	return d
}

func (d *driver) retain(want int64) {
	d.t.Helper()
	if err := d.p.Retain(); err != nil {
		d.t.Fatal(err)
	}
	d.step()
	if got := d.p.LogStartOffset(); got != want {
		d.t.Errorf("the log starts at %d, want %d", got, want)
	}
}

func TestRetentionByTime(t *testing.T) {
	d := retainer(t, func(c *Config) { c.RetentionMillis = (4 * time.Minute).Milliseconds() })
	// Records are 10, 9, … 1 minutes old.
	d.retain(6)
	d.clock.advance(time.Minute)
	d.retain(6)
	d.clock.advance(time.Minute)
	d.retain(8)
	d.clock.advance(time.Hour)
	d.retain(10) // the active segment, too
}

func TestRetentionByBytes(t *testing.T) {
	size := int64(len(batchSpec{}.build(t)))
	for limit, want := range map[int64]int64{-1: 0, 10 * size: 0, 9 * size: 0, 8 * size: 2, 7*size + 1: 2, 1: 8, 0: 10} {
		d := retainer(t, func(c *Config) { c.RetentionBytes = limit })
		d.retain(want)
	}
}

func TestRetentionForEver(t *testing.T) {
	d := retainer(t, func(*Config) {})
	d.clock.advance(1000 * 24 * time.Hour)
	d.retain(0)
}

// Records without timestamp are as old as their file.
func TestRetentionWithoutTimestamps(t *testing.T) {
	cfg := defaultConfig()
	cfg.RetentionMillis = time.Hour.Milliseconds()
	d := newDriver(t, cfg, log.Limits{})
	d.produce(batchSpec{timestamps: []int64{-1}}, AcksAll)
	d.retain(0)
	d.clock.advance(time.Hour + time.Second)
	d.retain(1)
}

// Files below the log start that could not go are asked for again.
func TestRetentionAsksAgain(t *testing.T) {
	d := retainer(t, func(*Config) {})
	d.p.DeleteRecords(5, func(int64, error) {})
	d.step()
	d.dropped = nil
	d.retain(5)
	if len(d.dropped) != 1 || d.dropped[0] != 5 {
		t.Fatalf("asked for %v", d.dropped)
	}
	if _, err := d.log.DropBefore(5); err != nil {
		t.Fatal(err)
	}
	d.dropped = nil
	d.retain(5)
	if len(d.dropped) != 0 {
		t.Errorf("asked for %v though they are gone", d.dropped)
	}
	d.p.SteppedDown()
	d.clock.advance(1000 * time.Hour)
	if err := d.p.Retain(); err != nil {
		t.Errorf("as no leader: %v", err)
	}
}
