package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Builder gathers records and makes a batch of them. It may be used again
// after Reset.
type Builder struct {
	codec   Codec
	level   int
	header  Header
	records []byte // uncompressed
	scratch []byte
}

// NewBuilder makes batches of the codec. level is the codec's own, 0 its
// default (compression.gzip.level and so on: KIP-780).
func NewBuilder(codec Codec, level int) (*Builder, error) {
	if err := checkLevel(codec, level); err != nil {
		return nil, fmt.Errorf("build batch: %w", err)
	}
	b := &Builder{codec: codec, level: level}
	b.Reset()
	return b, nil
}

// Reset drops all records and goes back to no producer and no attributes.
func (b *Builder) Reset() {
	b.header = Header{
		LeaderEpoch: -1, Magic: Magic, Attributes: int16(b.codec), LastOffsetDelta: -1,
		BaseTimestamp: -1, MaxTimestamp: -1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	}
	b.records = b.records[:0]
}

// SetProducer writes the idempotent producer's fields.
func (b *Builder) SetProducer(id int64, epoch int16, baseSequence int32) {
	b.header.ProducerID, b.header.ProducerEpoch, b.header.BaseSequence = id, epoch, baseSequence
}

// SetTransactional marks the batch as part of a transaction.
func (b *Builder) SetTransactional() { b.header.Attributes |= attrTransactional }

// SetControl marks the batch as a marker that only brokers write.
func (b *Builder) SetControl() { b.header.Attributes |= attrControl }

// SetBaseOffset gives the first record's offset; it is 0 otherwise.
func (b *Builder) SetBaseOffset(offset int64) { b.header.BaseOffset = offset }

// Len is the number of records.
func (b *Builder) Len() int { return int(b.header.Records) }

// Bytes is the size of the batch if it is not compressed.
func (b *Builder) Bytes() int { return HeaderBytes + len(b.records) }

// Append adds a record whose bytes it copies. timestamp is in milliseconds
// since 1970; nil key and value are null.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []RecordHeader) {
	h := &b.header
	if h.Records == 0 {
		h.BaseTimestamp = timestamp
	}
	h.MaxTimestamp = max(h.MaxTimestamp, timestamp)
	h.LastOffsetDelta++
	h.Records++
	r := Record{
		TimestampDelta: timestamp - h.BaseTimestamp, OffsetDelta: h.LastOffsetDelta,
		Key: key, Value: value, Headers: headers,
	}
	b.scratch = r.appendBody(b.scratch[:0])
	b.records = binary.AppendVarint(b.records, int64(len(b.scratch)))
	b.records = append(b.records, b.scratch...)
}

// Build appends the batch to dst. It fails for a batch without records, or of
// 2 GiB and more.
func (b *Builder) Build(dst []byte) ([]byte, error) {
	if b.header.Records == 0 {
		return dst, fmt.Errorf("build batch: no records")
	}
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	c := newCompressor(b.codec, b.level, dst)
	defer c.release()
	if _, err := c.Write(b.records); err != nil {
		return dst[:start], fmt.Errorf("build batch: compress as %v: %w", b.codec, err)
	}
	dst, err := c.finish()
	if err != nil {
		return dst[:start], fmt.Errorf("build batch: compress as %v: %w", b.codec, err)
	}
	if err := sealBatch(dst[start:], b.header); err != nil {
		return dst[:start], fmt.Errorf("build batch: %w", err)
	}
	return dst, nil
}

// sealBatch writes h into the batch that fills b, with its length and CRC.
func sealBatch(b []byte, h Header) error {
	if len(b) > math.MaxInt32-lengthOverhead {
		return fmt.Errorf("batch of %d bytes", len(b))
	}
	h.BatchLength = int32(len(b) - lengthOverhead)
	h.put((*[HeaderBytes]byte)(b))
	setCRC(b)
	return nil
}

// appendBody appends the record without its length.
func (r *Record) appendBody(dst []byte) []byte {
	dst = append(dst, byte(r.Attributes))
	dst = binary.AppendVarint(dst, r.TimestampDelta)
	dst = binary.AppendVarint(dst, int64(r.OffsetDelta))
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func appendNullable(dst, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(v)))
	return append(dst, v...)
}

// firstOutputBytes bounds the room that is made for a batch compressed anew
// before its size is known: a large one may be refused, or become small.
const firstOutputBytes = 1 << 20

// Recompress makes of the batch that fills b one of another codec and level
// (0: the codec's default), in one bounded stream. Records, timestamps,
// producer fields and all other attributes stay as they are; records are
// checked as CheckRecords does with the given Check. What is wrong with b is
// an *Error.
func Recompress(b []byte, codec Codec, level int, limits Limits, check Check) ([]byte, error) {
	if err := checkLevel(codec, level); err != nil {
		return nil, fmt.Errorf("recompress batch: %w", err)
	}
	var src cursor
	if err := src.open(b, limits); err != nil {
		return nil, err
	}
	defer src.close()
	c := newCompressor(codec, level, make([]byte, HeaderBytes, min(len(b), firstOutputBytes)))
	defer c.release()
	last := int32(-1)
	for src.next() {
		if err := src.check(check, last); err != nil {
			return nil, err
		}
		last = src.rec.OffsetDelta
		if _, err := c.Write(src.raw); err != nil {
			return nil, fmt.Errorf("recompress batch as %v: %w", codec, err)
		}
	}
	if src.err != nil {
		return nil, src.err
	}
	out, err := c.finish()
	if err != nil {
		return nil, fmt.Errorf("recompress batch as %v: %w", codec, err)
	}
	h := src.header
	h.Attributes = h.Attributes&^attrCodecMask | int16(codec)
	if err := sealBatch(out, h); err != nil {
		return nil, fmt.Errorf("recompress batch: %w", err)
	}
	return out, nil
}
