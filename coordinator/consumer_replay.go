package coordinator

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// replayConsumer takes a record of a consumer group. Compaction may have removed
// older ones, so that a member's records can come in any order.
func (m *Machine) replayConsumer(key any, value []byte) error {
	var group, of string
	var err error
	switch k := key.(type) {
	case stored.ConsumerGroupMetadataKey:
		group, err = k.Group, m.replayEpoch(k.Group, value)
	case stored.ConsumerGroupMemberMetadataKey:
		group, of, err = k.Group, k.Member, m.replayMember(k.Group, k.Member, value)
	case stored.ConsumerGroupTargetAssignmentMetadataKey:
		group, err = k.Group, m.replayTargetEpoch(k.Group, value)
	case stored.ConsumerGroupTargetAssignmentMemberKey:
		group, of, err = k.Group, k.Member, m.replayTarget(k.Group, k.Member, value)
	case stored.ConsumerGroupCurrentMemberAssignmentKey:
		group, of, err = k.Group, k.Member, m.replayCurrent(k.Group, k.Member, value)
	case stored.ConsumerGroupRegularExpressionKey:
		group, of, err = k.Group, k.Regex, m.replayRegex(k.Group, k.Regex, value)
	default:
		return fmt.Errorf("replay record: a key of type %T", key)
	}
	if err != nil && of != "" {
		return fmt.Errorf("replay %q of consumer group %q: %w", clip(of), clip(group), err)
	}
	if err != nil {
		return fmt.Errorf("replay consumer group %q: %w", clip(group), err)
	}
	return nil
}

// replayed gives the consumer group of a record, and makes it if need be.
func (m *Machine) replayed(id string) *consumerGroup {
	g := m.replayGroup(id)
	if g.consumer == nil {
		g.consumer = newConsumerGroup()
	}
	return g.consumer
}

// existing is the consumer group that a tombstone is of, or nil.
func (m *Machine) existing(id string) *consumerGroup {
	if g := m.groups[id]; g != nil {
		return g.consumer
	}
	return nil
}

func (m *Machine) replayEpoch(id string, value []byte) error {
	if value == nil {
		if g := m.groups[id]; g != nil {
			g.consumer = nil
			m.forget(g)
		}
		return nil
	}
	v, err := stored.ParseConsumerGroupMetadataValue(value)
	if err != nil {
		return err
	}
	c := m.replayed(id)
	c.epoch, c.hash = v.Epoch, v.MetadataHash
	return nil
}

func (m *Machine) replayTargetEpoch(id string, value []byte) error {
	if value == nil {
		if c := m.existing(id); c != nil {
			c.assignmentEpoch, c.assignedMillis = 0, 0
		}
		return nil
	}
	v, err := stored.ParseConsumerGroupTargetAssignmentMetadataValue(value)
	if err != nil {
		return err
	}
	c := m.replayed(id)
	c.assignmentEpoch, c.assignedMillis = v.AssignmentEpoch, v.AssignmentMillis
	return nil
}

// replayedMember gives the member of a record, and makes it if need be.
func (c *consumerGroup) replayedMember(id string) *consumerMember {
	member := c.members[id]
	if member == nil {
		member = &consumerMember{id: id, names: c.shared(nil), state: memberStable, rebalanceTimeout: -1}
		c.members[id] = member
	}
	return member
}

func (m *Machine) replayMember(id, memberID string, value []byte) error {
	if value == nil {
		if c := m.existing(id); c != nil {
			delete(c.members, memberID)
		}
		return nil
	}
	v, err := stored.ParseConsumerGroupMemberMetadataValue(value)
	if err != nil {
		return err
	}
	c := m.replayed(id)
	member := c.replayedMember(memberID)
	member.known = true
	member.instanceID = orEmpty(v.InstanceID)
	member.rack = orEmpty(v.RackID)
	member.client = Client{ID: v.ClientID, Host: v.ClientHost}
	member.names = c.shared(slices.Compact(slices.Sorted(slices.Values(v.SubscribedTopicNames))))
	member.regex = orEmpty(v.SubscribedTopicRegex)
	member.rebalanceTimeout = v.RebalanceTimeoutMillis
	member.assignor = orEmpty(v.ServerAssignor)
	member.classic = nil
	if v.Classic != nil {
		member.classic = &classicUse{v.Classic.SessionTimeoutMillis, v.Classic.Protocols}
	}
	return nil
}

func (m *Machine) replayTarget(id, memberID string, value []byte) error {
	if value == nil {
		if c := m.existing(id); c != nil && c.members[memberID] != nil {
			c.members[memberID].target = nil
		}
		return nil
	}
	v, err := stored.ParseConsumerGroupTargetAssignmentMemberValue(value)
	if err != nil {
		return err
	}
	target := fromStored(v.TopicPartitions, 0)
	for i := range target {
		target[i].epochs = nil
	}
	m.replayed(id).replayedMember(memberID).target = target
	return nil
}

func (m *Machine) replayCurrent(id, memberID string, value []byte) error {
	if value == nil {
		if c := m.existing(id); c != nil && c.members[memberID] != nil {
			member := c.members[memberID]
			member.epoch, member.previous, member.state = 0, 0, memberStable
			member.assigned, member.revoking = nil, nil
		}
		return nil
	}
	v, err := stored.ParseConsumerGroupCurrentMemberAssignmentValue(value)
	if err != nil {
		return err
	}
	member := m.replayed(id).replayedMember(memberID)
	member.epoch, member.previous = v.MemberEpoch, v.PreviousMemberEpoch
	member.state = memberState(v.State)
	if member.state != memberStable && member.state != memberUnrevoked {
		// So too with a state that is not known: the member is compared with its
		// target on each heartbeat.
		member.state = memberUnreleased
	}
	member.assigned = fromStored(v.AssignedPartitions, v.MemberEpoch)
	member.revoking = fromStored(v.PartitionsPendingRevocation, v.MemberEpoch)
	return nil
}

func (m *Machine) replayRegex(id, text string, value []byte) error {
	if value == nil {
		if c := m.existing(id); c != nil {
			delete(c.regexes, text)
		}
		return nil
	}
	v, err := stored.ParseConsumerGroupRegularExpressionValue(value)
	if err != nil {
		return err
	}
	c := m.replayed(id)
	if c.regexes == nil {
		c.regexes = map[string]*groupRegex{}
	}
	c.regexes[text] = &groupRegex{
		resolved: true,
		topics:   slices.Compact(slices.Sorted(slices.Values(v.Topics))),
		at:       time.UnixMilli(min(max(v.TimestampMillis, 0), math.MaxInt64/int64(time.Millisecond))),
	}
	return nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// consumerActivate makes what is not in records of what is, and starts the
// members' timers. Topics may have changed since.
func (m *Machine) consumerActivate(now time.Time, g *group) {
	c := g.consumer
	for _, id := range c.memberIDs() {
		if !c.members[id].known {
			// What is left of a member whose tombstones were cut off: a group cannot
			// do anything with it.
			m.memberTombstones(g, id)
			delete(c.members, id)
		}
	}
	c.reset()
	for _, text := range sortedKeys(c.regexes) {
		for _, name := range c.regexes[text].topics {
			m.subscribe(g, name)
		}
	}
	for _, id := range c.memberIDs() {
		member := c.members[id]
		m.enter(g, member)
		c.own(member)
		m.keepAlive(now, g, member)
		m.setRevocation(now, g, member)
	}
	m.tidyRegexes(now, g)
	if len(c.regexes) > 0 {
		m.resolveAll(now, g)
	}
	m.refreshHash(now, g, "its topics have changed")
	if c.epoch > c.assignmentEpoch {
		m.assignSoon(now, g)
	}
	m.noteDoubles(g)
}

// noteDoubles tells of partitions that two members have: what this package
// records never says so.
func (m *Machine) noteDoubles(g *group) {
	c := g.consumer
	for _, id := range c.memberIDs() {
		member := c.members[id]
		for _, set := range []partitionSet{member.assigned, member.revoking} {
			for topic, p := range set.each {
				if owner := c.owner(topic, p); owner != member {
					m.note(g, "partition %d of topic %x is members' %q and %q", p, topic, clip(id), clip(owner.id))
				}
			}
		}
	}
}
