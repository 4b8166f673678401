package stored

import "fmt"

// ConsumerGroupMetadataValue is the epoch of a group of KIP-848.
type ConsumerGroupMetadataValue struct {
	Epoch        int32
	MetadataHash int64 // of the topics subscribed to
}

// ConsumerGroupMemberMetadataValue is what a member has said of itself.
type ConsumerGroupMemberMetadataValue struct {
	InstanceID             *string
	RackID                 *string
	ClientID, ClientHost   string
	SubscribedTopicNames   []string
	SubscribedTopicRegex   *string
	RebalanceTimeoutMillis int32 // -1: not known
	ServerAssignor         *string
	Classic                *ClassicMemberMetadata // nil unless it uses the classic protocol
}

// ClassicMemberMetadata is of a member that uses the classic protocol.
type ClassicMemberMetadata struct {
	SessionTimeoutMillis int32
	Protocols            []ClassicProtocol
}

// ClassicProtocol is an assignor that a member supports.
type ClassicProtocol struct {
	Name     string
	Metadata []byte
}

// ConsumerGroupTargetAssignmentMetadataValue is the epoch of the target
// assignment.
type ConsumerGroupTargetAssignmentMetadataValue struct {
	AssignmentEpoch  int32
	AssignmentMillis int64 // when it was calculated; 0: not known (KIP-1263)
}

// ConsumerGroupTargetAssignmentMemberValue is what a member shall have.
// AssignmentEpochs of its TopicPartitions are not written.
type ConsumerGroupTargetAssignmentMemberValue struct{ TopicPartitions []TopicPartitions }

// ConsumerGroupCurrentMemberAssignmentValue is what a member has. State is
// Kafka's MemberState.
type ConsumerGroupCurrentMemberAssignmentValue struct {
	MemberEpoch                 int32
	PreviousMemberEpoch         int32
	State                       int8
	AssignedPartitions          []TopicPartitions
	PartitionsPendingRevocation []TopicPartitions
}

// TopicPartitions are partitions of one topic.
type TopicPartitions struct {
	TopicID    [16]byte
	Partitions []int32
	// AssignmentEpochs are the epochs at which the member got each of
	// Partitions; nil: not known (KIP-1251).
	AssignmentEpochs []int32
}

// ConsumerGroupRegularExpressionValue is what a regular expression has resolved
// to.
type ConsumerGroupRegularExpressionValue struct {
	Topics          []string
	Version         int64 // of the metadata
	TimestampMillis int64
}

// The fewest bytes that the elements of arrays take.
const (
	topicPartitionsMinBytes = 18
	classicProtocolMinBytes = 3
)

// Append appends the value's bytes to dst.
func (v ConsumerGroupMetadataValue) Append(dst []byte) []byte {
	w := startValue(dst, 0, true)
	w.int32(v.Epoch)
	w.tag0Int64(v.MetadataHash)
	return w.buf
}

// ParseConsumerGroupMetadataValue reads version 0. An error is an *Error.
func ParseConsumerGroupMetadataValue(value []byte) (v ConsumerGroupMetadataValue, err error) {
	r, _ := openValue("ConsumerGroupMetadata", value, 0, 0)
	v.Epoch = r.int32("epoch")
	v.MetadataHash = r.tag0Int64("metadataHash")
	if err := r.end(); err != nil {
		return ConsumerGroupMetadataValue{}, err
	}
	return v, nil
}

// Append appends the value's bytes to dst.
func (v ConsumerGroupMemberMetadataValue) Append(dst []byte) []byte {
	w := startValue(dst, 0, true)
	w.nullableString(v.InstanceID)
	w.nullableString(v.RackID)
	w.string(v.ClientID)
	w.string(v.ClientHost)
	w.strings(v.SubscribedTopicNames)
	w.nullableString(v.SubscribedTopicRegex)
	w.int32(v.RebalanceTimeoutMillis)
	w.nullableString(v.ServerAssignor)
	if v.Classic == nil {
		w.noTags()
		return w.buf
	}
	classic := writer{flexible: true}
	classic.classicMember(v.Classic)
	w.tag0(len(classic.buf))
	w.buf = append(w.buf, classic.buf...)
	return w.buf
}

func (w *writer) classicMember(c *ClassicMemberMetadata) {
	w.int8(1) // it is not null
	w.int32(c.SessionTimeoutMillis)
	w.length(len(c.Protocols))
	for _, p := range c.Protocols {
		w.string(p.Name)
		w.bytes(p.Metadata)
		w.noTags()
	}
	w.noTags()
}

// ParseConsumerGroupMemberMetadataValue reads version 0. An error is an *Error.
func ParseConsumerGroupMemberMetadataValue(value []byte) (v ConsumerGroupMemberMetadataValue, err error) {
	r, _ := openValue("ConsumerGroupMemberMetadata", value, 0, 0)
	v.InstanceID = r.nullableString("instanceId")
	v.RackID = r.nullableString("rackId")
	v.ClientID = r.string("clientId")
	v.ClientHost = r.string("clientHost")
	v.SubscribedTopicNames = r.strings("subscribedTopicNames")
	v.SubscribedTopicRegex = r.nullableString("subscribedTopicRegex")
	v.RebalanceTimeoutMillis = r.int32("rebalanceTimeoutMs")
	v.ServerAssignor = r.nullableString("serverAssignor")
	r.tags(func(tag uint32) bool {
		if tag == 0 {
			v.Classic = r.classicMember()
		}
		return tag == 0
	})
	if err := r.end(); err != nil {
		return ConsumerGroupMemberMetadataValue{}, err
	}
	return v, nil
}

// classicMember reads a struct that may be null: a byte says so.
func (r *reader) classicMember() *ClassicMemberMetadata {
	const field = "classicMemberMetadata"
	switch is := r.int8(field); {
	case r.err != nil || is == -1:
		return nil
	case is != 1:
		r.fail(field, "a struct begins with %d, not with 1 or -1", is)
		return nil
	}
	c := &ClassicMemberMetadata{SessionTimeoutMillis: r.int32(field + ".sessionTimeoutMs")}
	c.Protocols = make([]ClassicProtocol, r.count(field+".supportedProtocols", classicProtocolMinBytes))
	for i := range c.Protocols {
		c.Protocols[i] = ClassicProtocol{r.string(field + ".name"), r.bytes(field + ".metadata")}
		r.tags(nil)
	}
	r.tags(nil)
	return c
}

// Append appends the value's bytes to dst.
func (v ConsumerGroupTargetAssignmentMetadataValue) Append(dst []byte) []byte {
	w := startValue(dst, 0, true)
	w.int32(v.AssignmentEpoch)
	w.tag0Int64(v.AssignmentMillis)
	return w.buf
}

// ParseConsumerGroupTargetAssignmentMetadataValue reads version 0. An error is
// an *Error.
func ParseConsumerGroupTargetAssignmentMetadataValue(value []byte) (v ConsumerGroupTargetAssignmentMetadataValue, err error) {
	r, _ := openValue("ConsumerGroupTargetAssignmentMetadata", value, 0, 0)
	v.AssignmentEpoch = r.int32("assignmentEpoch")
	v.AssignmentMillis = r.tag0Int64("assignmentTimestamp")
	if err := r.end(); err != nil {
		return ConsumerGroupTargetAssignmentMetadataValue{}, err
	}
	return v, nil
}

// Append appends the value's bytes to dst.
func (v ConsumerGroupTargetAssignmentMemberValue) Append(dst []byte) []byte {
	w := startValue(dst, 0, true)
	w.length(len(v.TopicPartitions))
	for i := range v.TopicPartitions {
		w.uuid(v.TopicPartitions[i].TopicID)
		w.int32s(v.TopicPartitions[i].Partitions)
		w.noTags()
	}
	w.noTags()
	return w.buf
}

// ParseConsumerGroupTargetAssignmentMemberValue reads version 0. An error is an
// *Error.
func ParseConsumerGroupTargetAssignmentMemberValue(value []byte) (v ConsumerGroupTargetAssignmentMemberValue, err error) {
	r, _ := openValue("ConsumerGroupTargetAssignmentMember", value, 0, 0)
	v.TopicPartitions = make([]TopicPartitions, r.count("topicPartitions", topicPartitionsMinBytes))
	for i := range v.TopicPartitions {
		v.TopicPartitions[i].TopicID = r.uuid("topicPartitions.topicId")
		v.TopicPartitions[i].Partitions = r.int32s("topicPartitions.partitions")
		r.tags(nil)
	}
	r.tags(nil)
	if err := r.end(); err != nil {
		return ConsumerGroupTargetAssignmentMemberValue{}, err
	}
	return v, nil
}

// Append appends the value's bytes to dst.
func (v ConsumerGroupCurrentMemberAssignmentValue) Append(dst []byte) []byte {
	w := startValue(dst, 0, true)
	w.int32(v.MemberEpoch)
	w.int32(v.PreviousMemberEpoch)
	w.int8(v.State)
	w.topicPartitions(v.AssignedPartitions)
	w.topicPartitions(v.PartitionsPendingRevocation)
	w.noTags()
	return w.buf
}

// ParseConsumerGroupCurrentMemberAssignmentValue reads version 0. An error is
// an *Error.
func ParseConsumerGroupCurrentMemberAssignmentValue(value []byte) (v ConsumerGroupCurrentMemberAssignmentValue, err error) {
	r, _ := openValue("ConsumerGroupCurrentMemberAssignment", value, 0, 0)
	v.MemberEpoch = r.int32("memberEpoch")
	v.PreviousMemberEpoch = r.int32("previousMemberEpoch")
	v.State = r.int8("state")
	v.AssignedPartitions = r.topicPartitions("assignedPartitions")
	v.PartitionsPendingRevocation = r.topicPartitions("partitionsPendingRevocation")
	r.tags(nil)
	if err := r.end(); err != nil {
		return ConsumerGroupCurrentMemberAssignmentValue{}, err
	}
	return v, nil
}

// topicPartitions writes them with their epochs.
func (w *writer) topicPartitions(list []TopicPartitions) {
	w.length(len(list))
	for i := range list {
		t := &list[i]
		w.uuid(t.TopicID)
		w.int32s(t.Partitions)
		if t.AssignmentEpochs == nil {
			w.noTags()
			continue
		}
		w.tag0(uvarintBytes(len(t.AssignmentEpochs)+1) + 4*len(t.AssignmentEpochs))
		w.int32s(t.AssignmentEpochs)
	}
}

func (r *reader) topicPartitions(field string) []TopicPartitions {
	list := make([]TopicPartitions, r.count(field, topicPartitionsMinBytes))
	for i := range list {
		if r.topicPartition(&list[i]); r.err != nil {
			r.err.Field = fmt.Sprintf("%s[%d].%s", field, i, r.err.Field)
			return nil
		}
	}
	return list
}

func (r *reader) topicPartition(t *TopicPartitions) {
	t.TopicID = r.uuid("topicId")
	t.Partitions = r.int32s("partitions")
	r.tags(func(tag uint32) bool {
		if tag == 0 {
			t.AssignmentEpochs = r.assignmentEpochs(len(t.Partitions))
		}
		return tag == 0
	})
}

// assignmentEpochs reads an array that may be null, else of one for each
// partition.
func (r *reader) assignmentEpochs(partitions int) []int32 {
	const field = "assignmentEpochs"
	n := r.length(field, 4)
	if n < 0 || r.err != nil {
		return nil
	}
	if n != partitions {
		r.fail(field, "there are %d for %d partitions", n, partitions)
		return nil
	}
	epochs := make([]int32, n)
	for i := range epochs {
		epochs[i] = r.int32(field)
	}
	return epochs
}

// Append appends the value's bytes to dst.
func (v ConsumerGroupRegularExpressionValue) Append(dst []byte) []byte {
	w := startValue(dst, 0, true)
	w.strings(v.Topics)
	w.int64(v.Version)
	w.int64(v.TimestampMillis)
	w.noTags()
	return w.buf
}

// ParseConsumerGroupRegularExpressionValue reads version 0. An error is an
// *Error.
func ParseConsumerGroupRegularExpressionValue(value []byte) (v ConsumerGroupRegularExpressionValue, err error) {
	r, _ := openValue("ConsumerGroupRegularExpression", value, 0, 0)
	v.Topics = r.strings("topics")
	v.Version = r.int64("version")
	v.TimestampMillis = r.int64("timestamp")
	r.tags(nil)
	if err := r.end(); err != nil {
		return ConsumerGroupRegularExpressionValue{}, err
	}
	return v, nil
}

// tag0Int64 reads the tags of a struct whose tag 0 is an int64.
func (r *reader) tag0Int64(field string) (n int64) {
	r.tags(func(tag uint32) bool {
		if tag == 0 {
			n = r.int64(field)
		}
		return tag == 0
	})
	return n
}
