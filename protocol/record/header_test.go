package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testBatch is a sound, uncompressed batch of three records, built by kmsg.
func testBatch() []byte {
	var records []byte
	for i := range 3 {
		records = appendKmsgRecord(records, kmsg.Record{
			TimestampDelta64: int64(i),
			OffsetDelta:      int32(i),
			Key:              []byte("key"),
			Value:            []byte("a value"),
			Headers:          []kmsg.Header{{Key: "h", Value: []byte{1}}},
		})
	}
	return kmsgBatch(kmsg.RecordBatch{
		LastOffsetDelta: 2,
		FirstTimestamp:  1000,
		MaxTimestamp:    1002,
		ProducerID:      -1,
		ProducerEpoch:   -1,
		FirstSequence:   -1,
		NumRecords:      3,
		Records:         records,
	})
}

func appendKmsgRecord(dst []byte, r kmsg.Record) []byte {
	body := r.AppendTo(nil)[1:] // without the length 0
	dst = binary.AppendVarint(dst, int64(len(body)))
	return append(dst, body...)
}

// kmsgBatch encodes b with the right magic, length and CRC.
func kmsgBatch(b kmsg.RecordBatch) []byte {
	b.Magic = 2
	b.PartitionLeaderEpoch = -1
	b.Length = int32(minBatchLength + len(b.Records))
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// kindOf is the kind of an *Error, 0 for nil.
func kindOf(t *testing.T, err error) Kind {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T) is no *Error", err, err)
	}
	return e.Kind
}

func TestParseHeaderReadsWhatKmsgWrites(t *testing.T) {
	raw := kmsgBatch(kmsg.RecordBatch{
		FirstOffset: 77, Attributes: 0x7c, LastOffsetDelta: 9, FirstTimestamp: 5, MaxTimestamp: 8,
		ProducerID: 11, ProducerEpoch: 3, FirstSequence: math.MaxInt32 - 4, NumRecords: 10,
		Records: []byte("opaque"),
	})
	SetLeaderEpoch(raw, 6)
	h, err := ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := Header{
		BaseOffset: 77, BatchLength: 55, LeaderEpoch: 6, Magic: 2, CRC: ComputeCRC(raw), Attributes: 0x7c,
		LastOffsetDelta: 9, BaseTimestamp: 5, MaxTimestamp: 8, ProducerID: 11, ProducerEpoch: 3,
		BaseSequence: math.MaxInt32 - 4, Records: 10,
	}
	if h != want {
		t.Fatalf("got %+v, want %+v", h, want)
	}
	got := []any{h.Bytes(), h.LastOffset(), h.NextOffset(), h.Codec(), h.TimestampType(), h.IsTransactional(),
		h.IsControl(), h.HasDeleteHorizon(), h.HasProducer(), h.LastSequence()}
	if want := []any{67, int64(86), int64(87), Zstd, LogAppendTime, true, true, true, true, int32(4)}; !reflect.DeepEqual(got, want) {
		t.Fatalf("derived values %v, want %v", got, want)
	}
	if h.BaseSequence = -1; h.LastSequence() != -1 {
		t.Fatal("a batch without producer has a last sequence")
	}
	var again [HeaderBytes]byte
	h, _ = ParseHeader(raw)
	h.put(&again)
	if string(again[:]) != string(raw[:HeaderBytes]) {
		t.Fatal("put does not write what was parsed")
	}
}

func TestPatchesKeepOrRenewTheCRC(t *testing.T) {
	b := testBatch()
	SetBaseOffset(b, 1<<40)
	SetLeaderEpoch(b, 12)
	if h, err := Validate(b); err != nil || h.BaseOffset != 1<<40 || h.LeaderEpoch != 12 {
		t.Fatalf("after patching: %+v, %v", h, err)
	}
	SetLogAppendTime(b, 123456)
	h, err := Validate(b)
	if err != nil || h.TimestampType() != LogAppendTime || h.MaxTimestamp != 123456 || h.BaseTimestamp != 1000 {
		t.Fatalf("after stamping: %+v, %v", h, err)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	put16 := func(pos int, v int16) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint16(b[pos:], uint16(v)); return b }
	}
	put32 := func(pos int, v int32) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint32(b[pos:], uint32(v)); return b }
	}
	put64 := func(pos int, v int64) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint64(b[pos:], uint64(v)); return b }
	}
	magic := func(m byte) func([]byte) []byte {
		return func(b []byte) []byte { b[posMagic] = m; return b }
	}
	cases := []struct {
		name    string
		change  func([]byte) []byte
		keepCRC bool
		kind    Kind
		text    string
	}{
		{"nothing", func([]byte) []byte { return nil }, true, InvalidRecord, "no record batch"},
		{"header cut", func(b []byte) []byte { return b[:60] }, true, Corrupt, "60 bytes"},
		{"records cut", func(b []byte) []byte { return b[:len(b)-1] }, true, Corrupt, "batch length"},
		{"two batches", func(b []byte) []byte { return append(b, b...) }, true, InvalidRecord, "one batch"},
		{"magic 0", magic(0), true, InvalidRecord, "message set"},
		{"magic 1", magic(1), true, InvalidRecord, "message set"},
		{"magic 1, short", func(b []byte) []byte { b[posMagic] = 1; return b[:30] }, true, InvalidRecord, "message set"},
		{"magic 3", magic(3), true, Corrupt, "magic 3"},
		{"length below header", put32(posBatchLength, 48), true, Corrupt, "batch length 48"},
		{"length negative", put32(posBatchLength, -1), true, Corrupt, "batch length -1"},
		{"length overflows", put32(posBatchLength, math.MaxInt32), true, Corrupt, "overflows"},
		{"CRC", put32(posCRC, 1), true, Corrupt, "CRC"},
		{"delta negative", put32(posLastOffsetDelta, -1), false, Corrupt, "last offset delta -1"},
		{"offset overflows", put64(posBaseOffset, math.MaxInt64), true, Corrupt, "base offset"},
		{"codec", put16(posAttributes, 5), false, UnsupportedCodec, "codec 5"},
		{"no records", put32(posRecords, 0), false, InvalidRecord, "record count is 0"},
		{"negative records", put32(posRecords, -1), false, Corrupt, "record count -1"},
		{"count over delta", put32(posRecords, 4), false, InvalidRecord, "record count 4"},
		{"control", put16(posAttributes, 1<<5), false, InvalidRecord, "control"},
		{"transaction without producer", put16(posAttributes, 1<<4), false, InvalidRecord, "transactional"},
		{"producer without epoch", put64(posProducerID, 4), false, InvalidRecord, "producer epoch -1"},
		{"producer id", put64(posProducerID, -2), false, InvalidRecord, "producer id -2"},
		{"base time", put64(posBaseTimestamp, -2), false, InvalidRecord, "base timestamp -2"},
		{"max time", put64(posMaxTimestamp, -2), false, InvalidRecord, "max timestamp -2"},
		{"count over bytes", func(b []byte) []byte {
			return put32(posRecords, 1000)(put32(posLastOffsetDelta, 999)(b))
		}, false, InvalidRecord, "does not fit into"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := c.change(testBatch())
			if !c.keepCRC {
				setCRC(b)
			}
			_, err := Validate(b)
			if kindOf(t, err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want kind %v with %q", err, c.kind, c.text)
			}
		})
	}
	if _, err := Validate(testBatch()); err != nil {
		t.Fatal(err)
	}
}

func TestValidateAllocatesNothing(t *testing.T) {
	b := testBatch()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Validate(b); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestEveryFlippedBitBelowTheCRCIsFound(t *testing.T) {
	for pos := posMagic; pos < len(testBatch()); pos++ {
		for bit := range 8 {
			b := testBatch()
			b[pos] ^= 1 << bit
			if _, err := Validate(b); err == nil {
				t.Fatalf("flipped bit %d of byte %d is not found", bit, pos)
			}
		}
	}
}

func TestParseCodec(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		if got, err := ParseCodec(c.String()); err != nil || got != c {
			t.Errorf("ParseCodec(%q) = %v, %v", c.String(), got, err)
		}
	}
	if _, err := ParseCodec("brotli"); err == nil {
		t.Error("brotli is a codec")
	}
	if Codec(7).Known() || Codec(7).String() != "codec 7" {
		t.Error("codec 7 is known")
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(testBatch())
	f.Add(testBatch()[:HeaderBytes])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if kindOf(t, err) != 0 {
			return
		}
		if h.Bytes() < HeaderBytes || h.LastOffset() < h.BaseOffset || h.NextOffset() <= h.BaseOffset || h.Magic != Magic {
			t.Fatalf("took %+v", h)
		}
		var want kmsg.RecordBatch
		if err := want.ReadFrom(append(b[:HeaderBytes:HeaderBytes], make([]byte, max(0, min(h.Bytes(), 1<<16)-HeaderBytes))...)); err == nil {
			if want.FirstOffset != h.BaseOffset || want.ProducerEpoch != h.ProducerEpoch || want.NumRecords != h.Records {
				t.Fatalf("got %+v, kmsg reads %+v", h, want)
			}
		}
		var again [HeaderBytes]byte
		h.put(&again)
		if string(again[:]) != string(b[:HeaderBytes]) {
			t.Fatal("the header does not round trip")
		}
	})
}

func FuzzValidate(f *testing.F) {
	f.Add(testBatch())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= HeaderBytes { // get past the CRC
			b = append([]byte(nil), b...)
			setCRC(b)
		}
		h, err := Validate(b)
		if kindOf(t, err) != 0 {
			return
		}
		if h.Bytes() != len(b) || h.Records != h.LastOffsetDelta+1 || h.IsControl() || !h.Codec().Known() {
			t.Fatalf("took %+v of %d bytes", h, len(b))
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	for _, n := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run("batchBytes="+strconv.Itoa(n), func(b *testing.B) {
			batch := kmsgBatch(kmsg.RecordBatch{ProducerID: -1, NumRecords: 1, Records: make([]byte, n-HeaderBytes)})
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
