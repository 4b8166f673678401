package cluster

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/cluster/configs"
)

// Image is one immutable state of the cluster's metadata. Everything reached
// from it is shared between images and must not be changed by its readers. A
// later image shares with an earlier one all that no command has touched.
type Image struct {
	clusterID    string
	createdMs    int64
	index        uint64
	featureLevel uint16

	nodes    []*Node // ascending ids
	topics   tree[string, *Topic]
	topicIDs tree[TopicID, *Topic]
	// folded maps a name with its dots turned into underscores to the topic
	// that holds it: two topics may not share one (their metrics would).
	folded     tree[string, *Topic]
	deleted    tree[TopicID, *DeletedTopic]
	partitions int

	brokerDefaults map[string]string           // dynamic, for all nodes
	brokerConfigs  map[int32]map[string]string // dynamic, for one node
	groupConfigs   map[string]map[string]string
	nextProducerID int64
}

// Node is a member of the cluster as it registered last.
type Node struct {
	ID int32
	// Directory identifies the data directory: a second process that claims
	// the same node id with another directory is refused.
	Directory [16]byte
	// Incarnation counts the node's registrations from 1: a process that
	// started later has a greater one.
	Incarnation uint64
	// Rack is empty where the node names none.
	Rack      string
	Listeners []Listener
	// MinFeatureLevel and MaxFeatureLevel bound the feature levels that the
	// node's binary can run.
	MinFeatureLevel, MaxFeatureLevel uint16
	// Version is the binary's version, for people.
	Version      string
	RegisteredMs int64

	replicas, leaders int // how many partitions name it, and name it first
}

// Listener is an address at which a node can be reached.
type Listener struct {
	Name string // such as KAFKA or PEER
	Host string
	Port int32
}

// Listener returns the node's listener of that name.
func (n *Node) Listener(name string) (Listener, bool) {
	i := slices.IndexFunc(n.Listeners, func(l Listener) bool { return l.Name == name })
	if i < 0 {
		return Listener{}, false
	}
	return n.Listeners[i], true
}

// Replicas returns how many partition replicas are placed on the node.
func (n *Node) Replicas() int { return n.replicas }

// Topic is a topic with its partitions and its own configs.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions []PartitionMeta // by partition number
	// Configs are the topic's overrides under Kafka's names, as given;
	// [configs.EffectiveTopic] makes typed settings of them.
	Configs map[string]string
	// Internal marks topics of the broker's own, such as __consumer_offsets.
	Internal  bool
	CreatedMs int64
	// ConfigVersion grows with each change of Configs.
	ConfigVersion uint64
}

// PartitionMeta says where a partition's replicas are.
type PartitionMeta struct {
	// Replicas begin with the preferred leader.
	Replicas []Replica
}

// Replica is one copy of a partition. Node and incarnation together are the
// copy's identity in its Raft group: a copy that lost its disk comes back under
// another incarnation, or it would vote with an empty log.
type Replica struct {
	Node        int32
	Incarnation uint64
}

// On returns the replica that the node holds.
func (p PartitionMeta) On(node int32) (Replica, bool) {
	for _, r := range p.Replicas {
		if r.Node == node {
			return r, true
		}
	}
	return Replica{}, false
}

// DeletedTopic is a topic that is gone for its clients and whose files some
// nodes still have to remove.
type DeletedTopic struct {
	Name       string
	ID         TopicID
	Partitions int32
	// Pending are the nodes that have not reported its files as removed, in
	// ascending order.
	Pending   []int32
	DeletedMs int64
}

func emptyImage() *Image {
	return &Image{
		topics:   newTree[string, *Topic](strings.Compare),
		topicIDs: newTree[TopicID, *Topic](compareTopicIDs),
		folded:   newTree[string, *Topic](strings.Compare),
		deleted:  newTree[TopicID, *DeletedTopic](compareTopicIDs),
	}
}

func compareTopicIDs(a, b TopicID) int { return bytes.Compare(a[:], b[:]) }

// ClusterID is the cluster's id, empty before [BootstrapCluster].
func (i *Image) ClusterID() string { return i.clusterID }

// Index is the log index of the last command applied.
func (i *Image) Index() uint64 { return i.index }

// FeatureLevel is the level of behaviour that all nodes have agreed upon.
func (i *Image) FeatureLevel() uint16 { return i.featureLevel }

// Nodes returns all nodes by ascending id.
func (i *Image) Nodes() []*Node { return i.nodes }

// Node returns the node of that id, nil if there is none.
func (i *Image) Node(id int32) *Node {
	if at, ok := i.findNode(id); ok {
		return i.nodes[at]
	}
	return nil
}

func (i *Image) findNode(id int32) (int, bool) {
	return slices.BinarySearchFunc(i.nodes, id, func(n *Node, id int32) int {
		return int(int64(n.ID) - int64(id))
	})
}

// Topic returns the topic of that name, nil if there is none.
func (i *Image) Topic(name string) *Topic { t, _ := i.topics.get(name); return t }

// TopicByID returns the topic of that id, nil if there is none (any more).
func (i *Image) TopicByID(id TopicID) *Topic { t, _ := i.topicIDs.get(id); return t }

// Topics walks all topics by ascending name.
func (i *Image) Topics() iter.Seq[*Topic] { return i.TopicsFrom("") }

// TopicsFrom walks the topics whose names are not below the given one, by
// ascending name.
func (i *Image) TopicsFrom(name string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, t := range i.topics.from(name) {
			if !yield(t) {
				return
			}
		}
	}
}

// NumTopics is how many topics exist.
func (i *Image) NumTopics() int { return i.topics.len() }

// NumPartitions is how many partitions all topics have together.
func (i *Image) NumPartitions() int { return i.partitions }

// Deleted returns the deleted topic of that id while files of it remain, nil
// otherwise.
func (i *Image) Deleted(id TopicID) *DeletedTopic { t, _ := i.deleted.get(id); return t }

// DeletedTopics walks the deleted topics of which files remain, by ascending
// id.
func (i *Image) DeletedTopics() iter.Seq[*DeletedTopic] {
	return func(yield func(*DeletedTopic) bool) {
		for _, t := range i.deleted.all() {
			if !yield(t) {
				return
			}
		}
	}
}

// NextProducerID is the first producer id that no block holds yet.
func (i *Image) NextProducerID() int64 { return i.nextProducerID }

// GroupConfigs returns what was set for a consumer group, nil for nothing.
func (i *Image) GroupConfigs(group string) map[string]string { return i.groupConfigs[group] }

// GroupsWithConfigs are the groups that have configs of their own, by name.
func (i *Image) GroupsWithConfigs() []string { return slices.Sorted(maps.Keys(i.groupConfigs)) }

// BrokerConfig returns the node's configs in their layers: what it was started
// with, and what was set for all nodes and for it at run time.
func (i *Image) BrokerConfig(node int32, static map[string]string) configs.BrokerConfig {
	return configs.BrokerConfig{
		Static:         static,
		DynamicDefault: i.brokerDefaults,
		Dynamic:        i.brokerConfigs[node],
	}
}
