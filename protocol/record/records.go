package record

import (
	"iter"
	"math"
)

// DefaultMaxDecompressedBytes is the limit on a batch's decompressed records
// where Limits sets none.
const DefaultMaxDecompressedBytes = 64 << 20

// maxRecordHeaders is how many headers one record may have to be taken apart
// by Records: what they are held in is far larger than their bytes.
const maxRecordHeaders = 100_000

// Limits bound the work and memory of decoding a batch.
type Limits struct {
	// MaxDecompressedBytes is the most that the records may decompress to; 0 is
	// DefaultMaxDecompressedBytes. Uncompressed batches are as large as they are.
	// zstd frames of a window above it (and above 8 MiB, which is what zstd's
	// levels above 19 use) are refused too.
	MaxDecompressedBytes int
}

func (l Limits) maxDecompressed() int {
	if l.MaxDecompressedBytes <= 0 {
		return DefaultMaxDecompressedBytes
	}
	return min(l.MaxDecompressedBytes, math.MaxInt-1)
}

// Record is one record of a batch. nil Key or Value is null.
type Record struct {
	Attributes     int8
	TimestampDelta int64 // milliseconds from the batch's BaseTimestamp
	OffsetDelta    int32 // from the batch's BaseOffset
	Key, Value     []byte
	Headers        []RecordHeader
}

// RecordHeader is a key and a value that go with a record. A nil Value is null.
type RecordHeader struct {
	Key, Value []byte
}

// RecordOffset is the offset of a record of the batch.
func (h *Header) RecordOffset(r *Record) int64 { return h.BaseOffset + int64(r.OffsetDelta) }

// RecordTimestamp is the time of a record of the batch, in milliseconds since
// 1970, or −1.
func (h *Header) RecordTimestamp(r *Record) int64 {
	if h.TimestampType() == LogAppendTime {
		return h.MaxTimestamp
	}
	return h.BaseTimestamp + r.TimestampDelta
}

// Records streams the records of the batch that fills b, whose CRC it does not
// check. A record and its bytes are valid until the next step. An error comes
// last, with a nil record; it is an *Error.
func Records(b []byte, limits Limits) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		var c cursor
		if err := c.open(b, limits); err != nil {
			yield(nil, err)
			return
		}
		defer c.close()
		c.keepHeaders = true
		for c.next() {
			if !yield(&c.rec, nil) {
				return
			}
		}
		if c.err != nil {
			yield(nil, c.err)
		}
	}
}

// cursor steps through the records of a batch.
type cursor struct {
	header      Header
	stream      *stream
	index       int32 // records read
	rec         Record
	raw         []byte // the record's bytes, its length included
	keepHeaders bool   // take headers apart, do not only check them
	err         error
}

// open is given a batch that fills b.
func (c *cursor) open(b []byte, limits Limits) error {
	h, err := ParseHeader(b)
	if err != nil {
		return err
	}
	if h.Bytes() != len(b) {
		return corrupt("batch length %d means %d bytes, there are %d", h.BatchLength, h.Bytes(), len(b))
	}
	if !h.Codec().Known() {
		return unsupported(h.Codec())
	}
	c.header = h
	c.stream, err = openStream(&h, b, limits)
	return err
}

func (c *cursor) close() { c.stream.close() }

// next reads one record; false is the end, or an error in err.
func (c *cursor) next() bool {
	if c.raw != nil {
		c.stream.take(len(c.raw))
		c.raw = nil
	}
	if c.index == c.header.Records {
		c.err = c.checkEnd()
		return false
	}
	if c.err = c.read(); c.err != nil {
		return false
	}
	c.index++
	return true
}

func (c *cursor) checkEnd() error {
	if err := c.stream.need(c.header.Codec(), 1); err != nil {
		return err
	}
	if len(c.stream.buf) > 0 {
		return invalid("bytes follow the last of %d records", c.header.Records)
	}
	return nil
}

func (c *cursor) read() error {
	s, codec := c.stream, c.header.Codec()
	if err := s.need(codec, maxVarintBytes); err != nil {
		return err
	}
	length, n := varint(s.buf)
	if n <= 0 {
		return invalid("record %d of %d: no length, %d bytes are left", c.index, c.header.Records, len(s.buf))
	}
	if length < minRecordBytes-1 {
		return invalid("record %d: length %d is too small for a record", c.index, length)
	}
	if s.src != nil && s.taken+n+int(length) > s.limit {
		return tooLarge("record %d: length %d goes beyond the limit of %d bytes", c.index, length, s.limit)
	}
	total := n + int(length)
	if err := s.need(codec, total); err != nil {
		return err
	}
	if len(s.buf) < total {
		return invalid("record %d: length %d, %d bytes are left", c.index, length, len(s.buf)-n)
	}
	if !c.parse(s.buf[n:total:total]) {
		return invalid("record %d: its %d bytes do not parse", c.index, length)
	}
	c.raw = s.buf[:total]
	return nil
}

// parse reads the fields of a record that is all of b.
func (c *cursor) parse(b []byte) bool {
	r := &c.rec
	r.Attributes = int8(b[0])
	p := parser{b: b[1:]}
	r.TimestampDelta = p.long()
	r.OffsetDelta = p.int()
	r.Key = p.nullableBytes()
	r.Value = p.nullableBytes()
	headers := int(p.int())
	if p.bad || headers < 0 || headers > len(p.b)/2 {
		return false
	}
	r.Headers = r.Headers[:0]
	if c.keepHeaders && headers > maxRecordHeaders {
		return false
	}
	for range headers {
		key, value := p.nullableBytes(), p.nullableBytes()
		if p.bad || key == nil {
			return false
		}
		if c.keepHeaders {
			r.Headers = append(r.Headers, RecordHeader{Key: key, Value: value})
		}
	}
	return len(p.b) == 0
}

const (
	maxVarintBytes  = 5
	maxVarlongBytes = 10
)

// varint reads a zigzag int32 and the bytes it takes, 0 or less if there is none.
func varint(b []byte) (int32, int) {
	var u uint64
	for i := range min(len(b), maxVarintBytes) {
		u |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if u > math.MaxUint32 {
				return 0, -1
			}
			return int32(uint32(u)>>1) ^ -int32(u&1), i + 1
		}
	}
	return 0, 0
}

// varlong reads a zigzag int64.
func varlong(b []byte) (int64, int) {
	var u uint64
	for i := range min(len(b), maxVarlongBytes) {
		if i == maxVarlongBytes-1 && b[i] > 1 {
			return 0, -1
		}
		u |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i + 1
		}
	}
	return 0, 0
}

// parser takes fields off the front of b; bad says that one was not there.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) int() int32 {
	if len(p.b) > 0 && p.b[0] < 0x80 {
		v := int32(p.b[0]>>1) ^ -int32(p.b[0]&1)
		p.b = p.b[1:]
		return v
	}
	v, n := varint(p.b)
	p.skip(n)
	return v
}

func (p *parser) long() int64 {
	v, n := varlong(p.b)
	p.skip(n)
	return v
}

func (p *parser) skip(n int) {
	if n <= 0 {
		p.bad, p.b = true, nil
		return
	}
	p.b = p.b[n:]
}

// nullableBytes is nil for null and empty for empty.
func (p *parser) nullableBytes() []byte {
	n := p.int()
	if n == -1 {
		return nil
	}
	if n < 0 || int(n) > len(p.b) || p.bad {
		p.bad, p.b = true, nil
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}
