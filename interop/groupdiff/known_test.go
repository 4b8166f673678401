package groupdiff

import "strconv"

// knownDifferences are those between kfake and Fanfold, each with who is right
// by Apache Kafka's coordinator (4.4, or where it is older the KIP), and why.
var knownDifferences = []known{
	// What describes groups.
	{path: `(the (consumer |classic )?group|DescribeGroups).*\.ClientHost`, kfake: `127\.0\.0\.1:port`, fanfold: `/127\.0\.0\.1`,
		why: "Kafka writes an address as Java does, without the port; Fanfold too"},
	{path: `the (classic )?group.*\.ProtocolType`, kfake: `"consumer"`, fanfold: `""`,
		why: "a group has the protocol type of its first member (ClassicGroup.add); one of which ids were given out has none yet"},
	{path: `the consumer group.*\.AssignorName`, kfake: `""`, fanfold: `"uniform"`,
		why: "a group whose members ask for none has the broker's first assignor (ConsumerGroup.computePreferredServerAssignor)"},
	{path: `the consumer group.*\.TopicPartitions\[t\d's id\]\.Topic`, kfake: `""`, fanfold: `"t\d"`,
		why: "ConsumerGroupDescribe names the topics beside their ids"},

	{path: `the consumer group.*\.SubscribedTopicRegex`, kfake: `nil`, fanfold: `".*"`,
		why: "since version 1 of ConsumerGroupDescribe members' expressions are told"},
	{path: `the group.*\.MemberAssignment`, kfake: `""`, fanfold: `"for .*"`,
		why: "while members join again, DescribeGroups shows what they had (ClassicGroupMember.describeNoMetadata); kfake shows assignments of stable groups alone"},
	{path: `the classic group.*\.ErrorCode`, kfake: `NONE`, fanfold: `GROUP_ID_NOT_FOUND`,
		why: "to DescribeGroups a consumer group does not exist: Kafka answers for classic groups alone (KIP-848)"},
	{path: `ListGroups v\d of that (state in small letters|type in capitals)\.Groups.*`, kfake: `\(absent\)`,
		why: "names of states and types are the same in capitals (KIP-848)"},

	// Groups that do not exist.
	{path: `(Heartbeat|SyncGroup|LeaveGroup) v\d .*(to no group|\[no group\])\.ErrorCode`, kfake: `GROUP_ID_NOT_FOUND`, fanfold: `UNKNOWN_MEMBER_ID|NONE`,
		why: "who asks about a group that is gone has to join anew: Kafka answers UNKNOWN_MEMBER_ID, since version 3 of LeaveGroup for each member"},
	{path: `(Heartbeat|SyncGroup|LeaveGroup) v\d to the group without a name\.ErrorCode`, kfake: `GROUP_ID_NOT_FOUND`, fanfold: `INVALID_GROUP_ID`,
		why: "Kafka refuses an empty group id before it looks for the group"},
	{path: `(OffsetFetch v\d+ .*(of no group|\[no group\])|what is committed).*\.(ErrorCode|Topics\["t1"\])`, kfake: `GROUP_ID_NOT_FOUND|\(absent\)`, fanfold: `NONE|\{.*Offset:-1.*\}`,
		why: "a group that does not exist has committed nothing, which is no error (OffsetMetadataManager.fetchOffsets): new groups ask for this first of all"},
	{path: `OffsetCommit v9 of a member to no group.*\.ErrorCode`, kfake: `ILLEGAL_GENERATION`, fanfold: `GROUP_ID_NOT_FOUND`,
		why: "since version 9 there is an error for it (KIP-848)"},
	{path: `OffsetDelete v0 of an unknown topic.*\.ErrorCode`, kfake: `NONE`, fanfold: `UNKNOWN_TOPIC_OR_PARTITION`,
		why: "Kafka's broker refuses topics that its metadata does not have, before it asks the coordinator"},

	// The classic protocol.
	{path: `the group \[version 0\]\.Groups.*\.(State|Members.*)`, kfake: `"Empty"|\(absent\)`, fanfold: `"CompletingRebalance"|\{.*\}`, parts: true,
		why: "version 0 of JoinGroup has no rebalance time-out: the session's is taken; kfake takes none, and drops the member at once"},

	{path: `JoinGroup .*\.MemberID`, kfake: `nobody`, fanfold: `.*'s id \d`,
		why: "a refused JoinGroup is answered with the member id that it has"},
	{path: `JoinGroup v\d again \[an id is not used\]\.answered`, kfake: `answers`, fanfold: `waits`, parts: true,
		why: "a rebalance waits for members that were given an id and have not joined with it (ClassicGroup.hasAllMembersJoined, KIP-394)"},
	{path: `(the group|JoinGroup|SyncGroup).*\[an id that was not used has left\].*`, parts: true,
		why: "a group rebalances when a member leaves that was given an id only, too (GroupMetadataManager.classicGroupLeave)"},
	{path: `JoinGroup v\d of another type to an empty group\.ErrorCode`, kfake: `INCONSISTENT_GROUP_PROTOCOL`, fanfold: `MEMBER_ID_REQUIRED`, parts: true,
		why: "an empty group takes a member of any protocol type (ClassicGroup.supportsProtocols)"},
	{path: `JoinGroup v[5-8] of a static (leader|member) that is back( \[no group\])?\.(LeaderID|Members.*)`,
		why: "before version 9 a leader that is back must not know that it leads, or it would assign anew for nobody: it is told of the leader before it (KIP-814)"},
	{path: `LeaveGroup v4 of an instance with another's member id\.Members.*`, parts: true,
		why: "Kafka answers FENCED_INSTANCE_ID where the member id is another's; kfake looks at the instance id alone"},
	{path: `JoinGroup .*\[the leader has gone\]\.(LeaderID|Members.*)`, parts: true,
		why: "of the members that are left one leads (ClassicGroup.maybeElectNewJoinedLeader); kfake tells each of them that it is the one"},

	// Offsets.
	{path: `(OffsetFetch|what is committed).*\.Metadata`, kfake: `nil`, fanfold: `""`,
		why: "Kafka has no null there: \"\" is what a commit without metadata has, and what is not committed"},
	{path: `OffsetCommit v\d of (one that left|a member to offsets alone|a wrong generation).*\.ErrorCode`, kfake: `ILLEGAL_GENERATION`, fanfold: `UNKNOWN_MEMBER_ID`,
		why: "that there is no such member comes before what generation it has (ClassicGroup.validateOffsetCommit)"},
	{path: `the group.*\[all commits were refused\].*\.ErrorCode`, kfake: `NONE`, fanfold: `GROUP_ID_NOT_FOUND`,
		why: "Kafka's broker refuses unknown topics before the coordinator makes a group; kfake is left with an empty one"},

	{path: `OffsetCommit v\d with too much metadata.*\.ErrorCode`, kfake: `NONE`, fanfold: `OFFSET_METADATA_TOO_LARGE`,
		why: "offset.metadata.max.bytes is 4096; kfake has no limit", parts: true},
	{path: `OffsetFetch v10 of an unknown topic id.*\.ErrorCode`, kfake: `NONE`, fanfold: `UNKNOWN_TOPIC_ID`,
		why: "Kafka's broker refuses topic ids that its metadata does not have"},
	{path: `OffsetDelete v0 of any.*\.ErrorCode`, kfake: `NONE|GROUP_SUBSCRIBED_TO_TOPIC`, fanfold: `NONE|GROUP_SUBSCRIBED_TO_TOPIC`, parts: true, mayBe: true,
		why: "what members subscribe to counts from the beginning of a generation (ClassicGroup.initNextGeneration); with kfake, as soon as they say so"},

	// The consumer protocol.
	{path: `ConsumerGroupHeartbeat .*\.HeartbeatIntervalMillis`, kfake: `5000`, fanfold: `0`,
		why: "who leaves or is refused is not told how often to come"},
	{path: `ConsumerGroupHeartbeat v1 (to no group|of one that leaves no group) \[no group\]\.ErrorCode`, kfake: `UNKNOWN_MEMBER_ID`, fanfold: `GROUP_ID_NOT_FOUND`,
		why: "only who joins makes a group (GroupMetadataManager.getOrMaybeCreateConsumerGroup)"},
	{path: `the consumer group.*\[no group\].*\.ErrorCode`, kfake: `NONE`, fanfold: `GROUP_ID_NOT_FOUND`,
		why: "as above: kfake is left with an empty group"},

	{path: `ConsumerGroupHeartbeat v1 (without a (member id|group id|rebalance time-out)|with an empty .*|that joins without a subscription)\.ErrorCode`, kfake: `NONE|INVALID_GROUP_ID`, fanfold: `INVALID_REQUEST`,
		why: "Kafka refuses what cannot be before it looks for the group (GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid)"},
	{path: `ConsumerGroupHeartbeat v1 of (an epoch that is none|a dynamic member that leaves for a while)\.ErrorCode`, kfake: `UNKNOWN_MEMBER_ID`, fanfold: `INVALID_REQUEST`,
		why: "as above: only a static member can leave for a while, and there are no epochs below"},
	{path: `ConsumerGroupHeartbeat v1 with a broken regular expression\.ErrorCode`, kfake: `INVALID_REQUEST`, fanfold: `INVALID_REGULAR_EXPRESSION`,
		why: "there is an error for it (KIP-848)"},
	{path: `ConsumerGroupHeartbeat v1 with an unknown instance id\.ErrorCode`, kfake: `NONE`, fanfold: `UNKNOWN_MEMBER_ID`,
		why: "a member with an instance id is looked for by it (GroupMetadataManager.throwIfStaticMemberIsUnknown)"},
	{path: `(ConsumerGroupHeartbeat|the consumer group).*\.MemberEpoch`, fits: nextEpoch, parts: true, mayBe: true,
		why: "a member that has given up what it should goes to the next epoch, even where it is to give up more then (CurrentAssignmentBuilder); kfake leaves it at its epoch"},
	{path: `OffsetDelete v0 of a topic that members read, KIP-848\.ErrorCode`, kfake: `NON_EMPTY_GROUP`, fanfold: `NONE`,
		why: "of a consumer group with members, offsets of topics that none of them reads can be deleted; of others, each partition is refused (ConsumerGroup.validateOffsetDelete)"},
	{path: `the consumer group.*\[a classic member has come\].*\.ErrorCode`, kfake: `NONE`, fanfold: `GROUP_ID_NOT_FOUND`, parts: true,
		why: "an empty group becomes one of the protocol of who joins it (GroupMetadataManager.maybeDeleteEmptyConsumerGroup)"},
	{path: `the consumer group.*\.State`, kfake: `"Empty"`, fanfold: `"Reconciling"`,
		why: "a static member that is away for a while is a member, and does not have its target (ConsumerGroup.maybeUpdateGroupState)"},
	{path: `ListGroups v\d of (a consumer group|that type).*\.ProtocolType`, kfake: `""`, fanfold: `"consumer"`,
		why: "groups of KIP-848 have the protocol type of consumers (ConsumerGroup.asListedGroup)"},

	// Coordinators of other kinds.
	{path: `FindCoordinator v\d of nonsense.*\.(NodeID|Port)`, kfake: `a .*`, fanfold: `-1`,
		why: "an error comes with no node"},
	{path: `FindCoordinator v\d of transactions.*`, kfake: ``, fanfold: `UNSUPPORTED_VERSION`,
		why: "Fanfold has no transactions yet"},
	{path: `FindCoordinator v\d of a share group.*`, kfake: ``, fanfold: `UNSUPPORTED_VERSION`,
		why: "Fanfold has no share groups yet"},
}

// nextEpoch says that Fanfold's epoch is one more than kfake's.
func nextEpoch(d difference) bool {
	kfake, err := strconv.Atoi(d.kfake)
	fanfold, err2 := strconv.Atoi(d.fanfold)
	return err == nil && err2 == nil && fanfold == kfake+1
}
