package cluster

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/protocol"
)

// maxPartitionsPerCommand bounds what one command adds, as Kafka bounds a
// request.
const maxPartitionsPerCommand = 10_000

// maxListeners bounds the listeners of a node.
const maxListeners = 64

// Validate returns why the command should not be proposed: what [Machine.Apply]
// would say, and what this release's table of configs says. It changes nothing
// and serves requests that only want to be validated.
func (i *Image) Validate(c Command) error {
	if err := i.admits(c); err != nil {
		return err
	}
	return c.validate(i)
}

// admits is what Apply looks at before it applies a command.
func (i *Image) admits(c Command) error {
	_, boot := c.(*BootstrapCluster)
	if !boot && i.clusterID == "" {
		return protocol.Errorf(kerr.BrokerNotAvailable, "the cluster has not been bootstrapped yet")
	}
	return c.check(i)
}

func (c *BootstrapCluster) check(i *Image) error {
	if i.clusterID != "" {
		return protocol.Errorf(kerr.InvalidRequest, "the cluster was bootstrapped before, as %s", i.clusterID)
	}
	if c.ClusterID == "" {
		return protocol.Errorf(kerr.InvalidRequest, "the cluster id is empty")
	}
	return nil
}

func (c *BootstrapCluster) validate(*Image) error { return nil }

func (c *RegisterNode) check(i *Image) error {
	n := &c.Node
	if n.ID < 0 {
		return protocol.Errorf(kerr.InvalidRequest, "node id %d is negative", n.ID)
	}
	if n.Directory == ([16]byte{}) {
		return protocol.Errorf(kerr.InvalidRequest, "node %d names no data directory", n.ID)
	}
	if known := i.Node(n.ID); known != nil && known.Directory != n.Directory {
		return protocol.Errorf(kerr.DuplicateBrokerRegistration,
			"node id %d belongs to another data directory: choose another id, or start the node with its own directory", n.ID)
	}
	if n.MinFeatureLevel > i.featureLevel || n.MaxFeatureLevel < i.featureLevel {
		return protocol.Errorf(kerr.UnsupportedVersion,
			"node %d runs feature levels %d to %d, the cluster is at %d", n.ID, n.MinFeatureLevel, n.MaxFeatureLevel, i.featureLevel)
	}
	if len(n.Listeners) > maxListeners {
		return protocol.Errorf(kerr.InvalidRequest, "node %d names more than %d listeners", n.ID, maxListeners)
	}
	for at, l := range n.Listeners {
		if l.Name == "" || l.Host == "" || l.Port < 1 || l.Port > math.MaxUint16 {
			return protocol.Errorf(kerr.InvalidRequest, "node %d names a listener %q at %q, port %d", n.ID, l.Name, l.Host, l.Port)
		}
		if slices.ContainsFunc(n.Listeners[:at], func(o Listener) bool { return o.Name == l.Name }) {
			return protocol.Errorf(kerr.InvalidRequest, "node %d names the listener %q twice", n.ID, l.Name)
		}
	}
	return nil
}

func (c *RegisterNode) validate(*Image) error { return nil }

func (c *CreateTopic) check(i *Image) error {
	if err := nameError(c.Name); err != nil {
		return err
	}
	if i.Topic(c.Name) != nil {
		return protocol.Errorf(kerr.TopicAlreadyExists, "topic %q exists already", c.Name)
	}
	if other, ok := i.folded.get(foldName(c.Name)); ok {
		return protocol.Errorf(kerr.InvalidTopicException,
			"topic %q collides with topic %q: names may not differ only in '.' and '_'", c.Name, other.Name)
	}
	if c.ID.IsZero() || i.TopicByID(c.ID) != nil || i.Deleted(c.ID) != nil {
		return protocol.Errorf(kerr.InvalidRequest, "topic id %s is taken", c.ID)
	}
	if len(c.Assignment) == 0 {
		return protocol.Errorf(kerr.InvalidPartitions, "topic %q would have no partitions", c.Name)
	}
	if max := c.Limits.Topics; max > 0 && int64(i.NumTopics()) >= max {
		return protocol.Errorf(kerr.PolicyViolation, "the cluster holds %d topics, max.topics allows no more", i.NumTopics())
	}
	if err := i.addedPartitionsError(len(c.Assignment), c.Limits); err != nil {
		return err
	}
	return i.assignmentError(c.Assignment)
}

func (c *CreateTopic) validate(*Image) error { return configsError(c.Configs) }

func (i *Image) addedPartitionsError(added int, limits Limits) error {
	if added > maxPartitionsPerCommand {
		return protocol.Errorf(kerr.PolicyViolation, "%d partitions at once are more than %d", added, maxPartitionsPerCommand)
	}
	if max := limits.Partitions; max > 0 && int64(i.partitions)+int64(added) > max {
		return protocol.Errorf(kerr.PolicyViolation,
			"the cluster holds %d partitions, max.partitions allows %d in all", i.partitions, max)
	}
	return nil
}

func (i *Image) topicError(id TopicID) error {
	if i.TopicByID(id) == nil {
		return protocol.Errorf(kerr.UnknownTopicID, "there is no topic with the id %s", id)
	}
	return nil
}

func (c *DeleteTopic) check(i *Image) error  { return i.topicError(c.ID) }
func (c *DeleteTopic) validate(*Image) error { return nil }

func (c *TopicPurged) check(*Image) error    { return nil }
func (c *TopicPurged) validate(*Image) error { return nil }

func (c *CreatePartitions) check(i *Image) error {
	if err := i.topicError(c.ID); err != nil {
		return err
	}
	t := i.TopicByID(c.ID)
	if have := len(t.Partitions); int64(have) != int64(c.From) {
		return protocol.Errorf(kerr.InvalidPartitions, "topic %q has %d partitions now, no longer %d", t.Name, have, c.From)
	}
	if len(c.Assignment) == 0 {
		return protocol.Errorf(kerr.InvalidPartitions, "topic %q would get no more partitions", t.Name)
	}
	if err := i.addedPartitionsError(len(c.Assignment), c.Limits); err != nil {
		return err
	}
	return i.assignmentError(c.Assignment)
}

func (c *CreatePartitions) validate(*Image) error { return nil }

func (c *AlterTopicConfigs) check(i *Image) error { return i.topicError(c.ID) }

func (c *AlterTopicConfigs) validate(i *Image) error {
	if err := opsError(c.Ops, topicOps); err != nil {
		return err
	}
	return configsError(alter(i.TopicByID(c.ID).Configs, c.Replace, c.Ops))
}

func (c *AlterBrokerConfigs) check(i *Image) error {
	if c.Node != AllNodes && i.Node(c.Node) == nil {
		return protocol.Errorf(kerr.InvalidRequest, "node %d is not registered", c.Node)
	}
	return nil
}

func (c *AlterBrokerConfigs) validate(i *Image) error {
	if err := opsError(c.Ops, brokerOps(c.Node)); err != nil {
		return err
	}
	return brokerConfigsError(alter(i.dynamic(c.Node), c.Replace, c.Ops))
}

// maxGroupsWithConfigs bounds how many groups have configs of their own.
const maxGroupsWithConfigs = 10_000

func (c *AlterGroupConfigs) check(i *Image) error {
	if c.Group == "" || len(c.Group) > maxGroupName {
		return protocol.Errorf(kerr.InvalidRequest, "a group's name has 1 to %d bytes, this one %d", maxGroupName, len(c.Group))
	}
	if i.groupConfigs[c.Group] == nil && len(i.groupConfigs) >= maxGroupsWithConfigs {
		return protocol.Errorf(kerr.PolicyViolation, "%d groups have configs of their own, which is the most", len(i.groupConfigs))
	}
	return nil
}

// maxGroupName bounds the name of a group that gets configs.
const maxGroupName = 32767

func (c *AlterGroupConfigs) validate(i *Image) error {
	if err := opsError(c.Ops, groupOps); err != nil {
		return err
	}
	return invalidConfig(configs.ValidateGroup(alter(i.groupConfigs[c.Group], c.Replace, c.Ops)))
}

// dynamic returns what is set for one node or for all.
func (i *Image) dynamic(node int32) map[string]string {
	if node == AllNodes {
		return i.brokerDefaults
	}
	return i.brokerConfigs[node]
}

func (c *AllocateProducerIDs) check(i *Image) error {
	if i.Node(c.Node) == nil {
		return protocol.Errorf(kerr.BrokerIDNotRegistered, "node %d is not registered", c.Node)
	}
	if c.Count < 1 {
		return protocol.Errorf(kerr.InvalidRequest, "a block of %d producer ids", c.Count)
	}
	if i.nextProducerID > math.MaxInt64-int64(c.Count) {
		return protocol.Errorf(kerr.UnknownServerError, "all producer ids are used up")
	}
	return nil
}

func (c *AllocateProducerIDs) validate(*Image) error { return nil }
