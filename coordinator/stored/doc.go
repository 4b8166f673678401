// Package stored has the records of __consumer_offsets as Apache Kafka 4.4
// writes them, so that tools outside can read the topic (Burrow, kminion,
// kafka-console-consumer with its formatters) and a topic that was mirrored from
// Kafka can be read here.
//
// Each key type has Append, which gives its bytes, and all are parsed by
// [ParseKey]. Each value type has Append, which writes the version that Kafka
// 4.4 writes, and a function that parses all versions that Kafka 4.4 reads.
// A nil value (a tombstone) is not parsed: it deletes what its key names.
//
// Parsers take no more memory than some fixed multiple of their input, never
// keep it (strings and bytes are copied), and give an [*Error] that names
// record, field and byte. They are stricter than Kafka's: bytes behind the last
// field, tagged fields out of order and one whose size is not that of its
// content are errors.
//
// # Primitives
//
// All integers are big-endian. A record's value starts with the version of its
// format; some versions are flexible (KIP-482).
//
//	              not flexible             flexible
//	string        int16 n, n bytes         uvarint n+1, n bytes
//	?string       as string; n = -1: null  as string; 0: null
//	bytes         int32 n, n bytes         uvarint n+1, n bytes
//	[T]           int32 n, n times T       uvarint n+1, n times T
//	uuid          16 bytes
//	tags          nothing                  uvarint n, n times {uvarint tag,
//	                                       uvarint size, size bytes}
//
// uvarint is that of Protocol Buffers, of at most 32 bits. In a flexible version
// each struct ends with its tags; a tagged field that has its default value is
// not written.
//
// # Keys
//
// Keys are not flexible: an int16 that says which, and
//
//	 0  OffsetCommit, before Kafka 0.8.2: as 1, of which values the newest wins
//	 1  OffsetCommit                  group string, topic string, partition int32
//	 2  GroupMetadata                 group string
//	 3  ConsumerGroupMetadata         group string
//	 4  (partition metadata, written until Kafka 4.0; 4.4 has its hash in 3)
//	 5  ConsumerGroupMemberMetadata   group string, member string
//	 6  ConsumerGroupTargetAssignmentMetadata      group string
//	 7  ConsumerGroupTargetAssignmentMember        group string, member string
//	 8  ConsumerGroupCurrentMemberAssignment       group string, member string
//	16  ConsumerGroupRegularExpression             group string, regex string
//
// The rest (share and streams groups) and 4 are an [*UnknownTypeError].
//
// # Values
//
// What is written stands first; what stands behind a version is only in it.
//
// OffsetCommit (4; 1 where the commit has an expiry of its own; 0 to 4 are
// read; 4 is flexible):
//
//	version          int16
//	offset           int64
//	leaderEpoch      int32    3 and later; -1: not known
//	metadata         string
//	commitTimestamp  int64    ms
//	expireTimestamp  int64    1 only; ms; -1: none
//	topicId          uuid     4 and later, tag 0; zero: not known
//
// GroupMetadata (3; 0 to 4 are read; 4 is flexible), of a classic group:
//
//	version                int16
//	protocolType           string
//	generation             int32
//	protocol               ?string
//	leader                 ?string
//	currentStateTimestamp  int64    2 and later; ms; -1: not known
//	members                [{
//	  memberId             string
//	  groupInstanceId      ?string  3 and later
//	  clientId             string
//	  clientHost           string
//	  rebalanceTimeout     int32    1 and later; ms; -1: not known
//	  sessionTimeout       int32    ms
//	  subscription         bytes    of the protocol that was chosen
//	  assignment           bytes
//	}]
//
// The values below, of groups of KIP-848, have one version, 0, which is
// flexible.
//
// ConsumerGroupMetadata:
//
//	epoch         int32
//	metadataHash  int64    tag 0; default 0
//
// ConsumerGroupMemberMetadata:
//
//	instanceId             ?string
//	rackId                 ?string
//	clientId               string
//	clientHost             string
//	subscribedTopicNames   [string]
//	subscribedTopicRegex   ?string
//	rebalanceTimeoutMs     int32
//	serverAssignor         ?string
//	classicMemberMetadata  {          tag 0; a byte 1 comes before it
//	  sessionTimeoutMs     int32
//	  supportedProtocols   [{name string, metadata bytes}]
//	}
//
// ConsumerGroupTargetAssignmentMetadata:
//
//	assignmentEpoch      int32
//	assignmentTimestamp  int64    tag 0; ms; default 0
//
// ConsumerGroupTargetAssignmentMember:
//
//	topicPartitions  [{topicId uuid, partitions [int32]}]
//
// ConsumerGroupCurrentMemberAssignment, where topicPartitions is {topicId uuid,
// partitions [int32], assignmentEpochs ?[int32] (tag 0, default null)}:
//
//	memberEpoch                 int32
//	previousMemberEpoch         int32
//	state                       int8
//	assignedPartitions          [topicPartitions]
//	partitionsPendingRevocation [topicPartitions]
//
// ConsumerGroupRegularExpression:
//
//	topics     [string]
//	version    int64    of the metadata that it was resolved with
//	timestamp  int64    ms
package stored
