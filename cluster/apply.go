package cluster

import (
	"maps"
	"slices"
	"strings"
)

func (c *BootstrapCluster) apply(i *Image) Result {
	i.clusterID, i.featureLevel, i.createdMs = c.ClusterID, c.FeatureLevel, c.TimeMs
	return Result{}
}

func (c *RegisterNode) apply(i *Image) Result {
	n := c.Node
	n.Incarnation, n.replicas, n.leaders = 1, 0, 0
	at, known := i.findNode(n.ID)
	if known {
		old := i.nodes[at]
		n.Incarnation, n.replicas, n.leaders = old.Incarnation+1, old.replicas, old.leaders
		i.nodes = slices.Clone(i.nodes)
		i.nodes[at] = &n
	} else {
		i.nodes = slices.Insert(slices.Clone(i.nodes), at, &n)
	}
	return Result{Node: &n}
}

func (c *CreateTopic) apply(i *Image) Result {
	t := &Topic{
		Name: c.Name, ID: c.ID, Internal: c.Internal, CreatedMs: c.TimeMs,
		Partitions: newPartitions(nil, c.Assignment),
		Configs:    maps.Clone(c.Configs),
	}
	i.addTopic(t)
	return Result{Topic: t}
}

// newPartitions returns the partitions with those added that the assignment
// names.
func newPartitions(have []PartitionMeta, assignment [][]int32) []PartitionMeta {
	replicas := 0
	for _, ids := range assignment {
		replicas += len(ids)
	}
	room := make([]Replica, 0, replicas)
	partitions := append(make([]PartitionMeta, 0, len(have)+len(assignment)), have...)
	for _, ids := range assignment {
		first := len(room)
		for _, id := range ids {
			room = append(room, Replica{Node: id, Incarnation: 1})
		}
		partitions = append(partitions, PartitionMeta{Replicas: room[first:len(room):len(room)]})
	}
	return partitions
}

// addTopic and removeTopic keep all that the image derives from its topics.
func (i *Image) addTopic(t *Topic) {
	i.topics = i.topics.with(t.Name, t)
	i.topicIDs = i.topicIDs.with(t.ID, t)
	i.folded = i.folded.with(foldName(t.Name), t)
	i.countReplicas(t.Partitions, 1)
}

func (i *Image) removeTopic(t *Topic) {
	i.topics = i.topics.without(t.Name)
	i.topicIDs = i.topicIDs.without(t.ID)
	i.folded = i.folded.without(foldName(t.Name))
	i.countReplicas(t.Partitions, -1)
}

// changeTopic puts a changed topic in the old one's place.
func (i *Image) changeTopic(t *Topic) {
	i.folded = i.folded.with(foldName(t.Name), t)
	i.topics = i.topics.with(t.Name, t)
	i.topicIDs = i.topicIDs.with(t.ID, t)
}

// countReplicas adds to (or, with −1, takes from) what the nodes hold.
func (i *Image) countReplicas(partitions []PartitionMeta, sign int) {
	nodes := make([]*Node, len(i.nodes))
	for at, n := range i.nodes {
		clone := *n
		nodes[at] = &clone
	}
	i.nodes = nodes
	i.tally(partitions, sign)
}

// tally is countReplicas for an image that shares its nodes with no other.
func (i *Image) tally(partitions []PartitionMeta, sign int) {
	i.partitions += sign * len(partitions)
	for _, p := range partitions {
		for at, r := range p.Replicas {
			n := i.Node(r.Node)
			if n == nil {
				continue // no rule lets this be, but a snapshot's bytes might
			}
			n.replicas += sign
			if at == 0 {
				n.leaders += sign
			}
		}
	}
}

func (c *DeleteTopic) apply(i *Image) Result {
	t := i.TopicByID(c.ID)
	i.removeTopic(t)
	gone := &DeletedTopic{Name: t.Name, ID: t.ID, Partitions: int32(len(t.Partitions)), DeletedMs: c.TimeMs}
	pending := make(map[int32]struct{})
	for _, p := range t.Partitions {
		for _, r := range p.Replicas {
			pending[r.Node] = struct{}{}
		}
	}
	gone.Pending = slices.Sorted(maps.Keys(pending))
	i.deleted = i.deleted.with(gone.ID, gone)
	return Result{Topic: t}
}

// apply of TopicPurged does nothing for what is purged already: a node may
// report twice.
func (c *TopicPurged) apply(i *Image) Result {
	t := i.Deleted(c.ID)
	if t == nil || !slices.Contains(t.Pending, c.Node) {
		return Result{}
	}
	if len(t.Pending) == 1 {
		i.deleted = i.deleted.without(c.ID)
		return Result{}
	}
	left := *t
	left.Pending = slices.DeleteFunc(slices.Clone(t.Pending), func(id int32) bool { return id == c.Node })
	i.deleted = i.deleted.with(c.ID, &left)
	return Result{}
}

func (c *CreatePartitions) apply(i *Image) Result {
	old := i.TopicByID(c.ID)
	t := *old
	t.Partitions = newPartitions(old.Partitions, c.Assignment)
	i.changeTopic(&t)
	i.countReplicas(t.Partitions[len(old.Partitions):], 1)
	return Result{Topic: &t}
}

func (c *AlterTopicConfigs) apply(i *Image) Result {
	t := *i.TopicByID(c.ID)
	altered := alter(t.Configs, c.Replace, c.Ops)
	if !maps.Equal(t.Configs, altered) {
		t.Configs = altered
		t.ConfigVersion++
	}
	i.changeTopic(&t)
	return Result{Topic: &t}
}

func (c *AlterBrokerConfigs) apply(i *Image) Result {
	altered := alter(i.dynamic(c.Node), c.Replace, c.Ops)
	if c.Node == AllNodes {
		i.brokerDefaults = altered
		return Result{}
	}
	i.brokerConfigs = maps.Clone(i.brokerConfigs)
	if altered == nil {
		delete(i.brokerConfigs, c.Node)
		return Result{}
	}
	if i.brokerConfigs == nil {
		i.brokerConfigs = make(map[int32]map[string]string)
	}
	i.brokerConfigs[c.Node] = altered
	return Result{}
}

func (c *AlterGroupConfigs) apply(i *Image) Result {
	altered := alter(i.groupConfigs[c.Group], c.Replace, c.Ops)
	i.groupConfigs = maps.Clone(i.groupConfigs)
	if altered == nil {
		delete(i.groupConfigs, c.Group)
		return Result{}
	}
	if i.groupConfigs == nil {
		i.groupConfigs = make(map[string]map[string]string)
	}
	i.groupConfigs[c.Group] = altered
	return Result{}
}

func (c *AllocateProducerIDs) apply(i *Image) Result {
	block := ProducerIDBlock{First: i.nextProducerID, Count: c.Count}
	i.nextProducerID += int64(c.Count)
	return Result{ProducerIDs: block}
}

// alter returns the configs after the operations; nil where none is left.
func alter(have map[string]string, replace bool, ops []ConfigOp) map[string]string {
	after := make(map[string]string, len(have)+len(ops))
	maps.Copy(after, have)
	if replace {
		keep := make(map[string]struct{}, len(ops))
		for _, op := range ops {
			keep[op.Name] = struct{}{}
		}
		maps.DeleteFunc(after, func(name, _ string) bool { _, ok := keep[name]; return !ok })
	}
	for _, op := range ops {
		switch op.Kind {
		case ConfigSet:
			after[op.Name] = op.Value
		case ConfigDelete:
			delete(after, op.Name)
		case ConfigAppend, ConfigSubtract:
			list, ok := after[op.Name]
			if !ok {
				list = op.Default
			}
			after[op.Name] = alterList(list, op)
		}
	}
	if len(after) == 0 {
		return nil
	}
	return after
}

func alterList(list string, op ConfigOp) string {
	items := splitItems(list)
	change := splitItems(op.Value)
	if op.Kind == ConfigSubtract {
		drop := make(map[string]struct{}, len(change))
		for _, item := range change {
			drop[item] = struct{}{}
		}
		items = slices.DeleteFunc(items, func(item string) bool { _, ok := drop[item]; return ok })
		return strings.Join(items, ",")
	}
	have := make(map[string]struct{}, len(items)+len(change))
	for _, item := range items {
		have[item] = struct{}{}
	}
	for _, item := range change {
		if _, ok := have[item]; !ok {
			have[item] = struct{}{}
			items = append(items, item)
		}
	}
	return strings.Join(items, ",")
}

// splitItems splits at commas, without blanks around items and empty items.
func splitItems(list string) []string {
	var items []string
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
