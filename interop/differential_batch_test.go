package interop

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// codecNames are the codecs of record batches by their number.
var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// batch describes a record batch of version 2.
type batch struct {
	values     []string // one record each
	times      []int64  // of the records, ms; missing ones are long ago
	codec      int
	attributes int16 // beside the codec
	idempotent bool  // has the next three
	producer   int64
	epoch      int16
	sequence   int32
	headers    bool
	edit       func(b []byte) // changes the batch before its CRC is taken
	harm       func(b []byte) // changes it afterwards
}

// longAgo is a time of records, in ms: 2023, so that "now" is never near it.
const longAgo = int64(1_700_000_000_000)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Offsets of fields in a batch.
const (
	atMagic       = 16
	atCRC         = 17
	atAttributes  = 21
	atLastDelta   = 23
	atFirstTime   = 27
	atMaxTime     = 35
	atNumRecords  = 57
	batchOverhead = 61
)

// bytes encodes the batch.
func (b batch) bytes() []byte {
	rb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: b.attributes | int16(b.codec),
		LastOffsetDelta: int32(len(b.values) - 1), NumRecords: int32(len(b.values)),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	if b.idempotent {
		rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = b.producer, b.epoch, b.sequence
	}
	var records []byte
	for i, v := range b.values {
		ts := longAgo
		if i < len(b.times) {
			ts = b.times[i]
		}
		if i == 0 {
			rb.FirstTimestamp, rb.MaxTimestamp = ts, ts
		}
		rb.MaxTimestamp = max(rb.MaxTimestamp, ts)
		r := kmsg.Record{TimestampDelta64: ts - rb.FirstTimestamp, OffsetDelta: int32(i), Key: []byte("k"), Value: []byte(v)}
		if b.headers {
			r.Headers = []kmsg.Header{{Key: "h", Value: []byte("x")}, {Key: "null"}}
		}
		whole := r.AppendTo(nil)
		_, n := binary.Varint(whole) // length 0, to be replaced
		r.Length = int32(len(whole) - n)
		records = r.AppendTo(records)
	}
	rb.Records = compressed(b.codec, records)
	rb.Length = int32(batchOverhead - 12 + len(rb.Records))
	out := rb.AppendTo(nil)
	if b.edit != nil {
		b.edit(out)
	}
	binary.BigEndian.PutUint32(out[atCRC:], crc32.Checksum(out[atAttributes:], castagnoli))
	if b.harm != nil {
		b.harm(out)
	}
	return out
}

func compressed(codec int, in []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case 1:
		w := gzip.NewWriter(&out)
		w.Write(in)
		w.Close()
	case 2:
		return s2.EncodeSnappy(nil, in)
	case 3:
		w := lz4.NewWriter(&out)
		w.Write(in)
		w.Close()
	case 4:
		w, err := zstd.NewWriter(nil)
		if err != nil {
			panic(err)
		}
		return w.EncodeAll(in, nil)
	default:
		return in
	}
	return out.Bytes()
}

// describeBatches names every whole batch, and its records' bytes where they
// are not compressed; half a batch at the end is left out, as clients do.
func (s *side) describeBatches(topic string, partition int32, b []byte) any {
	list := []any{}
	for len(b) >= batchOverhead {
		size := 12 + int(int32(binary.BigEndian.Uint32(b[8:])))
		if size > len(b) || size < batchOverhead {
			break
		}
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(b[:size]); err != nil {
			return append(list, "bad batch: "+err.Error())
		}
		crc := "bad"
		if crc32.Checksum(b[atAttributes:size], castagnoli) == uint32(rb.CRC) {
			crc = "good"
		}
		list = append(list, fmt.Sprintf("offset %d epoch %s magic %d crc %s attributes %d last %d time %s–%s producer %s/%d/%d records %d: %s",
			rb.FirstOffset, s.epochName(topic, partition, rb.PartitionLeaderEpoch), rb.Magic, crc, rb.Attributes, rb.LastOffsetDelta,
			timeName(rb.FirstTimestamp), timeName(rb.MaxTimestamp), s.producerName(rb.ProducerID), rb.ProducerEpoch, rb.FirstSequence, rb.NumRecords, contentName(&rb)))
		b = b[size:]
	}
	return list
}

// contentName is the records' bytes. Those that brokers compress themselves
// differ with the library: only their values are compared.
func contentName(rb *kmsg.RecordBatch) string {
	if rb.Attributes&7 == 0 {
		return fmt.Sprintf("%d bytes %08x", len(rb.Records), crc32.ChecksumIEEE(rb.Records))
	}
	return codecNames[min(int(rb.Attributes&7), len(codecNames)-1)]
}

func TestDifferentialBatches(t *testing.T) {
	for codec, name := range codecNames {
		b := batch{values: []string{"a", strings.Repeat("b", 200)}, codec: codec}.bytes()
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(b); err != nil || int(rb.Length)+12 != len(b) {
			t.Errorf("%s: length %d of %d bytes: %v", name, rb.Length, len(b), err)
		}
	}
}
