package coordinator

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/fanfold/fanfold/coordinator/assign"
	"github.com/fanfold/fanfold/coordinator/stored"
)

// assignmentCost is about what a target assignment takes for each member and
// each partition, with room for all else: so for small groups hardly any time
// passes between two, and for large ones most of the time is left for others.
const assignmentCost = 20 * time.Microsecond

// assignmentInterval is the least time between two target assignments of a group.
func (m *Machine) assignmentInterval(g *group) time.Duration {
	most := m.cfg.ConsumerAssignmentInterval
	if own := m.cfg.Group(g.id).ConsumerAssignmentInterval; own != nil {
		most = *own
	}
	size := len(g.consumer.members)
	for name := range g.consumer.subscribed {
		if t, ok := m.topics.Topic(name); ok {
			size += int(t.Partitions())
		}
	}
	return min(most, time.Duration(size)*assignmentCost)
}

// assignSoon calculates the group's target assignment, now or when enough time
// has passed since the last. Meanwhile members go on with the target that there
// is; one that is new has nothing in it yet.
func (m *Machine) assignSoon(now time.Time, g *group) {
	c := g.consumer
	key := timerKey{kind: assignTimer, group: g.id}
	switch {
	case len(c.members) == 0:
		m.timers.stop(key)
		return
	case m.timers.isSet(key):
		return
	}
	at := time.UnixMilli(c.assignedMillis).Add(m.assignmentInterval(g))
	// A clock that went back must not keep the group waiting.
	if c.assignmentEpoch == 0 || !at.After(now) || c.assignedMillis > now.UnixMilli() {
		m.assign(now, g)
		return
	}
	m.timers.set(key, at, func(now time.Time) { m.assign(now, g) })
}

// assign calculates the group's target assignment for its epoch.
func (m *Machine) assign(now time.Time, g *group) {
	c := g.consumer
	m.timers.stop(timerKey{kind: assignTimer, group: g.id})
	if len(c.members) == 0 || c.assignmentEpoch == c.epoch {
		return
	}
	spec, topics, members := m.assignmentSpec(g)
	run, ok := assign.ByName(c.assignor(m.cfg.ConsumerAssignors))
	if !ok {
		run = assign.Uniform
	}
	for i, owned := range run(spec) {
		target := make(partitionSet, 0, len(owned))
		for _, o := range owned {
			target = append(target, topicPartitions{id: topics[o.Topic].ID, partitions: o.Partitions})
		}
		slices.SortFunc(target, func(a, b topicPartitions) int { return compareIDs(a.id, b.id) })
		if member := members[i]; !member.target.samePartitions(target) {
			// Its own copy: the assignor's is part of one array for all members.
			for i := range target {
				target[i].partitions = slices.Clone(target[i].partitions)
			}
			member.target = target
			m.recordTarget(g, member)
		}
	}
	c.assignmentEpoch, c.assignedMillis = c.epoch, now.UnixMilli()
	m.recordTargetEpoch(g)
	m.consumers.rebalances++
}

// assignmentSpec tells the assignor of the group: with the topics and members in
// the spec's order.
func (m *Machine) assignmentSpec(g *group) (*assign.Spec, []Topic, []*consumerMember) {
	c := g.consumer
	spec := &assign.Spec{}
	var topics []Topic
	index := map[string]int{}
	byID := map[[16]byte]int{}
	for _, name := range sortedKeys(c.subscribed) {
		t, ok := m.topics.Topic(name)
		if !ok {
			continue
		}
		index[name], byID[t.ID] = len(topics), len(topics)
		topics = append(topics, t)
		spec.Topics = append(spec.Topics, assign.Topic{Racks: t.Racks})
	}
	members := slices.SortedFunc(maps.Values(c.members), compareMembers)
	type subscription struct {
		names *topicNames
		regex string
	}
	lists := map[subscription][]int{}
	for _, member := range members {
		key := subscription{member.names, member.regex}
		list, ok := lists[key]
		if !ok {
			list = c.subscribedIndexes(member, index)
			lists[key] = list
		}
		spec.Members = append(spec.Members, assign.Member{Rack: member.rack, Topics: list, Owned: owned(member.target, byID)})
	}
	return spec, topics, members
}

// compareMembers orders members for the assignor: static ones by their instance
// ids, which they keep over restarts, then the others by their ids.
func compareMembers(a, b *consumerMember) int {
	if (a.instanceID == "") != (b.instanceID == "") {
		if a.instanceID != "" {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.instanceID, b.instanceID), cmp.Compare(a.id, b.id))
}

// subscribedIndexes are those of the topics that a member subscribes to.
func (c *consumerGroup) subscribedIndexes(member *consumerMember, index map[string]int) []int {
	var list []int
	add := func(names []string) {
		for _, name := range names {
			if i, ok := index[name]; ok {
				list = append(list, i)
			}
		}
	}
	add(member.names.list)
	if r := c.regexes[member.regex]; r != nil {
		add(r.topics)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// owned is a target as the assignor takes it.
func owned(target partitionSet, byID map[[16]byte]int) []assign.Owned {
	out := make([]assign.Owned, 0, len(target))
	for _, t := range target {
		if i, ok := byID[t.id]; ok {
			out = append(out, assign.Owned{Topic: i, Partitions: t.partitions})
		}
	}
	slices.SortFunc(out, func(a, b assign.Owned) int { return cmp.Compare(a.Topic, b.Topic) })
	return out
}

func (m *Machine) recordTarget(g *group, member *consumerMember) {
	m.record(
		stored.ConsumerGroupTargetAssignmentMemberKey{Group: g.id, Member: member.id}.Append(nil),
		stored.ConsumerGroupTargetAssignmentMemberValue{TopicPartitions: member.target.toStored()}.Append(nil),
	)
}

func (m *Machine) recordTargetEpoch(g *group) {
	m.record(
		stored.ConsumerGroupTargetAssignmentMetadataKey{Group: g.id}.Append(nil),
		stored.ConsumerGroupTargetAssignmentMetadataValue{
			AssignmentEpoch:  g.consumer.assignmentEpoch,
			AssignmentMillis: g.consumer.assignedMillis,
		}.Append(nil),
	)
}

// sortedKeys are a map's keys in order, for what must be the same in any run.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
