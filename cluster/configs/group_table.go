package configs

// coordinatorDefinitions are the configs of a node that govern consumer groups.
// Those of groups themselves can change them ([groupDefinitions]).
var coordinatorDefinitions = []Definition{
	{Name: "group.min.session.timeout.ms", Type: Int, Unit: Milliseconds, Default: "6000", Valid: atLeast(1), Group: groupGroups,
		Doc: "The shortest session time-out that a member of a classic group may ask for."},
	{Name: "group.max.session.timeout.ms", Type: Int, Unit: Milliseconds, Default: "1800000", Valid: atLeast(1), Group: groupGroups,
		Doc: "The longest session time-out that a member of a classic group may ask for."},
	{Name: "group.initial.rebalance.delay.ms", Type: Int, Unit: Milliseconds, Default: "3000", Valid: atLeast(0), Group: groupGroups,
		Doc: "How long an empty classic group waits for more members after the first has joined. Each that joins meanwhile prolongs it, up to the rebalance time-out."},
	{Name: "group.max.size", Type: Int, Default: "10000", Valid: atLeast(1), Group: groupGroups,
		Doc: "How many members a classic group may have. Kafka's default is no limit."},
	{Name: "group.max.groups", Type: Int, Default: "20000", Valid: atLeast(1), Group: groupGroups, Own: true,
		Doc: "How many groups one partition of __consumer_offsets may hold; a new one above that is refused."},
	{Name: "group.max.metadata.bytes", Type: Long, Unit: Bytes, Default: "134217728", Valid: atLeast(1 << 20), Group: groupGroups, Own: true,
		Doc: "How much the members of all groups on a node may say of themselves and be assigned; a member for which there is no room is refused."},
	{Name: "group.consumer.session.timeout.ms", Type: Int, Unit: Milliseconds, Default: "45000", Valid: atLeast(1), Group: groupGroups,
		Doc: "After which time without a heartbeat a member of the new consumer protocol (KIP-848) is taken for dead."},
	{Name: "group.consumer.heartbeat.interval.ms", Type: Int, Unit: Milliseconds, Default: "5000", Valid: atLeast(1), Group: groupGroups,
		Doc: "How often members of the new consumer protocol are told to send heartbeats."},
	{Name: "group.consumer.max.size", Type: Int, Default: "10000", Valid: atLeast(1), Group: groupGroups,
		Doc: "How many members a group of the new consumer protocol may have. Kafka's default is no limit."},
	{Name: "group.consumer.assignors", Type: List, Default: "uniform,range", Valid: listOf("uniform", "range"), Group: groupGroups,
		Doc: "The assignors that a member of the new consumer protocol may ask for; the first is used where none asks."},
	{Name: "group.consumer.assignment.interval.ms", Type: Int, Unit: Milliseconds, Default: "1000", Valid: between(0, 15_000), Group: groupGroups,
		Doc: "How often a large group's assignment is calculated at most while members come and go (new consumer protocol); small groups do not wait. 0 is at once, always."},
	{Name: "group.consumer.migration.policy", Type: String, Default: "bidirectional", Valid: oneOf("disabled", "upgrade", "downgrade", "bidirectional"), Group: groupGroups,
		Doc: "Which way a group with members may change between the classic and the new consumer protocol."},
	{Name: "group.consumer.regex.refresh.interval.ms", Type: Int, Unit: Milliseconds, Default: "600000", Valid: atLeast(10_000), Group: groupGroups,
		Doc: "How often subscribed regular expressions are looked at again, beside when topics come and go."},

	{Name: "offset.metadata.max.bytes", Type: Int, Unit: Bytes, Default: "4096", Valid: atLeast(0), Group: groupGroups,
		Doc: "How many bytes of metadata a committed offset may have."},
	{Name: "offsets.retention.minutes", Type: Int, Unit: Minutes, Default: "10080", Valid: atLeast(1), Group: groupGroups,
		Doc: "How long the offsets of a group are kept once it has no members any more, and those of a topic once nobody of the group subscribes to it."},
	{Name: "offsets.retention.check.interval.ms", Type: Long, Unit: Milliseconds, Default: "600000", Valid: atLeast(1), Group: groupGroups,
		Doc: "How often offsets are looked through for those to be dropped."},
	{Name: "offsets.topic.num.partitions", Type: Int, Default: "50", Valid: atLeast(1), Group: groupGroups,
		Doc: "How many partitions __consumer_offsets gets when it is created. A group's name decides which of them holds it."},
	{Name: "offsets.topic.replication.factor", Type: Short, Default: "3", Valid: atLeast(1), Group: groupGroups,
		Doc: "How many replicas __consumer_offsets gets when it is created, or as many as there are nodes."},
	{Name: "offsets.topic.segment.bytes", Type: Int, Unit: Bytes, Default: "104857600", Valid: atLeast(1 << 20), Group: groupGroups,
		Doc: "The segment size that __consumer_offsets gets when it is created."},
}

// groupDefinitions are the configs that a group can have of its own
// (IncrementalAlterConfigs with the resource type GROUP). Their defaults are the
// node's.
var groupDefinitions = []Definition{
	{Name: "consumer.session.timeout.ms", Type: Int, Unit: Milliseconds, Default: "45000", Valid: atLeast(1), Group: groupGroups,
		Synonyms: []string{"group.consumer.session.timeout.ms"},
		Doc:      "After which time without a heartbeat a member of this group is taken for dead (new consumer protocol)."},
	{Name: "consumer.heartbeat.interval.ms", Type: Int, Unit: Milliseconds, Default: "5000", Valid: atLeast(1), Group: groupGroups,
		Synonyms: []string{"group.consumer.heartbeat.interval.ms"},
		Doc:      "How often this group's members are told to send heartbeats (new consumer protocol)."},
	{Name: "consumer.assignment.interval.ms", Type: Int, Unit: Milliseconds, Default: "1000", Valid: between(0, 15_000), Group: groupGroups,
		Synonyms: []string{"group.consumer.assignment.interval.ms"},
		Doc:      "How often this group's assignment is calculated at most, if it is large (new consumer protocol)."},
}

func init() {
	for i := range groupDefinitions {
		groupDefinitions[i].Kind = Group
	}
}

// GroupConfig is every config of a group, typed.
type GroupConfig struct {
	ConsumerSessionTimeoutMillis    int32
	ConsumerHeartbeatIntervalMillis int32
	ConsumerAssignmentMillis        int32
}

// EffectiveGroup computes a group's configs. The error is that of the first
// override that is not taken; it counts as not set.
func EffectiveGroup(b BrokerConfig, overrides map[string]string) (GroupConfig, error) {
	v := make(values, len(groupDefinitions))
	for i := range groupDefinitions {
		d := &groupDefinitions[i]
		v[d.Name] = b.governingValue(d)
		if text, ok := overrides[d.Name]; ok {
			if parsed, err := Parse(d, text); err == nil {
				v[d.Name] = parsed
			}
		}
	}
	return GroupConfig{
		ConsumerSessionTimeoutMillis:    get[int32](v, "consumer.session.timeout.ms"),
		ConsumerHeartbeatIntervalMillis: get[int32](v, "consumer.heartbeat.interval.ms"),
		ConsumerAssignmentMillis:        get[int32](v, "consumer.assignment.interval.ms"),
	}, ValidateGroup(overrides)
}

// ValidateGroup returns why a group's configs are not taken.
func ValidateGroup(overrides map[string]string) error { return ValidateAll(Group, overrides) }
