package cluster

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/protocol"
)

// TopicSpec is a topic as a client asks for it.
type TopicSpec struct {
	Name string
	// Partitions and ReplicationFactor are −1 for the broker's defaults and
	// where Assignment is given.
	Partitions        int32
	ReplicationFactor int16
	// Assignment places the replicas by hand; empty leaves it to Place.
	Assignment []PartitionReplicas
	Configs    map[string]string
	Internal   bool
}

// PartitionReplicas names the nodes of a partition's replicas, the preferred
// leader first.
type PartitionReplicas struct {
	Partition int32
	Nodes     []int32
}

// Defaults fill in what a client leaves open: num.partitions and
// default.replication.factor, and the limits to stay within.
type Defaults struct {
	Partitions        int32
	ReplicationFactor int16
	Limits            Limits
}

// NewCreateTopic makes the command for a client's request: defaults are filled
// in, replicas placed, and everything validated against the image. Errors are
// those of CreateTopics (KIP-4).
func NewCreateTopic(i *Image, id TopicID, timeMs int64, spec TopicSpec, d Defaults) (*CreateTopic, error) {
	if err := nameError(spec.Name); err != nil {
		return nil, err
	}
	if i.Topic(spec.Name) != nil {
		return nil, protocol.Errorf(kerr.TopicAlreadyExists, "topic %q exists already", spec.Name)
	}
	assignment, err := assign(i, spec, d)
	if err != nil {
		return nil, err
	}
	c := &CreateTopic{
		Name: spec.Name, ID: id, Assignment: assignment, Configs: spec.Configs,
		Internal: spec.Internal, TimeMs: timeMs, Limits: d.Limits,
	}
	if err := i.Validate(c); err != nil {
		return nil, err
	}
	return c, nil
}

func assign(i *Image, spec TopicSpec, d Defaults) ([][]int32, error) {
	if len(spec.Assignment) > 0 {
		return manualAssignment(spec)
	}
	partitions, factor := spec.Partitions, spec.ReplicationFactor
	if partitions == -1 {
		partitions = d.Partitions
	}
	if factor == -1 {
		factor = d.ReplicationFactor
	}
	if partitions < 1 {
		return nil, protocol.Errorf(kerr.InvalidPartitions,
			"%d partitions: the number must be positive, or -1 for the broker's default", partitions)
	}
	if factor < 1 {
		return nil, protocol.Errorf(kerr.InvalidReplicationFactor,
			"replication factor %d: it must be positive, or -1 for the broker's default", factor)
	}
	if err := i.addedPartitionsError(int(partitions), d.Limits); err != nil {
		return nil, err
	}
	return Place(i, int(partitions), int(factor))
}

func manualAssignment(spec TopicSpec) ([][]int32, error) {
	if spec.Partitions != -1 || spec.ReplicationFactor != -1 {
		return nil, protocol.Errorf(kerr.InvalidRequest,
			"a topic with an assignment of replicas must leave the number of partitions and the replication factor at -1")
	}
	assignment := make([][]int32, len(spec.Assignment))
	for _, p := range spec.Assignment {
		if p.Partition < 0 || int(p.Partition) >= len(assignment) {
			return nil, protocol.Errorf(kerr.InvalidReplicaAssignment,
				"the assignment names partition %d: its %d partitions must be numbered from 0 without gaps", p.Partition, len(assignment))
		}
		if assignment[p.Partition] != nil {
			return nil, protocol.Errorf(kerr.InvalidReplicaAssignment, "the assignment names partition %d twice", p.Partition)
		}
		assignment[p.Partition] = append([]int32{}, p.Nodes...)
	}
	return assignment, nil
}

// NewCreatePartitions makes the command that brings a topic to count
// partitions. The added ones are placed as given, or by Place where assignment
// is empty. Errors are those of CreatePartitions (KIP-195).
func NewCreatePartitions(i *Image, topic *Topic, count int32, assignment [][]int32, limits Limits) (*CreatePartitions, error) {
	have := len(topic.Partitions)
	added := int(count) - have
	switch {
	case added < 0:
		return nil, protocol.Errorf(kerr.InvalidPartitions,
			"topic %q has %d partitions, which cannot become fewer: %d asked for", topic.Name, have, count)
	case added == 0:
		return nil, protocol.Errorf(kerr.InvalidPartitions, "topic %q has %d partitions already", topic.Name, have)
	case len(assignment) > 0 && len(assignment) != added:
		return nil, protocol.Errorf(kerr.InvalidReplicaAssignment,
			"%d partitions are added to topic %q, the assignment names %d", added, topic.Name, len(assignment))
	}
	if err := i.addedPartitionsError(added, limits); err != nil {
		return nil, err
	}
	factor := len(topic.Partitions[0].Replicas)
	if len(assignment) == 0 {
		placed, err := Place(i, added, factor)
		if err != nil {
			return nil, err
		}
		assignment = placed
	} else if len(assignment[0]) != factor {
		return nil, protocol.Errorf(kerr.InvalidReplicaAssignment,
			"the assignment names %d replicas a partition, topic %q has %d", len(assignment[0]), topic.Name, factor)
	}
	c := &CreatePartitions{ID: topic.ID, From: int32(have), Assignment: assignment, Limits: limits}
	if err := i.Validate(c); err != nil {
		return nil, err
	}
	return c, nil
}

// NewAlterTopicConfigs makes the command that changes a topic's configs, for
// AlterConfigs (replace) and IncrementalAlterConfigs (KIP-339). The broker's
// configs are what appended and subtracted lists start from. INVALID_CONFIG
// where a name is unknown or a value not taken.
func NewAlterTopicConfigs(i *Image, topic *Topic, replace bool, ops []ConfigOp, broker configs.BrokerConfig) (*AlterTopicConfigs, error) {
	c := &AlterTopicConfigs{ID: topic.ID, Replace: replace, Ops: slices.Clone(ops)}
	for n := range c.Ops {
		if d := configs.Lookup(configs.Topic, c.Ops[n].Name); d != nil {
			c.Ops[n].Default = broker.Governing(d).Value
		}
	}
	if err := i.Validate(c); err != nil {
		return nil, err
	}
	return c, nil
}

// NewAlterBrokerConfigs makes the command that changes the dynamic configs of a
// node, or with [AllNodes] those of all. INVALID_CONFIG where a name is
// unknown, a config read-only or a value not taken.
func NewAlterBrokerConfigs(i *Image, node int32, replace bool, ops []ConfigOp) (*AlterBrokerConfigs, error) {
	c := &AlterBrokerConfigs{Node: node, Replace: replace, Ops: slices.Clone(ops)}
	for n := range c.Ops {
		if d := configs.Lookup(configs.Broker, c.Ops[n].Name); d != nil {
			c.Ops[n].Default = d.Default
		}
	}
	if err := i.Validate(c); err != nil {
		return nil, err
	}
	return c, nil
}

// NewAlterGroupConfigs makes the command that changes a group's configs.
// INVALID_CONFIG where a name is unknown or a value not taken.
func NewAlterGroupConfigs(i *Image, group string, replace bool, ops []ConfigOp) (*AlterGroupConfigs, error) {
	c := &AlterGroupConfigs{Group: group, Replace: replace, Ops: slices.Clone(ops)}
	if err := i.Validate(c); err != nil {
		return nil, err
	}
	return c, nil
}

// finder returns the definition of a config that may be changed.
type finder func(name string) (*configs.Definition, error)

func topicOps(name string) (*configs.Definition, error) { return configs.Find(configs.Topic, name) }

func groupOps(name string) (*configs.Definition, error) { return configs.Find(configs.Group, name) }

func brokerOps(node int32) finder {
	return func(name string) (*configs.Definition, error) {
		d, err := configs.Find(configs.Broker, name)
		if err == nil {
			err = d.CanSet(node == AllNodes)
		}
		return d, err
	}
}

// opsError returns why the operations cannot be: INVALID_REQUEST for a name
// that comes twice, INVALID_CONFIG for the rest.
func opsError(ops []ConfigOp, find finder) error {
	seen := make(map[string]struct{}, len(ops))
	for _, op := range ops {
		if _, twice := seen[op.Name]; twice {
			return protocol.Errorf(kerr.InvalidRequest, "config %q is named twice", op.Name)
		}
		seen[op.Name] = struct{}{}
		d, err := find(op.Name)
		if err != nil {
			return invalidConfig(err)
		}
		if (op.Kind == ConfigAppend || op.Kind == ConfigSubtract) && d.Type != configs.List {
			return protocol.Errorf(kerr.InvalidConfig,
				"config %s is a %s: only lists can be appended to and subtracted from", d.Name, d.Type)
		}
	}
	return nil
}

func configsError(overrides map[string]string) error {
	return invalidConfig(configs.ValidateTopic(overrides))
}

func brokerConfigsError(set map[string]string) error {
	return invalidConfig(configs.ValidateAll(configs.Broker, set))
}

func invalidConfig(err error) error {
	if err == nil {
		return nil
	}
	if protocolError := (*protocol.Error)(nil); errors.As(err, &protocolError) {
		return err
	}
	return protocol.Errorf(kerr.InvalidConfig, "%v", err)
}
