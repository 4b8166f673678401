package record

// Check says what CheckRecords looks for beside the soundness of each record.
// Its zero value is what any batch of a producer keeps to.
type Check struct {
	// Keys refuses records without a key, as compacted topics do.
	Keys bool
	// Timestamps refuses records later than the batch's MaxTimestamp. Clients
	// in use write such batches: check it where that field is relied on.
	Timestamps bool
	// Compacted allows holes between offset deltas.
	Compacted bool
}

// Summary is what CheckRecords saw.
type Summary struct {
	Records           int
	UncompressedBytes int
	// MaxTimestamp is that of the latest record (milliseconds since 1970, −1 if
	// there is none), and MaxTimestampDelta the offset delta of the first that has it.
	MaxTimestamp      int64
	MaxTimestampDelta int32
}

// CheckRecords decodes the batch that fills b, record by record, and checks
// that there are as many as the header says, that their offset deltas are
// consecutive from 0 to the last offset delta, and that nothing follows. It
// does not check the CRC (Validate does). An error is an *Error.
func CheckRecords(b []byte, limits Limits, check Check) (Summary, error) {
	var c cursor
	if err := c.open(b, limits); err != nil {
		return Summary{}, err
	}
	defer c.close()
	sum := Summary{MaxTimestamp: -1}
	last := int32(-1)
	for c.next() {
		if err := c.check(check, last); err != nil {
			return sum, err
		}
		last = c.rec.OffsetDelta
		sum.Records++
		sum.UncompressedBytes += len(c.raw)
		if at := c.header.RecordTimestamp(&c.rec); at > sum.MaxTimestamp {
			sum.MaxTimestamp, sum.MaxTimestampDelta = at, c.rec.OffsetDelta
		}
	}
	return sum, c.err
}

// check looks at the record just read, which follows the offset delta last.
func (c *cursor) check(check Check, last int32) error {
	r, h := &c.rec, &c.header
	index := c.index - 1
	if check.Compacted {
		if r.OffsetDelta <= last || r.OffsetDelta > h.LastOffsetDelta {
			return invalid("record %d: offset delta %d follows %d, the last is %d", index, r.OffsetDelta, last, h.LastOffsetDelta)
		}
	} else if r.OffsetDelta != index {
		return invalid("record %d: offset delta %d, want %d", index, r.OffsetDelta, index)
	}
	if check.Keys && r.Key == nil {
		return invalid("record %d: no key, which a compacted topic needs", index)
	}
	if check.Timestamps && h.TimestampType() == CreateTime {
		if at := h.RecordTimestamp(r); at > h.MaxTimestamp {
			return invalid("record %d: timestamp %d is after the batch's max timestamp %d", index, at, h.MaxTimestamp)
		}
	}
	return nil
}
