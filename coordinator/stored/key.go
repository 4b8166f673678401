package stored

// The types of keys, of which the package reads and writes records.
const (
	typeLegacyOffsetCommit         = 0
	typeOffsetCommit               = 1
	typeGroupMetadata              = 2
	typeConsumerGroupMetadata      = 3
	typeConsumerMemberMetadata     = 5
	typeConsumerTargetMetadata     = 6
	typeConsumerTargetMember       = 7
	typeConsumerCurrentMember      = 8
	typeConsumerRegularExpressions = 16
)

// OffsetCommitKey (type 1) is that of [OffsetCommitValue].
type OffsetCommitKey struct {
	Group     string
	Topic     string
	Partition int32
}

// GroupMetadataKey (type 2) is that of [GroupMetadataValue].
type GroupMetadataKey struct{ Group string }

// ConsumerGroupMetadataKey (type 3) is that of [ConsumerGroupMetadataValue].
type ConsumerGroupMetadataKey struct{ Group string }

// ConsumerGroupMemberMetadataKey (type 5) is that of
// [ConsumerGroupMemberMetadataValue].
type ConsumerGroupMemberMetadataKey struct{ Group, Member string }

// ConsumerGroupTargetAssignmentMetadataKey (type 6) is that of
// [ConsumerGroupTargetAssignmentMetadataValue].
type ConsumerGroupTargetAssignmentMetadataKey struct{ Group string }

// ConsumerGroupTargetAssignmentMemberKey (type 7) is that of
// [ConsumerGroupTargetAssignmentMemberValue].
type ConsumerGroupTargetAssignmentMemberKey struct{ Group, Member string }

// ConsumerGroupCurrentMemberAssignmentKey (type 8) is that of
// [ConsumerGroupCurrentMemberAssignmentValue].
type ConsumerGroupCurrentMemberAssignmentKey struct{ Group, Member string }

// ConsumerGroupRegularExpressionKey (type 16) is that of
// [ConsumerGroupRegularExpressionValue].
type ConsumerGroupRegularExpressionKey struct{ Group, Regex string }

// Append appends the key's bytes to dst.
func (k OffsetCommitKey) Append(dst []byte) []byte {
	w := startKey(dst, typeOffsetCommit)
	w.string(k.Group)
	w.string(k.Topic)
	w.int32(k.Partition)
	return w.buf
}

// Append appends the key's bytes to dst.
func (k GroupMetadataKey) Append(dst []byte) []byte {
	return appendNames(dst, typeGroupMetadata, k.Group)
}

// Append appends the key's bytes to dst.
func (k ConsumerGroupMetadataKey) Append(dst []byte) []byte {
	return appendNames(dst, typeConsumerGroupMetadata, k.Group)
}

// Append appends the key's bytes to dst.
func (k ConsumerGroupMemberMetadataKey) Append(dst []byte) []byte {
	return appendNames(dst, typeConsumerMemberMetadata, k.Group, k.Member)
}

// Append appends the key's bytes to dst.
func (k ConsumerGroupTargetAssignmentMetadataKey) Append(dst []byte) []byte {
	return appendNames(dst, typeConsumerTargetMetadata, k.Group)
}

// Append appends the key's bytes to dst.
func (k ConsumerGroupTargetAssignmentMemberKey) Append(dst []byte) []byte {
	return appendNames(dst, typeConsumerTargetMember, k.Group, k.Member)
}

// Append appends the key's bytes to dst.
func (k ConsumerGroupCurrentMemberAssignmentKey) Append(dst []byte) []byte {
	return appendNames(dst, typeConsumerCurrentMember, k.Group, k.Member)
}

// Append appends the key's bytes to dst.
func (k ConsumerGroupRegularExpressionKey) Append(dst []byte) []byte {
	return appendNames(dst, typeConsumerRegularExpressions, k.Group, k.Regex)
}

func appendNames(dst []byte, keyType int16, names ...string) []byte {
	w := startKey(dst, keyType)
	for _, name := range names {
		w.string(name)
	}
	return w.buf
}

// ParseKey gives one of the key types of this package, by value. A key of type
// 0, which Kafka wrote before 0.8.2, is an OffsetCommitKey too. Errors are
// *UnknownTypeError and *Error.
func ParseKey(key []byte) (any, error) {
	r := &reader{record: "key", size: len(key), buf: key}
	k, err := r.key()
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return k, nil
}

func (r *reader) key() (any, error) {
	keyType := r.int16("type")
	if r.err != nil {
		return nil, r.err
	}
	switch keyType {
	case typeLegacyOffsetCommit, typeOffsetCommit:
		r.record = "OffsetCommit key"
		return OffsetCommitKey{r.string("group"), r.string("topic"), r.int32("partition")}, nil
	case typeGroupMetadata:
		r.record = "GroupMetadata key"
		return GroupMetadataKey{r.string("group")}, nil
	case typeConsumerGroupMetadata:
		r.record = "ConsumerGroupMetadata key"
		return ConsumerGroupMetadataKey{r.string("group")}, nil
	case typeConsumerMemberMetadata:
		r.record = "ConsumerGroupMemberMetadata key"
		return ConsumerGroupMemberMetadataKey{r.string("group"), r.string("member")}, nil
	case typeConsumerTargetMetadata:
		r.record = "ConsumerGroupTargetAssignmentMetadata key"
		return ConsumerGroupTargetAssignmentMetadataKey{r.string("group")}, nil
	case typeConsumerTargetMember:
		r.record = "ConsumerGroupTargetAssignmentMember key"
		return ConsumerGroupTargetAssignmentMemberKey{r.string("group"), r.string("member")}, nil
	case typeConsumerCurrentMember:
		r.record = "ConsumerGroupCurrentMemberAssignment key"
		return ConsumerGroupCurrentMemberAssignmentKey{r.string("group"), r.string("member")}, nil
	case typeConsumerRegularExpressions:
		r.record = "ConsumerGroupRegularExpression key"
		return ConsumerGroupRegularExpressionKey{r.string("group"), r.string("regex")}, nil
	}
	return nil, &UnknownTypeError{keyType}
}
