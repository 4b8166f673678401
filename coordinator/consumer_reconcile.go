package coordinator

import (
	"slices"
	"time"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// reconcile brings a member one step nearer to the target: owned is what it says
// that it has. changed says that its subscription has just changed: topics that
// it no longer subscribes to are given up at once, before there is a new target.
func (m *Machine) reconcile(now time.Time, g *group, member *consumerMember, owned ownedPartitions, changed bool) {
	c := g.consumer
	if !changed && member.reconciled(c.assignmentEpoch) {
		return
	}
	before := *member
	switch member.state {
	case memberUnrevoked:
		if owned.anyOf(member.revoking) {
			if changed {
				m.dropUnsubscribed(c, member, owned)
			}
			break
		}
		// It has given up what it should. It came to this state in the epoch before
		// the target, or because its subscription changed, with no newer target yet.
		m.advance(c, member, min(member.epoch+1, c.assignmentEpoch), owned)
	case memberUnreleased:
		m.advance(c, member, member.epoch, owned)
	default:
		if member.epoch != c.assignmentEpoch {
			m.advance(c, member, member.epoch, owned)
		} else {
			m.dropUnsubscribed(c, member, owned)
		}
	}
	if member.epoch == before.epoch && member.state == before.state &&
		member.assigned.same(before.assigned) && member.revoking.same(before.revoking) {
		return
	}
	m.recordCurrent(g, member)
	m.setRevocation(now, g, member)
}

// advance compares what a member has with its target. As long as it is to give
// up something it stays at its epoch; else it goes to the target's, and gets of
// the target what nobody else has.
func (m *Machine) advance(c *consumerGroup, member *consumerMember, epoch int32, owned ownedPartitions) {
	var keep, give, gain partitionSet
	unreleased := false
	for _, id := range topicIDs(member.assigned, member.target) {
		has, target := member.assigned.of(id), member.target.of(id)
		if !m.memberSubscribes(c, member, id) {
			target = topicPartitions{id: id}
		}
		kept, given, gained := topicPartitions{id: id}, topicPartitions{id: id}, topicPartitions{id: id}
		for i, p := range has.partitions {
			if target.has(p) {
				kept.add(p, has.epochs[i])
			} else {
				given.add(p, has.epochs[i])
			}
		}
		for _, p := range target.partitions {
			if since, ok := has.epoch(p); ok {
				gained.add(p, since)
			} else if owner := c.owner(id, p); owner == nil || owner == member {
				gained.add(p, c.assignmentEpoch)
			} else {
				unreleased = true
			}
		}
		keep, give, gain = keep.with(kept), give.with(given), gain.with(gained)
	}
	if len(give) > 0 && owned.anyOf(give) {
		member.state = memberUnrevoked
		member.setEpoch(epoch)
		c.setOwned(member, keep, give)
		return
	}
	member.state = memberStable
	if unreleased {
		member.state = memberUnreleased
	}
	member.setEpoch(c.assignmentEpoch)
	c.setOwned(member, gain, nil)
}

// dropUnsubscribed takes from a member what it no longer subscribes to.
func (m *Machine) dropUnsubscribed(c *consumerGroup, member *consumerMember, owned ownedPartitions) {
	var keep, give partitionSet
	for _, id := range topicIDs(member.assigned, member.revoking) {
		has, leaving := member.assigned.of(id), member.revoking.of(id)
		if m.memberSubscribes(c, member, id) {
			keep = keep.with(has)
		} else if len(has.partitions) > 0 {
			leaving = union(leaving, has)
		}
		give = give.with(leaving)
	}
	switch {
	case len(keep) == len(member.assigned):
	case owned.anyOf(give):
		member.state = memberUnrevoked
		c.setOwned(member, keep, give)
	default:
		// It has given them up already.
		c.setOwned(member, keep, member.revoking)
	}
}

// union puts two lists of one topic's partitions together, which have none in
// common.
func union(a, b topicPartitions) topicPartitions {
	all := topicPartitions{
		id:         b.id,
		partitions: slices.Concat(a.partitions, b.partitions),
		epochs:     slices.Concat(a.epochs, b.epochs),
	}
	all.sort()
	return all
}

// setEpoch moves a member to an epoch. The one before is taken from it once
// more: the answer that told it of the new one may have been lost.
func (member *consumerMember) setEpoch(epoch int32) {
	if member.epoch != epoch {
		member.previous, member.epoch = member.epoch, epoch
	}
}

// topicIDs are those of two sets, in order.
func topicIDs(a, b partitionSet) [][16]byte {
	ids := make([][16]byte, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && compareIDs(a[0].id, b[0].id) < 0:
			ids, a = append(ids, a[0].id), a[1:]
		case len(a) == 0 || compareIDs(b[0].id, a[0].id) < 0:
			ids, b = append(ids, b[0].id), b[1:]
		default:
			ids, a, b = append(ids, a[0].id), a[1:], b[1:]
		}
	}
	return ids
}

// memberSubscribes says that a member subscribes to the topic of that id, which
// exists.
func (m *Machine) memberSubscribes(c *consumerGroup, member *consumerMember, id [16]byte) bool {
	t, ok := m.topics.TopicByID(id)
	if !ok {
		return false
	}
	if _, ok := slices.BinarySearch(member.names.list, t.Name); ok {
		return true
	}
	if r := c.regexes[member.regex]; member.regex != "" && r != nil {
		_, ok = slices.BinarySearch(r.topics, t.Name)
		return ok
	}
	return false
}

// setRevocation starts or stops the time that a member has to give up
// partitions. Members of the classic protocol have others: to join and to sync.
func (m *Machine) setRevocation(now time.Time, g *group, member *consumerMember) {
	key := timerKey{rebalanceTimer, g.id, member.id}
	if member.state != memberUnrevoked || member.classic != nil {
		m.timers.stop(key)
		return
	}
	epoch := member.epoch
	m.timers.set(key, now.Add(millis(max(member.rebalanceTimeout, 0))), func(now time.Time) {
		if member.epoch == epoch && member.state == memberUnrevoked {
			m.fence(now, g, member, "it did not give up its partitions in time")
		}
	})
}

func (m *Machine) recordCurrent(g *group, member *consumerMember) {
	m.record(
		stored.ConsumerGroupCurrentMemberAssignmentKey{Group: g.id, Member: member.id}.Append(nil),
		stored.ConsumerGroupCurrentMemberAssignmentValue{
			MemberEpoch:                 member.epoch,
			PreviousMemberEpoch:         member.previous,
			State:                       int8(member.state),
			AssignedPartitions:          member.assigned.toStored(),
			PartitionsPendingRevocation: member.revoking.toStored(),
		}.Append(nil),
	)
}
