package coordinator

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Event is what a step takes: *Request, Tick or TopicsChanged.
type Event interface{ event() }

// Request is a client's request, about one group.
type Request struct {
	// Body is one of kmsg's requests JoinGroup, SyncGroup, Heartbeat,
	// LeaveGroup, OffsetCommit, OffsetFetch (of one group), ListGroups,
	// DescribeGroups (of one group), DeleteGroups (of one group), OffsetDelete,
	// ConsumerGroupHeartbeat, ConsumerGroupDescribe (of one group), with its
	// version. The machine may change it. It keeps no byte slices of it: what it
	// keeps is bounded, and a request is not.
	Body   kmsg.Request
	Client Client
	Token  any // comes back with the answer
}

// Client is who sent a request, as DescribeGroups shows it.
type Client struct {
	ID   string // of the request's header
	Host string // "/127.0.0.1"
}

// Tick says that the time of Deadline has come, or just what time it is.
type Tick struct{}

// TopicsChanged brings the newest topics.
type TopicsChanged struct{ Topics Topics }

func (*Request) event()      {}
func (Tick) event()          {}
func (TopicsChanged) event() {}

// Topics is an immutable view of the cluster's topics.
type Topics interface {
	// Topic finds a topic by its name.
	Topic(name string) (Topic, bool)
	// TopicByID finds a topic by its id.
	TopicByID(id [16]byte) (Topic, bool)
	// Names yields the names of all topics, internal ones too, in any order.
	Names(yield func(name string) bool)
}

// Topic is what a group needs to know of a topic.
type Topic struct {
	ID       [16]byte
	Name     string
	Internal bool
	// Racks are those of each partition's replicas, by partition number; its
	// length is the count of partitions. A partition's racks are nil where its
	// nodes have none.
	Racks [][]string
}

// Partitions is the topic's count of partitions.
func (t Topic) Partitions() int32 { return int32(len(t.Racks)) }

// Effects are what a step asks for, in this order.
type Effects struct {
	// Records are to be appended, in their order and in one batch.
	Records []Record
	// Answers may be sent once all records up to here are committed.
	Answers []Answer
	// Notes say what happened to groups, for the log.
	Notes []Note
}

// Note says in words what happened to a group: why it rebalances, say.
type Note struct{ Group, Text string }

// Record is one for __consumer_offsets. A nil value is a tombstone.
type Record struct{ Key, Value []byte }

// Answer is the answer to the request of that token.
type Answer struct {
	Token    any
	Response kmsg.Response
}

// Config are the broker's settings for groups. All must be set. The names in
// the comments are Kafka's.
type Config struct {
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms
	MaxRebalanceTimeout   time.Duration // of classic groups; Kafka has no limit
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	MaxSize               int           // group.max.size, of classic groups

	OffsetMetadataMaxBytes int           // offset.metadata.max.bytes
	OffsetsRetention       time.Duration // offsets.retention.minutes
	OffsetsCheckInterval   time.Duration // offsets.retention.check.interval.ms

	ConsumerSessionTimeout    time.Duration // group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval time.Duration // group.consumer.heartbeat.interval.ms
	ConsumerMaxSize           int           // group.consumer.max.size
	ConsumerAssignors         []string      // group.consumer.assignors; the first is the default
	ConsumerMigration         Migration     // group.consumer.migration.policy
	RegexRefresh              time.Duration // group.consumer.regex.refresh.interval.ms
	// ConsumerAssignmentInterval is group.consumer.assignment.interval.ms
	// (KIP-1263): a group's target assignment is calculated once in it at most.
	// It is for large groups: for small ones far less is taken. 0: always at once.
	ConsumerAssignmentInterval time.Duration

	MaxGroups         int // of this machine
	MaxMetadataBytes  int // of one member: its subscription or its assignment
	MaxGroupBytes     int // of all members' metadata and assignments of one group
	MaxOffsetsOfGroup int // partitions with a committed offset

	// Room says whether more bytes of members' metadata and assignments may be
	// kept, beside those that the machine holds; nil: always. It is for bounds
	// that several machines share.
	Room func(held, more int) bool

	// Group returns the configs of a group as IncrementalAlterConfigs set them
	// (resource type GROUP): nil values mean the broker's.
	Group func(id string) GroupConfig
	// NewID returns text that makes a member id unique.
	NewID func() string
}

// GroupConfig are a group's own configs.
type GroupConfig struct {
	ConsumerSessionTimeout    time.Duration // consumer.session.timeout.ms; 0: the broker's
	ConsumerHeartbeatInterval time.Duration // consumer.heartbeat.interval.ms; 0: the broker's
	// ConsumerAssignmentInterval is consumer.assignment.interval.ms; nil: the
	// broker's.
	ConsumerAssignmentInterval *time.Duration
}

// Migration is group.consumer.migration.policy: which way a group may change
// between the classic and the consumer protocol while it has members.
type Migration uint8

// The policies; Bidirectional is the default.
const (
	MigrationDisabled Migration = iota
	MigrationUpgrade
	MigrationDowngrade
	MigrationBidirectional
)
