package cluster

// Command is a change of the metadata, as it stands in the metadata group's
// log. Everything that a command's effect depends upon besides the image is in
// the command: ids, times, placements and limits are chosen by the node that
// proposes it, so that every node and every replay come to the same image.
type Command interface {
	kind() commandKind
	encodeBody(w *writer)
	decodeBody(r *reader, version byte)
	// check returns why the command cannot be applied to the image. It may
	// depend on the command and the image alone and must not change from
	// release to release, but under a new feature level: a replayed command
	// has to meet the verdict that it met first.
	check(i *Image) error
	// validate holds the rules that are for proposers alone ([Image.Validate]).
	validate(i *Image) error
	// apply makes of a copy of the image the one after the command, which has
	// passed check. It must not change what the copy shares with others.
	apply(i *Image) Result
}

// Result is what a command led to.
type Result struct {
	// Err says why the command changed nothing; protocol.Error carries the
	// code for clients. It is nil where the command was applied.
	Err error
	// Command is the decoded command, nil where it could not be decoded.
	Command Command
	// Topic is the topic as the command left it: set by CreateTopic,
	// CreatePartitions and AlterTopicConfigs, and by DeleteTopic to the topic
	// that is gone.
	Topic *Topic
	// Node is set by RegisterNode.
	Node *Node
	// ProducerIDs is set by AllocateProducerIDs.
	ProducerIDs ProducerIDBlock
}

// ProducerIDBlock is a range of producer ids that belongs to one node:
// First, First+1, … First+Count-1.
type ProducerIDBlock struct {
	First int64
	Count int32
}

// ProducerIDBlockSize is how many producer ids a node takes at a time, as in
// Kafka.
const ProducerIDBlockSize = 1000

// BootstrapCluster names the cluster and begins its metadata.
type BootstrapCluster struct {
	ClusterID    string // 22 characters of URL-safe base64
	FeatureLevel uint16
	TimeMs       int64
}

// RegisterNode adds a node, or tells the others under which addresses it is
// found from now on. The machine sets the node's incarnation.
type RegisterNode struct {
	Node Node
}

// CreateTopic adds a topic. [NewCreateTopic] makes one of a client's request.
type CreateTopic struct {
	Name string
	ID   TopicID
	// Assignment holds the node ids of each partition's replicas, the
	// preferred leader first.
	Assignment [][]int32
	Configs    map[string]string
	Internal   bool
	TimeMs     int64
	Limits     Limits
}

// Limits bound what the cluster holds; a zero means no limit.
type Limits struct {
	Topics     int64
	Partitions int64
}

// DeleteTopic takes a topic away from its clients. Its files go as each node
// gets to it; [TopicPurged] tells.
type DeleteTopic struct {
	ID     TopicID
	TimeMs int64
}

// TopicPurged says that a node has removed all files of a deleted topic.
type TopicPurged struct {
	ID   TopicID
	Node int32
}

// CreatePartitions adds partitions to a topic. [NewCreatePartitions] makes one
// of a client's request.
type CreatePartitions struct {
	ID TopicID
	// From is how many partitions the topic has; where that changed since
	// the command was made, it is refused.
	From int32
	// Assignment holds the replicas of the added partitions alone.
	Assignment [][]int32
	Limits     Limits
}

// AlterTopicConfigs changes a topic's overrides. [NewAlterTopicConfigs] makes
// one of a client's request.
type AlterTopicConfigs struct {
	ID TopicID
	// Replace drops every override that no operation names (AlterConfigs);
	// otherwise they stay (IncrementalAlterConfigs).
	Replace bool
	Ops     []ConfigOp
}

// AllNodes, as the node of AlterBrokerConfigs, means the cluster-wide default.
const AllNodes int32 = -1

// AlterBrokerConfigs changes the dynamic configs of one node or of all.
// [NewAlterBrokerConfigs] makes one of a client's request.
type AlterBrokerConfigs struct {
	Node    int32 // or AllNodes
	Replace bool
	Ops     []ConfigOp
}

// AlterGroupConfigs changes the configs of a consumer group, which need not
// exist. [NewAlterGroupConfigs] makes one of a client's request.
type AlterGroupConfigs struct {
	Group   string
	Replace bool
	Ops     []ConfigOp
}

// ConfigOp changes one config.
type ConfigOp struct {
	Kind ConfigOpKind
	Name string
	// Value is what to set, append or subtract: for the latter two, items of a
	// list, separated by commas.
	Value string
	// Default is the list that append and subtract start from where the
	// config has no value of its own.
	Default string
}

// ConfigOpKind is IncrementalAlterConfigs' operation (KIP-339).
type ConfigOpKind int8

// The operations and their numbers on the wire.
const (
	ConfigSet      ConfigOpKind = 0
	ConfigDelete   ConfigOpKind = 1
	ConfigAppend   ConfigOpKind = 2
	ConfigSubtract ConfigOpKind = 3
)

// AllocateProducerIDs gives a node the next block of producer ids.
type AllocateProducerIDs struct {
	Node  int32
	Count int32 // ProducerIDBlockSize
}

type commandKind byte

// Kinds stand in logs and snapshots: their numbers never change.
const (
	kindBootstrapCluster    commandKind = 1
	kindRegisterNode        commandKind = 2
	kindCreateTopic         commandKind = 3
	kindDeleteTopic         commandKind = 4
	kindTopicPurged         commandKind = 5
	kindCreatePartitions    commandKind = 6
	kindAlterTopicConfigs   commandKind = 7
	kindAlterBrokerConfigs  commandKind = 8
	kindAllocateProducerIDs commandKind = 9
	kindAlterGroupConfigs   commandKind = 10
)

func newCommand(k commandKind) Command {
	switch k {
	case kindBootstrapCluster:
		return new(BootstrapCluster)
	case kindRegisterNode:
		return new(RegisterNode)
	case kindCreateTopic:
		return new(CreateTopic)
	case kindDeleteTopic:
		return new(DeleteTopic)
	case kindTopicPurged:
		return new(TopicPurged)
	case kindCreatePartitions:
		return new(CreatePartitions)
	case kindAlterTopicConfigs:
		return new(AlterTopicConfigs)
	case kindAlterBrokerConfigs:
		return new(AlterBrokerConfigs)
	case kindAllocateProducerIDs:
		return new(AllocateProducerIDs)
	case kindAlterGroupConfigs:
		return new(AlterGroupConfigs)
	default:
		return nil
	}
}

func (*BootstrapCluster) kind() commandKind    { return kindBootstrapCluster }
func (*RegisterNode) kind() commandKind        { return kindRegisterNode }
func (*CreateTopic) kind() commandKind         { return kindCreateTopic }
func (*DeleteTopic) kind() commandKind         { return kindDeleteTopic }
func (*TopicPurged) kind() commandKind         { return kindTopicPurged }
func (*CreatePartitions) kind() commandKind    { return kindCreatePartitions }
func (*AlterTopicConfigs) kind() commandKind   { return kindAlterTopicConfigs }
func (*AlterBrokerConfigs) kind() commandKind  { return kindAlterBrokerConfigs }
func (*AllocateProducerIDs) kind() commandKind { return kindAllocateProducerIDs }
func (*AlterGroupConfigs) kind() commandKind   { return kindAlterGroupConfigs }
