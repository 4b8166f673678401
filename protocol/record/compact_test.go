package record

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// keyedRecord is a record as the tests of compaction compare it.
type keyedRecord struct {
	offset, at int64
	key, value string
	tombstone  bool
	headers    int
}

func keyedRecords(t testing.TB, b []byte) []keyedRecord {
	t.Helper()
	h, err := Verify(b)
	if err != nil {
		t.Fatal(err)
	}
	var list []keyedRecord
	for r, err := range Records(b, Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, keyedRecord{h.RecordOffset(r), h.RecordTimestamp(r), string(r.Key), string(r.Value), r.Value == nil, len(r.Headers)})
	}
	return list
}

func keyedBatch(t testing.TB, codec Codec, n int) []byte {
	t.Helper()
	b, err := NewBuilder(codec, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.SetBaseOffset(1000)
	b.SetProducer(7, 2, 50)
	for i := range n {
		var value []byte
		if i%3 != 2 {
			value = fmt.Appendf(nil, "value %d", i)
		}
		b.Append(int64(500-7*i), fmt.Appendf(nil, "key %d", i), value, []RecordHeader{{Key: []byte("h"), Value: []byte{byte(i)}}})
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	SetLeaderEpoch(raw, 4)
	return raw
}

func TestCompactKeepsWhatStays(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for _, appendTime := range []bool{false, true} {
			for _, horizon := range []int64{NoHorizon, 90_000} {
				raw := keyedBatch(t, codec, 12)
				if appendTime {
					SetLogAppendTime(raw, 777)
				}
				var c Compactor
				keep := func(r *Record) bool { return r.OffsetDelta%4 != 0 && r.OffsetDelta != 11 }
				out, done, err := c.Compact([]byte("before"), raw, horizon, keep)
				if err != nil || !done.Changed || done.Records != 12 || done.Kept != 8 {
					t.Fatalf("%v: %+v, %v", codec, done, err)
				}
				rest, ok := bytes.CutPrefix(out, []byte("before"))
				if !ok {
					t.Fatal("what was there is gone")
				}
				want := slices.DeleteFunc(keyedRecords(t, raw), func(r keyedRecord) bool {
					return (r.offset-1000)%4 == 0 || r.offset == 1011
				})
				if got := keyedRecords(t, rest); !slices.Equal(got, want) {
					t.Fatalf("%v: got %+v, want %+v", codec, got, want)
				}
				was, _ := ParseHeader(raw)
				h, _ := ParseHeader(rest)
				if h.BaseOffset != was.BaseOffset || h.LastOffset() != was.LastOffset() || h.LeaderEpoch != 4 || h.Codec() != codec ||
					h.ProducerID != 7 || h.ProducerEpoch != 2 || h.BaseSequence != 50 || h.LastSequence() != was.LastSequence() {
					t.Errorf("%v: header %+v, it was %+v", codec, h, was)
				}
				if h.HasDeleteHorizon() != (horizon >= 0) || horizon >= 0 && h.BaseTimestamp != horizon {
					t.Errorf("%v: horizon %v at %d, want %d", codec, h.HasDeleteHorizon(), h.BaseTimestamp, horizon)
				}
				if wantMax := int64(493); !appendTime && h.MaxTimestamp != wantMax || appendTime && h.MaxTimestamp != 777 {
					t.Errorf("%v: largest time %d", codec, h.MaxTimestamp)
				}
			}
		}
	}
}

func TestCompactOfWhatDoesNotChange(t *testing.T) {
	raw := keyedBatch(t, LZ4, 2) // no tombstone
	var c Compactor
	all := func(*Record) bool { return true }
	if out, done, err := c.Compact(nil, raw, 5, all); err != nil || done.Changed || len(out) > 0 || done.Kept != 2 {
		t.Errorf("%d bytes, %+v, %v", len(out), done, err)
	}
	if out, done, err := c.Compact(nil, raw, 5, func(*Record) bool { return false }); err != nil || !done.Changed || len(out) > 0 || done.Kept != 0 {
		t.Errorf("%d bytes, %+v, %v", len(out), done, err)
	}
	// A horizon is set once.
	raw = keyedBatch(t, LZ4, 3)
	out, done, err := c.Compact(nil, raw, 5000, all)
	if err != nil || !done.Changed {
		t.Fatalf("%+v, %v", done, err)
	}
	if again, done, err := c.Compact(nil, out, 9000, all); err != nil || done.Changed || len(again) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	// Taking a record out of it leaves the horizon.
	again, _, err := c.Compact(nil, out, 9000, func(r *Record) bool { return r.OffsetDelta > 0 })
	if err != nil {
		t.Fatal(err)
	}
	if h, _ := ParseHeader(again); !h.HasDeleteHorizon() || h.BaseTimestamp != 5000 {
		t.Errorf("horizon %v at %d", h.HasDeleteHorizon(), h.BaseTimestamp)
	}
	if got, want := keyedRecords(t, again), keyedRecords(t, raw)[1:]; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAppendEmpty(t *testing.T) {
	raw := keyedBatch(t, Zstd, 5)
	was, _ := ParseHeader(raw)
	empty := AppendEmpty(nil, was)
	h, err := Verify(empty)
	if err != nil {
		t.Fatal(err)
	}
	if h.Records != 0 || h.LastOffset() != was.LastOffset() || h.BaseOffset != was.BaseOffset || h.LastSequence() != was.LastSequence() ||
		h.ProducerID != 7 || h.Codec() != None || h.BaseTimestamp != -1 || h.MaxTimestamp != was.MaxTimestamp || len(empty) != HeaderBytes {
		t.Errorf("%+v", h)
	}
	if sum, err := CheckRecords(empty, Limits{}, Check{Compacted: true}); err != nil || sum.Records != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	var c Compactor
	if _, done, err := c.Compact(nil, empty, 5, func(*Record) bool { return true }); err != nil || done.Changed || done.Records != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}

// FuzzCompact takes records out of arbitrary batches: what stays is what was
// there.
func FuzzCompact(f *testing.F) {
	for codec := None; codec <= Zstd; codec++ {
		f.Add(keyedBatch(f, codec, 7), uint64(0b1010011), int64(900))
	}
	f.Add(AppendEmpty(nil, Header{Magic: Magic}), uint64(1), NoHorizon)
	f.Fuzz(func(t *testing.T, b []byte, mask uint64, horizon int64) {
		if len(b) < HeaderBytes || len(b) > 1<<16 {
			return
		}
		b = bytes.Clone(b)
		setCRC(b)
		limits := Limits{MaxDecompressedBytes: 1 << 20}
		var want []keyedRecord
		h, _ := ParseHeader(b)
		keep := func(r *Record) bool {
			stays := mask>>(uint(r.OffsetDelta)%64)&1 == 1
			if stays {
				want = append(want, keyedRecord{h.RecordOffset(r), h.RecordTimestamp(r), string(r.Key), string(r.Value), r.Value == nil, 0})
			}
			return stays
		}
		c := Compactor{Limits: limits}
		out, done, err := c.Compact(nil, b, max(horizon, NoHorizon), keep)
		if err != nil {
			return
		}
		if !done.Changed || done.Kept == 0 {
			if len(out) > 0 || done.Kept != len(want) {
				t.Fatalf("%+v with %d bytes", done, len(out))
			}
			return
		}
		now, err := Verify(out)
		if err != nil {
			t.Fatal(err)
		}
		if now.BaseOffset != h.BaseOffset || now.LastOffset() != h.LastOffset() {
			t.Fatalf("offsets %d to %d became %d to %d", h.BaseOffset, h.LastOffset(), now.BaseOffset, now.LastOffset())
		}
		var got []keyedRecord
		err = Scan(out, limits, func(r *Record) bool {
			got = append(got, keyedRecord{now.RecordOffset(r), now.RecordTimestamp(r), string(r.Key), string(r.Value), r.Value == nil, 0})
			return true
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %+v, want %+v: %v", got, want, err)
		}
	})
}
