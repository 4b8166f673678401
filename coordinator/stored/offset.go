package stored

// OffsetCommitValue is what a group has committed for a partition.
type OffsetCommitValue struct {
	Offset       int64
	LeaderEpoch  int32 // -1: not known
	Metadata     string
	CommitMillis int64
	ExpireMillis int64    // -1: none; else the value is written as version 1, without LeaderEpoch and TopicID
	TopicID      [16]byte // zero: not known
}

// Append appends the value's bytes to dst.
func (v OffsetCommitValue) Append(dst []byte) []byte {
	if v.ExpireMillis != -1 {
		return v.appendExpiring(dst)
	}
	w := startValue(dst, 4, true)
	w.int64(v.Offset)
	w.int32(v.LeaderEpoch)
	w.string(v.Metadata)
	w.int64(v.CommitMillis)
	if v.TopicID == [16]byte{} {
		w.noTags()
	} else {
		w.tag0(len(v.TopicID))
		w.uuid(v.TopicID)
	}
	return w.buf
}

func (v OffsetCommitValue) appendExpiring(dst []byte) []byte {
	w := startValue(dst, 1, false)
	w.int64(v.Offset)
	w.string(v.Metadata)
	w.int64(v.CommitMillis)
	w.int64(v.ExpireMillis)
	return w.buf
}

// ParseOffsetCommitValue reads versions 0 to 4. An error is an *Error.
func ParseOffsetCommitValue(value []byte) (OffsetCommitValue, error) {
	r, version := openValue("OffsetCommit", value, 4, 4)
	v := OffsetCommitValue{LeaderEpoch: -1, ExpireMillis: -1}
	v.Offset = r.int64("offset")
	if version >= 3 {
		v.LeaderEpoch = r.int32("leaderEpoch")
	}
	v.Metadata = r.string("metadata")
	v.CommitMillis = r.int64("commitTimestamp")
	if version == 1 {
		v.ExpireMillis = r.int64("expireTimestamp")
	}
	r.tags(func(tag uint32) bool {
		if tag == 0 {
			v.TopicID = r.uuid("topicId")
		}
		return tag == 0
	})
	if err := r.end(); err != nil {
		return OffsetCommitValue{}, err
	}
	return v, nil
}
