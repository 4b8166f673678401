package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// HeaderBytes is the size of a batch's header, up to its first record.
const HeaderBytes = 61

// Magic is the only version of the batch format that is stored and served.
const Magic = 2

// Positions of the header's fields.
const (
	posBaseOffset      = 0
	posBatchLength     = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posRecords         = 57

	// lengthOverhead is what precedes the bytes that BatchLength counts.
	lengthOverhead = 12
	minBatchLength = HeaderBytes - lengthOverhead
)

// Bits of the attributes.
const (
	attrCodecMask     int16 = 0x07
	attrLogAppendTime int16 = 1 << 3
	attrTransactional int16 = 1 << 4
	attrControl       int16 = 1 << 5
	attrDeleteHorizon int16 = 1 << 6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TimestampType says who set a batch's timestamps.
type TimestampType int8

// The two types, with Kafka's numbers.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

// String gives Kafka's name, as in message.timestamp.type.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// Header is a batch's header. Timestamps are milliseconds since 1970, −1 where
// there is none; ProducerID, ProducerEpoch and BaseSequence are −1 without an
// idempotent producer.
type Header struct {
	BaseOffset      int64
	BatchLength     int32 // bytes after the length field itself
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64
	MaxTimestamp    int64
	ProducerID      int64
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32
}

// ParseHeader reads the header of the batch at the start of b, which needs to
// hold HeaderBytes of it but not its records. It checks what a header alone
// can show; an error is an *Error of kind Corrupt.
func ParseHeader(b []byte) (Header, error) {
	if err := checkStart(b); err != nil {
		return Header{}, err
	}
	h := decodeHeader((*[HeaderBytes]byte)(b))
	switch {
	case h.BatchLength < minBatchLength:
		return h, corrupt("batch length %d is below the %d bytes of a header", h.BatchLength, minBatchLength)
	case h.BatchLength > math.MaxInt32-lengthOverhead:
		return h, corrupt("batch length %d overflows", h.BatchLength)
	case h.LastOffsetDelta < 0:
		return h, corrupt("last offset delta %d is negative", h.LastOffsetDelta)
	case h.BaseOffset > math.MaxInt64-int64(h.LastOffsetDelta)-1:
		return h, corrupt("base offset %d with last offset delta %d overflows", h.BaseOffset, h.LastOffsetDelta)
	case h.Records < 0:
		return h, corrupt("record count %d is negative", h.Records)
	}
	return h, nil
}

// checkStart refuses what is too short or of another format.
func checkStart(b []byte) error {
	if len(b) > posMagic {
		switch magic := int8(b[posMagic]); magic {
		case Magic:
		case 0, 1:
			return invalid("magic %d: a message set from before Kafka 0.11; only record batches (magic 2) are taken", magic)
		default:
			return corrupt("magic %d is unknown, want %d", magic, Magic)
		}
	}
	if len(b) < HeaderBytes {
		return corrupt("%d bytes are too few for a batch header of %d", len(b), HeaderBytes)
	}
	return nil
}

func decodeHeader(b *[HeaderBytes]byte) Header {
	be := binary.BigEndian
	return Header{
		BaseOffset:      int64(be.Uint64(b[posBaseOffset:])),
		BatchLength:     int32(be.Uint32(b[posBatchLength:])),
		LeaderEpoch:     int32(be.Uint32(b[posLeaderEpoch:])),
		Magic:           int8(b[posMagic]),
		CRC:             be.Uint32(b[posCRC:]),
		Attributes:      int16(be.Uint16(b[posAttributes:])),
		LastOffsetDelta: int32(be.Uint32(b[posLastOffsetDelta:])),
		BaseTimestamp:   int64(be.Uint64(b[posBaseTimestamp:])),
		MaxTimestamp:    int64(be.Uint64(b[posMaxTimestamp:])),
		ProducerID:      int64(be.Uint64(b[posProducerID:])),
		ProducerEpoch:   int16(be.Uint16(b[posProducerEpoch:])),
		BaseSequence:    int32(be.Uint32(b[posBaseSequence:])),
		Records:         int32(be.Uint32(b[posRecords:])),
	}
}

// put writes the header as it is, CRC included.
func (h *Header) put(b *[HeaderBytes]byte) {
	be := binary.BigEndian
	be.PutUint64(b[posBaseOffset:], uint64(h.BaseOffset))
	be.PutUint32(b[posBatchLength:], uint32(h.BatchLength))
	be.PutUint32(b[posLeaderEpoch:], uint32(h.LeaderEpoch))
	b[posMagic] = byte(h.Magic)
	be.PutUint32(b[posCRC:], h.CRC)
	be.PutUint16(b[posAttributes:], uint16(h.Attributes))
	be.PutUint32(b[posLastOffsetDelta:], uint32(h.LastOffsetDelta))
	be.PutUint64(b[posBaseTimestamp:], uint64(h.BaseTimestamp))
	be.PutUint64(b[posMaxTimestamp:], uint64(h.MaxTimestamp))
	be.PutUint64(b[posProducerID:], uint64(h.ProducerID))
	be.PutUint16(b[posProducerEpoch:], uint16(h.ProducerEpoch))
	be.PutUint32(b[posBaseSequence:], uint32(h.BaseSequence))
	be.PutUint32(b[posRecords:], uint32(h.Records))
}

// Bytes is the size of the whole batch, header included.
func (h *Header) Bytes() int { return lengthOverhead + int(h.BatchLength) }

// LastOffset is the offset of the batch's last record.
func (h *Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// NextOffset is the first offset after the batch.
func (h *Header) NextOffset() int64 { return h.LastOffset() + 1 }

// Codec is how the records are compressed. It may be one that is not known.
func (h *Header) Codec() Codec { return Codec(h.Attributes & attrCodecMask) }

// TimestampType says who set the timestamps. Where it is LogAppendTime, every
// record's timestamp is MaxTimestamp.
func (h *Header) TimestampType() TimestampType {
	if h.Attributes&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional says whether the batch is part of a transaction.
func (h *Header) IsTransactional() bool { return h.Attributes&attrTransactional != 0 }

// IsControl says whether the batch holds a marker that only brokers write.
func (h *Header) IsControl() bool { return h.Attributes&attrControl != 0 }

// HasDeleteHorizon says whether BaseTimestamp is the time at which compaction
// may drop the batch's tombstones.
func (h *Header) HasDeleteHorizon() bool { return h.Attributes&attrDeleteHorizon != 0 }

// HasProducer says whether an idempotent producer wrote the batch.
func (h *Header) HasProducer() bool { return h.ProducerID >= 0 }

// LastSequence is the sequence number of the last record, −1 without a
// producer. Sequence numbers go from 2³¹−1 on to 0.
func (h *Header) LastSequence() int32 {
	if h.BaseSequence < 0 {
		return -1
	}
	return AddSequence(h.BaseSequence, h.LastOffsetDelta)
}

// AddSequence is sequence + n for n ≥ 0, going from 2³¹−1 on to 0.
func AddSequence(sequence, n int32) int32 {
	return int32((uint32(sequence) + uint32(n)) & math.MaxInt32)
}

// SetBaseOffset writes the base offset into the batch at the start of b. The
// CRC does not cover it.
func SetBaseOffset(b []byte, offset int64) {
	binary.BigEndian.PutUint64(b[posBaseOffset:posBatchLength], uint64(offset))
}

// SetLeaderEpoch writes the leader epoch into the batch at the start of b. The
// CRC does not cover it.
func SetLeaderEpoch(b []byte, epoch int32) {
	binary.BigEndian.PutUint32(b[posLeaderEpoch:posMagic], uint32(epoch))
}

// SetLogAppendTime marks the batch that fills b as stamped by the broker at ms
// (milliseconds since 1970) and writes the new CRC. Record timestamps stay as
// they are: readers take the batch's for each of them.
func SetLogAppendTime(b []byte, ms int64) {
	attributes := int16(binary.BigEndian.Uint16(b[posAttributes:])) | attrLogAppendTime
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	setCRC(b)
}

// ComputeCRC is the CRC-32C of the batch that fills b, which has a header at
// least.
func ComputeCRC(b []byte) uint32 {
	return crc32.Checksum(b[posAttributes:], castagnoli)
}

// CheckCRC compares the CRC in the header of the batch that fills b with its
// bytes; an error is an *Error of kind Corrupt.
func CheckCRC(b []byte) error {
	if len(b) < HeaderBytes {
		return corrupt("%d bytes are too few for a batch header of %d", len(b), HeaderBytes)
	}
	want := binary.BigEndian.Uint32(b[posCRC:])
	if got := ComputeCRC(b); got != want {
		return corrupt("CRC of the bytes is %08x, the header says %08x", got, want)
	}
	return nil
}

func setCRC(b []byte) {
	binary.BigEndian.PutUint32(b[posCRC:], ComputeCRC(b))
}
