package coordinator

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// consumerLeave handles a heartbeat with which a member leaves: for good, or a
// static one for a while.
func (m *Machine) consumerLeave(now time.Time, body *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *denial {
	g := m.groups[body.Group]
	if g == nil || g.consumer == nil {
		return deny(kerr.GroupIDNotFound, "Group %s is not a consumer group.", clip(body.Group))
	}
	member := g.consumer.members[body.MemberID]
	if id := body.InstanceID; id != nil {
		member = g.consumer.static[*id]
		switch {
		case member == nil:
			return deny(kerr.UnknownMemberID, "Instance id %s is unknown.", clip(*id))
		case member.id != body.MemberID:
			return deny(kerr.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.",
				clip(body.MemberID), clip(*id), member.id)
		}
	}
	if member == nil {
		return deny(kerr.UnknownMemberID, "Member %s is not a member of group %s.", clip(body.MemberID), g.id)
	}
	resp.MemberID, resp.MemberEpoch = &body.MemberID, body.MemberEpoch
	if body.MemberEpoch == staticLeaveEpoch {
		m.leaveForAWhile(g, member)
		return nil
	}
	m.fence(now, g, member, "it left")
	return nil
}

// leaveForAWhile keeps what a static member has for when it comes back: until
// its session times out.
func (m *Machine) leaveForAWhile(g *group, member *consumerMember) {
	if member.epoch == staticLeaveEpoch {
		return
	}
	m.note(g, "static member %q left for a while", clip(member.instanceID))
	member.epoch = staticLeaveEpoch
	if member.state == memberUnrevoked {
		member.state = memberStable
	}
	// Who comes back in its place begins with epoch 0.
	g.consumer.setOwned(member, member.assigned.since(0), nil)
	m.timers.stop(timerKey{rebalanceTimer, g.id, member.id})
	m.recordCurrent(g, member)
}

// fence removes a member. What it still believes to have, it may not commit
// any more.
func (m *Machine) fence(now time.Time, g *group, member *consumerMember, why string) {
	if g.consumer == nil || g.consumer.members[member.id] != member {
		return
	}
	m.note(g, "member %q is gone: %s", clip(member.id), why)
	m.removeMembers(now, g, []*consumerMember{member})
}

// removeMembers removes members. Where all that are left use the classic
// protocol, the group becomes a classic one.
func (m *Machine) removeMembers(now time.Time, g *group, leaving []*consumerMember) {
	if len(leaving) == 0 {
		return
	}
	c := g.consumer
	for _, member := range leaving {
		m.memberTombstones(g, member.id)
		m.stopTimers(g, member.id)
		m.exit(g, member)
		c.unshare(member.names)
		c.disown(member)
		delete(c.members, member.id)
	}
	m.tidyRegexes(now, g)
	if m.mayDowngrade(c) {
		m.downgrade(now, g, "only members of the classic protocol are left")
		return
	}
	m.newEpoch(now, g, "members left")
}

// consumerTombstones deletes the group's records, and those of its members if it
// has any, and stops its timers. The caller takes the group from its place.
func (m *Machine) consumerTombstones(g *group) {
	c := g.consumer
	for _, id := range c.memberIDs() {
		m.memberTombstones(g, id)
		m.stopTimers(g, id)
	}
	for _, text := range sortedKeys(c.regexes) {
		if c.regexes[text].resolved {
			m.record(stored.ConsumerGroupRegularExpressionKey{Group: g.id, Regex: text}.Append(nil), nil)
		}
	}
	m.record(stored.ConsumerGroupTargetAssignmentMetadataKey{Group: g.id}.Append(nil), nil)
	m.record(stored.ConsumerGroupMetadataKey{Group: g.id}.Append(nil), nil)
	m.timers.stop(timerKey{kind: assignTimer, group: g.id})
	m.timers.stop(timerKey{kind: regexTimer, group: g.id})
	m.forgetConsumer(g)
}

// forgetConsumer takes a group out of what all groups share.
func (m *Machine) forgetConsumer(g *group) {
	for name := range g.consumer.subscribed {
		t := m.consumers.topics[name]
		if delete(t.groups, g); len(t.groups) == 0 {
			delete(m.consumers.topics, name)
		}
	}
	delete(m.consumers.regexGroups, g)
}
