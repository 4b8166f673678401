package partition

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/fanfold/fanfold/log"
)

// epochModel knows the epoch of each record, and all epochs that began.
type epochModel struct {
	records []int32 // by offset
	begun   []int32
	start   int64
}

// end is what Kafka's leader epoch cache answers: the largest epoch up to the
// one asked for that has records or is the newest, and where the next begins.
func (m *epochModel) end(epoch int32) (int32, int64) {
	newest := m.begun[len(m.begun)-1]
	logEnd := int64(len(m.records))
	switch {
	case epoch == newest:
		return newest, logEnd
	case epoch > newest || epoch < 0:
		return -1, -1
	}
	// The next epoch begins behind the last record up to the one asked for.
	next := m.start
	floor := int32(-1)
	for i := int64(0); i < logEnd && m.records[i] <= epoch; i++ {
		if i >= m.start {
			next, floor = i+1, m.records[i]
		}
	}
	if floor < 0 {
		// Nothing that is left is so old.
		return epoch, m.start
	}
	return floor, next
}

func TestEpochEndOffsetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver(t, defaultConfig(), log.Limits{})
		m := &epochModel{begun: []int32{1}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2:
				d.lead(d.term + uint64(rapid.IntRange(1, 3).Draw(t, "terms")))
				m.begun = append(m.begun, int32(d.term))
			case 3:
				to := rapid.Int64Range(m.start, int64(len(m.records))).Draw(t, "start")
				d.p.DeleteRecords(to, func(int64, error) {})
				d.step()
				m.start = to
			case 4:
				d.p = d.replay(defaultConfig(), d.p.Snapshot())
				d.p.Bind(d)
				d.lead(d.term + 1)
				m.begun = append(m.begun, int32(d.term))
			default:
				n := rapid.IntRange(1, 3).Draw(t, "records")
				if o := d.produce(batchSpec{records: n}, AcksAll); o.Err != nil {
					t.Fatal(o.Err)
				}
				for range n {
					m.records = append(m.records, int32(d.term))
				}
			}
			if n, most := len(d.p.mu.epochs), len(m.records)+1; n > most {
				t.Fatalf("%d epochs are kept for %d records", n, len(m.records))
			}
			for epoch := int32(-1); epoch <= int32(d.term)+1; epoch++ {
				wantEpoch, wantEnd := m.end(epoch)
				gotEpoch, gotEnd, err := d.p.EpochEndOffset(-1, epoch)
				if err != nil || gotEpoch != wantEpoch || gotEnd != wantEnd {
					t.Fatalf("epoch %d ends as %d at %d, want %d at %d (%v); records %v from %d, table %v",
						epoch, gotEpoch, gotEnd, wantEpoch, wantEnd, err, m.records, m.start, d.p.mu.epochs)
				}
			}
		}
	})
}

func TestLeaderEpochChecks(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	d.lead(4)
	for epoch, want := range map[int32]error{-1: nil, 4: nil, 3: kerr.FencedLeaderEpoch, 5: kerr.UnknownLeaderEpoch} {
		r := d.p.Read(FetchRequest{MaxBytes: 1, CurrentLeaderEpoch: epoch, LastFetchedEpoch: -1})
		_, _, latest := d.p.LatestOffset(epoch, ReadUncommitted)
		_, _, earliest := d.p.EarliestOffset(epoch)
		_, byTime := d.p.OffsetForTimestamp(t.Context(), epoch, 0)
		_, maxTime := d.p.MaxTimestamp(t.Context(), epoch)
		_, _, end := d.p.EpochEndOffset(epoch, 4)
		for name, err := range map[string]error{"read": r.Err, "latest": latest, "earliest": earliest, "time": byTime, "max time": maxTime, "epoch end": end} {
			if !errors.Is(err, want) {
				t.Errorf("epoch %d: %s: %v, want %v", epoch, name, err, want)
			}
		}
	}
}

// A reader whose last epoch ended earlier here is told so (KIP-595).
func TestReadDiverging(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	d.produce(batchSpec{records: 3}, AcksAll)
	d.lead(5)
	d.produce(batchSpec{records: 3}, AcksAll)
	for _, c := range []struct {
		offset int64
		epoch  int32
		at     int32
		end    int64
	}{
		{3, 1, -1, -1},
		{5, 1, 1, 3},
		{6, 5, -1, -1},
		{4, 3, 1, 3}, // an epoch that was never here
	} {
		r := d.p.Read(FetchRequest{Offset: c.offset, MaxBytes: 1000, CurrentLeaderEpoch: -1, LastFetchedEpoch: c.epoch})
		r.Records.Release()
		if r.Err != nil || r.DivergingEpoch != c.at || r.DivergingOffset != c.end {
			t.Errorf("at %d of epoch %d: epoch %d ends at %d (%v), want %d at %d", c.offset, c.epoch, r.DivergingEpoch, r.DivergingOffset, r.Err, c.at, c.end)
		}
	}
}
