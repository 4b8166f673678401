package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

var allCodecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// readAll copies all records of a batch.
func readAll(b []byte, limits Limits) ([]Record, error) {
	var all []Record
	for r, err := range Records(b, limits) {
		if err != nil {
			return all, err
		}
		all = append(all, cloneRecord(r))
	}
	return all, nil
}

func cloneRecord(r *Record) Record {
	c := *r
	c.Key, c.Value, c.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), nil
	for _, h := range r.Headers {
		c.Headers = append(c.Headers, RecordHeader{bytes.Clone(h.Key), bytes.Clone(h.Value)})
	}
	return c
}

// recordsGen draws records; null, empty and large keys and values among them.
func recordsGen() *rapid.Generator[[]Record] {
	data := rapid.Custom(func(t *rapid.T) []byte {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return []byte{}
		case 2: // larger than a chunk
			return bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(0, 200_000).Draw(t, "n"))
		}
		return rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "bytes")
	})
	header := rapid.Custom(func(t *rapid.T) RecordHeader {
		return RecordHeader{Key: rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "key"), Value: data.Draw(t, "value")}
	})
	return rapid.Custom(func(t *rapid.T) []Record {
		n := rapid.IntRange(1, 20).Draw(t, "records")
		records := make([]Record, n)
		for i := range records {
			records[i] = Record{
				TimestampDelta: rapid.Int64Range(-1<<40, 1<<40).Draw(t, "time"),
				OffsetDelta:    int32(i),
				Key:            data.Draw(t, "key"),
				Value:          data.Draw(t, "value"),
				Headers:        rapid.SliceOfN(header, 0, 3).Draw(t, "headers"),
			}
			if len(records[i].Headers) == 0 {
				records[i].Headers = nil
			}
		}
		records[0].TimestampDelta = 0
		return records
	})
}

func build(t interface {
	Helper()
	Fatal(...any)
}, codec Codec, level int, records []Record) []byte {
	t.Helper()
	b, err := NewBuilder(codec, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		b.Append(1<<41+r.TimestampDelta, r.Key, r.Value, r.Headers)
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestWhatIsBuiltIsReadAndRecompressed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := recordsGen().Draw(t, "records")
		codec := rapid.SampledFrom(allCodecs).Draw(t, "codec")
		raw := build(t, codec, 0, want)
		if _, err := Validate(raw); err != nil {
			t.Fatal(err)
		}
		assertRecords(t, raw, want)
		other := rapid.SampledFrom(allCodecs).Draw(t, "other")
		again, err := Recompress(raw, other, 0, Limits{}, Check{})
		if err != nil {
			t.Fatal(err)
		}
		assertRecords(t, again, want)
		before, _ := ParseHeader(raw)
		after, err := Validate(again)
		if err != nil || after.Codec() != other {
			t.Fatal(after, err)
		}
		before.CRC, before.BatchLength, before.Attributes = after.CRC, after.BatchLength, after.Attributes
		if before != after {
			t.Fatalf("header %+v became %+v", before, after)
		}
	})
}

func assertRecords(t *rapid.T, raw []byte, want []Record) {
	t.Helper()
	got, err := readAll(raw, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("read %d records, not the %d written", len(got), len(want))
	}
	sum, err := CheckRecords(raw, Limits{}, Check{Timestamps: true})
	if err != nil || sum.Records != len(want) {
		t.Fatal(sum, err)
	}
}

// TestOtherImplementationsAgree takes what another client's codecs write, and
// the other way round.
func TestOtherImplementationsAgree(t *testing.T) {
	value := []byte(strings.Repeat("the quick brown fox ", 8000))
	records := []Record{{Key: []byte("k"), Value: value}, {OffsetDelta: 1, Value: value}}
	plain := build(t, None, 0, records)
	for codec, option := range map[Codec]kgo.CompressionCodec{
		Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
	} {
		c, err := kgo.DefaultCompressor(option)
		if err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		payload, _ := c.Compress(&buf, plain[HeaderBytes:])
		theirs := reseal(append(bytes.Clone(plain[:HeaderBytes]), payload...), codec)
		if got, err := readAll(theirs, Limits{}); err != nil || !reflect.DeepEqual(got, records) {
			t.Errorf("%v: what the other compresses reads as %d records, %v", codec, len(got), err)
		}
		ours := build(t, codec, 0, records)
		out, err := kgo.DefaultDecompressor().Decompress(ours[HeaderBytes:], kgo.CompressionCodecType(codec))
		if err != nil || !bytes.Equal(out, plain[HeaderBytes:]) {
			t.Errorf("%v: the other decompresses %d bytes, want %d: %v", codec, len(out), len(plain)-HeaderBytes, err)
		}
	}
}

// reseal writes length, codec and CRC of a batch whose payload was replaced.
func reseal(b []byte, codec Codec) []byte {
	h := decodeHeader((*[HeaderBytes]byte)(b))
	h.Attributes = h.Attributes&^attrCodecMask | int16(codec)
	if err := sealBatch(b, h); err != nil {
		panic(err)
	}
	return b
}

func TestEveryLevelWorks(t *testing.T) {
	records := []Record{{Value: []byte(strings.Repeat("level ", 1000))}}
	for _, codec := range allCodecs {
		lowest, highest := codec.LevelRange()
		for level := max(lowest, -3); level <= highest; level++ {
			raw := build(t, codec, level, records)
			if got, err := readAll(raw, Limits{}); err != nil || !reflect.DeepEqual(got, records) {
				t.Errorf("%v level %d: %v", codec, level, err)
			}
		}
		if _, err := NewBuilder(codec, highest+1); err == nil {
			t.Errorf("%v takes level %d", codec, highest+1)
		}
	}
	if _, err := NewBuilder(7, 0); kindOf(t, err) != UnsupportedCodec {
		t.Error("codec 7 is taken")
	}
}

func TestMoreThanTheLimitIsRefusedBeforeItsMemoryIsTaken(t *testing.T) {
	const limit = 1 << 20
	big := []Record{{Value: make([]byte, 64<<20)}}
	many := make([]Record, 200_000) // each well below the limit, all together above
	for i := range many {
		many[i] = Record{OffsetDelta: int32(i), Value: make([]byte, 10)}
	}
	for _, codec := range allCodecs[1:] {
		for name, records := range map[string][]Record{"one record": big, "many records": many} {
			t.Run(fmt.Sprintf("%v/%s", codec, name), func(t *testing.T) {
				bomb := build(t, codec, 0, records)
				used := allocated(func() {
					_, err := CheckRecords(bomb, Limits{MaxDecompressedBytes: limit}, Check{})
					if kindOf(t, err) != TooLarge {
						t.Errorf("got %v", err)
					}
				})
				if used > 12*limit { // a window of zstd's and a block of lz4's among them
					t.Errorf("took %d bytes of memory for a limit of %d", used, limit)
				}
			})
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestLyingFramesAreRefused(t *testing.T) {
	plain := build(t, None, 0, []Record{{Value: []byte("x")}})
	header := bytes.Clone(plain[:HeaderBytes])
	zstdHuge := binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, 1<<40)
	zstdHuge = append(zstdHuge, 1, 0, 0) // one empty last block
	cases := map[string]struct {
		codec   Codec
		payload []byte
		kind    Kind
	}{
		"zstd of a TiB":             {Zstd, zstdHuge, TooLarge},
		"zstd cut":                  {Zstd, zstdHuge[:9], InvalidRecord},
		"zstd with a huge window":   {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x80, 9, 0, 0, 'x'}, InvalidRecord},
		"zstd with a window of 8M":  {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x68, 9, 0, 0, 'x'}, InvalidRecord},
		"zstd window above limit":   {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x90, 9, 0, 0, 'x'}, TooLarge},
		"zstd of nothing":           {Zstd, nil, InvalidRecord},
		"zstd garbage":              {Zstd, []byte("garbage, garbage"), InvalidRecord},
		"gzip garbage":              {Gzip, []byte("garbage, garbage"), InvalidRecord},
		"gzip of nothing":           {Gzip, nil, InvalidRecord},
		"lz4 garbage":               {LZ4, []byte("garbage, garbage"), InvalidRecord},
		"lz4 legacy frame":          {LZ4, []byte{0x02, 0x21, 0x4c, 0x18, 0, 0, 0, 0}, InvalidRecord},
		"lz4 of nothing":            {LZ4, nil, InvalidRecord},
		"snappy of 4 GiB":           {Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, InvalidRecord},
		"snappy chunk beyond":       {Snappy, append([]byte(xerialMagic+"\x00\x00\x00\x01\x00\x00\x00\x01"), 0, 0, 1, 0), InvalidRecord},
		"snappy chunk cut":          {Snappy, append([]byte(xerialMagic+"\x00\x00\x00\x01\x00\x00\x00\x01"), 0, 0), InvalidRecord},
		"snappy stream of nothing":  {Snappy, []byte(xerialMagic + "\x00\x00\x00\x01\x00\x00\x00\x01"), InvalidRecord},
		"snappy with nothing in it": {Snappy, s2.EncodeSnappy(nil, nil), InvalidRecord},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			raw := reseal(append(bytes.Clone(header), c.payload...), c.codec)
			used := allocated(func() {
				if _, err := readAll(raw, Limits{}); kindOf(t, err) != c.kind {
					t.Errorf("got %v, want kind %v", err, c.kind)
				}
			})
			if used > maxZstdWindow+4<<20 {
				t.Errorf("took %d bytes of memory", used)
			}
		})
	}
}

func TestZstdWindowsTooLargeToPoolAreReadInOnePiece(t *testing.T) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	want := []Record{{Value: value}, {OffsetDelta: 1, Value: value}}
	plain := build(t, None, 0, want)
	w, err := zstd.NewWriter(nil, zstd.WithWindowSize(64<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	var payload bytes.Buffer
	w.Reset(&payload)
	for part := plain[HeaderBytes:]; len(part) > 0; part = part[min(len(part), 1000):] { // a stream: no content size
		if _, err := w.Write(part[:min(len(part), 1000)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw := reseal(append(bytes.Clone(plain[:HeaderBytes]), payload.Bytes()...), Zstd)
	if window, _, err := scanZstd(payload.Bytes()); err != nil || window <= maxZstdWindow {
		t.Fatalf("window %d, %v: not what this test is of", window, err)
	}
	if got, err := readAll(raw, Limits{}); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%d records, %v", len(got), err)
	}
	if _, err := readAll(raw, Limits{MaxDecompressedBytes: 1 << 20}); kindOf(t, err) != TooLarge {
		t.Fatalf("above the limit: %v", err)
	}
}

func TestCheckRecordsNamesWhatIsWrong(t *testing.T) {
	rec := func(delta int32, key []byte) kmsg.Record {
		return kmsg.Record{OffsetDelta: delta, Key: key, Value: []byte("v"), TimestampDelta64: int64(delta)}
	}
	cases := []struct {
		name    string
		records []kmsg.Record
		tail    string
		check   Check
		kind    Kind
		text    string
	}{
		{"sound", []kmsg.Record{rec(0, nil), rec(1, nil)}, "", Check{}, 0, ""},
		{"hole", []kmsg.Record{rec(0, nil), rec(2, nil)}, "", Check{}, InvalidRecord, "offset delta 2, want 1"},
		{"hole where compacted", []kmsg.Record{rec(0, nil), rec(2, nil)}, "", Check{Compacted: true}, InvalidRecord, "offset delta 2"},
		{"order where compacted", []kmsg.Record{rec(1, nil), rec(0, nil)}, "", Check{Compacted: true}, InvalidRecord, "offset delta 0"},
		{"only the last where compacted", []kmsg.Record{rec(1, nil)}, "", Check{Compacted: true}, InvalidRecord, "no length"},
		{"too few", []kmsg.Record{rec(0, nil)}, "", Check{}, InvalidRecord, "no length, 0 bytes"},
		{"too many", []kmsg.Record{rec(0, nil), rec(1, nil), rec(2, nil)}, "", Check{}, InvalidRecord, "bytes follow"},
		{"trailing byte", []kmsg.Record{rec(0, nil), rec(1, nil)}, "x", Check{}, InvalidRecord, "bytes follow"},
		{"cut record", []kmsg.Record{rec(0, nil)}, "\x50abc", Check{}, InvalidRecord, "length 40, 3 bytes"},
		{"negative length", []kmsg.Record{rec(0, nil)}, "\x01abc", Check{}, InvalidRecord, "length -1"},
		{"fields beyond", []kmsg.Record{rec(0, nil)}, "\x0e\x00\x00\x02\x0a\x00\x00\x00", Check{}, InvalidRecord, "do not parse"},
		{"no key", []kmsg.Record{rec(0, []byte("k")), rec(1, nil)}, "", Check{Keys: true}, InvalidRecord, "record 1: no key"},
		{"late", []kmsg.Record{rec(0, nil), rec(1, nil)}, "", Check{Timestamps: true}, InvalidRecord, "timestamp 1"},
	}
	for _, c := range cases {
		for _, codec := range allCodecs {
			t.Run(c.name+"/"+codec.String(), func(t *testing.T) {
				var payload []byte
				for _, r := range c.records {
					payload = appendKmsgRecord(payload, r)
				}
				payload = append(payload, c.tail...)
				raw := kmsgBatch(kmsg.RecordBatch{NumRecords: 2, LastOffsetDelta: 1, ProducerID: -1, Records: payload})
				if codec != None {
					raw = reseal(append(raw[:HeaderBytes], compressed(t, codec, payload)...), codec)
				}
				_, err := CheckRecords(raw, Limits{}, c.check)
				if kindOf(t, err) != c.kind || c.kind != 0 && !strings.Contains(err.Error(), c.text) {
					t.Fatalf("got %v, want %v %q", err, c.kind, c.text)
				}
			})
		}
	}
}

func compressed(t testing.TB, codec Codec, payload []byte) []byte {
	t.Helper()
	c := newCompressor(codec, 0, nil)
	defer c.release()
	if _, err := c.Write(payload); err != nil {
		t.Fatal(err)
	}
	out, err := c.finish()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTimesAndOffsetsOfRecords(t *testing.T) {
	raw := testBatch()
	SetBaseOffset(raw, 100)
	h, _ := ParseHeader(raw)
	records, err := readAll(raw, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := []int64{h.RecordOffset(&records[2]), h.RecordTimestamp(&records[2])}; got[0] != 102 || got[1] != 1002 {
		t.Fatal(got)
	}
	SetLogAppendTime(raw, 5)
	if h, _ = ParseHeader(raw); h.RecordTimestamp(&records[2]) != 5 {
		t.Fatal("log append time is not every record's")
	}
	if sum, err := CheckRecords(raw, Limits{}, Check{Timestamps: true}); err != nil || sum.MaxTimestamp != 5 || sum.MaxTimestampDelta != 0 {
		t.Fatal(sum, err)
	}
}

func TestBuilderKeepsWhatItIsTold(t *testing.T) {
	b, err := NewBuilder(Gzip, 6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(nil); err == nil {
		t.Fatal("a batch without records is built")
	}
	b.SetProducer(7, 2, math.MaxInt32)
	b.SetTransactional()
	b.SetControl()
	b.SetBaseOffset(40)
	b.Append(10, nil, nil, nil)
	b.Append(5, nil, nil, nil)
	raw, err := b.Build([]byte("before"))
	if err != nil || string(raw[:6]) != "before" {
		t.Fatal(err)
	}
	h, err := Verify(raw[6:])
	if err != nil {
		t.Fatal(err)
	}
	want := Header{
		BaseOffset: 40, BatchLength: h.BatchLength, LeaderEpoch: -1, Magic: 2, CRC: h.CRC, Attributes: 0x31, LastOffsetDelta: 1,
		BaseTimestamp: 10, MaxTimestamp: 10, ProducerID: 7, ProducerEpoch: 2, BaseSequence: math.MaxInt32, Records: 2,
	}
	if h != want || b.Len() != 2 || h.LastSequence() != 0 {
		t.Fatalf("got %+v, want %+v", h, want)
	}
	if b.Reset(); b.Len() != 0 || b.Bytes() != HeaderBytes {
		t.Fatal("Reset leaves records")
	}
}

// FuzzRecords reads any payload as records of any codec; what it reads of
// uncompressed ones kmsg must read alike.
func FuzzRecords(f *testing.F) {
	payload := testBatch()[HeaderBytes:]
	f.Add(payload, uint8(0), uint16(3))
	for _, codec := range allCodecs[1:] {
		f.Add(compressed(f, codec, payload), uint8(codec), uint16(3))
	}
	f.Add(s2.EncodeSnappy(nil, payload), uint8(Snappy), uint16(3))
	f.Fuzz(func(t *testing.T, payload []byte, codec uint8, records uint16) {
		raw := kmsgBatch(kmsg.RecordBatch{
			Attributes: int16(codec % 8), NumRecords: int32(records), LastOffsetDelta: int32(records), Records: payload,
		})
		limits := Limits{MaxDecompressedBytes: 1 << 20}
		got, err := readAll(raw, limits)
		if kindOf(t, err) != 0 {
			return
		}
		sum, err := CheckRecords(raw, limits, Check{Compacted: true})
		if err == nil && sum.Records != len(got) {
			t.Fatalf("CheckRecords sees %d records, Records %d", sum.Records, len(got))
		}
		if codec%8 != 0 {
			return
		}
		for i, r := range got {
			_, n := varint(payload)
			length, _ := varint(payload)
			var want kmsg.Record
			if err := want.ReadFrom(payload[:n+int(length)]); err != nil {
				t.Fatalf("record %d: kmsg refuses it: %v", i, err)
			}
			payload = payload[n+int(length):]
			if want.OffsetDelta != r.OffsetDelta || want.TimestampDelta64 != r.TimestampDelta ||
				!bytes.Equal(want.Key, r.Key) || !bytes.Equal(want.Value, r.Value) || len(want.Headers) != len(r.Headers) {
				t.Fatalf("record %d: %+v, kmsg reads %+v", i, r, want)
			}
			for j, h := range r.Headers {
				if want.Headers[j].Key != string(h.Key) || !bytes.Equal(want.Headers[j].Value, h.Value) {
					t.Fatalf("record %d: header %d differs", i, j)
				}
			}
		}
	})
}

func benchBatch(b *testing.B, codec Codec) []byte {
	records := make([]Record, 1000)
	for i := range records {
		records[i] = Record{OffsetDelta: int32(i), Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "line %d of a text that repeats a little, %x", i, i*i*i)}
	}
	return build(b, codec, 0, records)
}

func BenchmarkCheckRecords(b *testing.B) {
	for _, codec := range allCodecs {
		b.Run(fmt.Sprintf("codec=%v/records=1000", codec), func(b *testing.B) {
			raw := benchBatch(b, codec)
			b.SetBytes(int64(len(benchBatch(b, None))))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := CheckRecords(raw, Limits{}, Check{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRecompress(b *testing.B) {
	for _, codec := range allCodecs {
		b.Run(fmt.Sprintf("codec=%v/records=1000", codec), func(b *testing.B) {
			raw := benchBatch(b, None)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Recompress(raw, codec, 0, Limits{}, Check{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
