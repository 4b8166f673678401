package record

import (
	"encoding/binary"
	"fmt"
)

// Scan decodes the batch that fills b, whose CRC it does not check, and calls
// visit for each record as long as that wants more. A record and its bytes are
// valid during the call; headers are checked and left out. Offset deltas must
// grow, holes are allowed. An error is an *Error.
func Scan(b []byte, limits Limits, visit func(r *Record) bool) error {
	var c cursor
	if err := c.open(b, limits); err != nil {
		return err
	}
	defer c.close()
	last := int32(-1)
	for c.next() {
		if err := c.check(Check{Compacted: true}, last); err != nil {
			return err
		}
		last = c.rec.OffsetDelta
		if !visit(&c.rec) {
			return nil
		}
	}
	return c.err
}

// Compactor takes records out of batches, as log compaction does. It is used
// for one batch after the other, by one goroutine at a time.
type Compactor struct {
	Limits Limits

	kept    []uint64 // a bit for each record of the batch
	scratch []byte
}

// Compacted is what became of a batch.
type Compacted struct {
	Records int  // that it held
	Kept    int  // that are left
	Changed bool // it is not what it was
}

// NoHorizon tells Compact to give no batch a delete horizon.
const NoHorizon = int64(-1)

// Compact looks at the batch b, whose CRC it does not check, and asks keep which
// records stay. Where something changes and records are left it appends the new
// batch to dst: base offset, last offset delta, leader epoch, producer fields,
// codec and the offsets and times of what stays are as they were.
//
// A batch that keeps tombstones (null values) and has no delete horizon yet gets
// horizon as its own, in milliseconds since 1970: attribute bit 6, in place of
// the base timestamp (KIP-534). An error is an *Error, but for one of a
// compressor.
func (c *Compactor) Compact(dst, b []byte, horizon int64, keep func(r *Record) bool) ([]byte, Compacted, error) {
	var done Compacted
	tombstones := false
	c.kept = c.kept[:0]
	err := Scan(b, c.Limits, func(r *Record) bool {
		if done.Records%64 == 0 {
			c.kept = append(c.kept, 0)
		}
		if keep(r) {
			c.kept[done.Records/64] |= 1 << (done.Records % 64)
			done.Kept++
			tombstones = tombstones || r.Value == nil
		}
		done.Records++
		return true
	})
	if err != nil {
		return dst, done, err
	}
	h := decodeHeader((*[HeaderBytes]byte)(b))
	if !tombstones || h.HasDeleteHorizon() {
		horizon = NoHorizon
	}
	done.Changed = done.Kept < done.Records || horizon != NoHorizon
	if !done.Changed || done.Kept == 0 {
		return dst, done, nil
	}
	out, err := c.rewrite(dst, b, horizon)
	if err != nil {
		return dst, done, err
	}
	return out, done, nil
}

// rewrite appends the batch b without the records that are not kept.
func (c *Compactor) rewrite(dst, b []byte, horizon int64) ([]byte, error) {
	var src cursor
	if err := src.open(b, c.Limits); err != nil {
		return nil, err
	}
	defer src.close()
	h := src.header
	start := len(dst)
	out := newCompressor(h.Codec(), 0, append(dst, make([]byte, HeaderBytes)...))
	defer out.release()
	if horizon != NoHorizon {
		h.Attributes |= attrDeleteHorizon
		h.BaseTimestamp = horizon
	}
	created := h.TimestampType() == CreateTime
	if created {
		h.MaxTimestamp = -1
	}
	h.Records = 0
	for n := 0; src.next(); n++ {
		if c.kept[n/64]&(1<<(n%64)) == 0 {
			continue
		}
		at := src.header.RecordTimestamp(&src.rec)
		if created {
			if h.Records == 0 && !h.HasDeleteHorizon() {
				h.BaseTimestamp = at
			}
			h.MaxTimestamp = max(h.MaxTimestamp, at)
		}
		h.Records++
		if err := c.write(out, &src, h.BaseTimestamp, created); err != nil {
			return nil, fmt.Errorf("compact batch as %v: %w", h.Codec(), err)
		}
	}
	if src.err != nil {
		return nil, src.err
	}
	dst, err := out.finish()
	if err != nil {
		return nil, fmt.Errorf("compact batch as %v: %w", h.Codec(), err)
	}
	if err := sealBatch(dst[start:], h); err != nil {
		return nil, fmt.Errorf("compact batch: %w", err)
	}
	return dst, nil
}

// write copies the record just read, its time told from another base where the
// records' own times count.
func (c *Compactor) write(out *compressor, src *cursor, base int64, created bool) error {
	shift := src.header.BaseTimestamp - base
	if shift == 0 || !created {
		_, err := out.Write(src.raw)
		return err
	}
	_, n := varint(src.raw)
	body := src.raw[n:]
	_, n = varlong(body[1:])
	rest := body[1+n:]
	var delta [binary.MaxVarintLen64]byte
	width := binary.PutVarint(delta[:], src.rec.TimestampDelta+shift)
	c.scratch = binary.AppendVarint(c.scratch[:0], int64(1+width+len(rest)))
	c.scratch = append(c.scratch, body[0])
	c.scratch = append(c.scratch, delta[:width]...)
	if _, err := out.Write(c.scratch); err != nil {
		return err
	}
	_, err := out.Write(rest)
	return err
}

// AppendEmpty appends a batch without records that stands where h did: the
// offsets, epoch and producer fields of one that compaction emptied, kept so
// that the producer's sequence is still told by the log.
func AppendEmpty(dst []byte, h Header) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	h.Attributes &= attrLogAppendTime | attrTransactional | attrControl
	h.BaseTimestamp, h.Records = -1, 0
	if err := sealBatch(dst[start:], h); err != nil {
		panic("record: " + err.Error()) // a header is never too large
	}
	return dst
}
