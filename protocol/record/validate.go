package record

// Verify checks that exactly one whole batch fills b: its size, format, CRC
// and the sanity of its header. It is what holds for any stored batch,
// compacted ones included. It reads every byte once, decodes no record and
// allocates nothing unless it fails; an error is an *Error.
func Verify(b []byte) (Header, error) {
	if len(b) == 0 {
		return Header{}, invalid("no record batch")
	}
	h, err := ParseHeader(b)
	if err != nil {
		return h, err
	}
	if h.Bytes() > len(b) {
		return h, corrupt("batch length %d needs %d bytes, there are %d", h.BatchLength, h.Bytes(), len(b))
	}
	if h.Bytes() < len(b) {
		return h, invalid("%d bytes follow the batch of %d: one batch a partition is taken", len(b)-h.Bytes(), h.Bytes())
	}
	if err := CheckCRC(b); err != nil {
		return h, err
	}
	if !h.Codec().Known() {
		return h, unsupported(h.Codec())
	}
	return h, nil
}

// Validate checks a batch as a broker takes it from a producer: Verify, and
// then that counts agree, that timestamps and the producer's fields make
// sense, and that it claims nothing that only brokers write. It does not decode
// records (CheckRecords does). An error is an *Error.
//
// MaxTimestamp is not compared with BaseTimestamp: clients in use leave it at
// −1, or set it to the last record's, and Apache Kafka takes both.
func Validate(b []byte) (Header, error) {
	h, err := Verify(b)
	if err != nil {
		return h, err
	}
	switch {
	case h.Records == 0:
		return h, invalid("record count is 0")
	case int64(h.Records) != int64(h.LastOffsetDelta)+1:
		return h, invalid("record count %d does not fit last offset delta %d", h.Records, h.LastOffsetDelta)
	case h.IsControl():
		return h, invalid("control batches are written by brokers only")
	case h.BaseTimestamp < -1:
		return h, invalid("base timestamp %d is before 1970", h.BaseTimestamp)
	case h.MaxTimestamp < -1:
		return h, invalid("max timestamp %d is before 1970", h.MaxTimestamp)
	case h.Codec() == None && int64(h.Records)*minRecordBytes > int64(len(b)-HeaderBytes):
		return h, invalid("record count %d does not fit into %d bytes", h.Records, len(b)-HeaderBytes)
	}
	return h, validateProducer(&h)
}

func validateProducer(h *Header) error {
	switch {
	case h.ProducerID < -1:
		return invalid("producer id %d is negative", h.ProducerID)
	case h.ProducerID == -1 && h.IsTransactional():
		return invalid("a transactional batch without producer id")
	case h.ProducerID >= 0 && h.ProducerEpoch < 0:
		return invalid("producer id %d with producer epoch %d", h.ProducerID, h.ProducerEpoch)
	case h.ProducerID >= 0 && h.BaseSequence < 0:
		return invalid("producer id %d with base sequence %d", h.ProducerID, h.BaseSequence)
	}
	return nil
}
