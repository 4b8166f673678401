package coordinator

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members of the classic protocol in a consumer group. For the coordinator they
// are members like others; JoinGroup, SyncGroup and Heartbeat are to them what
// ConsumerGroupHeartbeat is to others. JoinGroup says what a member has, and
// brings it nearer to its target; SyncGroup tells it what to have; Heartbeat asks
// it to join again when there is more to do. Nobody waits for the others, and
// the member epoch is the generation.

// consumerClassicJoin handles JoinGroup for a consumer group that has members.
func (m *Machine) consumerClassicJoin(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest) {
	anonymous := body.MemberID == ""
	if anonymous {
		body.MemberID = memberIDPrefix(req.Client.ID) + "-" + m.cfg.NewID()
	}
	member, s, said, err := m.classicJoiner(g, req, body, anonymous)
	if err != nil {
		if err == kerr.UnknownMemberID || err != kerr.MemberIDRequired && anonymous {
			body.MemberID = ""
		}
		m.refuseJoin(req, body, err)
		return
	}
	c := g.consumer
	last := c.classic < len(c.members)
	member, changed := m.update(now, g, member, s)
	if last && m.mayDowngrade(c) {
		m.joinDowngraded(now, g, req, body, member, said, changed)
		return
	}
	m.reconcile(now, g, member, m.ownedByName(said.owned), changed)
	m.timers.stop(timerKey{rejoinTimer, g.id, member.id})
	m.keepAlive(now, g, member)
	m.timers.set(timerKey{syncTimer, g.id, member.id}, now.Add(millis(max(member.rebalanceTimeout, 0))), func(now time.Time) {
		m.fence(now, g, member, "it did not sync in time")
	})
	m.answer(req.Token, member.joined(body.Version))
}

// joinDowngraded is for a member that takes the place of the last one of the
// consumer protocol, or is that one: the group becomes a classic one.
func (m *Machine) joinDowngraded(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest, member *consumerMember, said subscription, changed bool) {
	why := "a static member came back with another subscription and the classic protocol"
	if !changed {
		m.reconcile(now, g, member, m.ownedByName(said.owned), false)
		why = ""
	}
	m.downgrade(now, g, why)
	m.rejoin(now, g, req, body, g.classic.members[member.id])
}

// joined is the answer to a JoinGroup. No member leads.
func (member *consumerMember) joined(version int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.Generation = member.epoch
	kind := consumerProtocolType
	resp.ProtocolType = &kind
	resp.Protocol = &member.classic.protocols[0].Name
	resp.MemberID = member.id
	return resp
}

// classicJoiner checks a JoinGroup, and finds the member that it is from, or
// whose place it takes: nil for a new one.
func (m *Machine) classicJoiner(g *group, req *Request, body *kmsg.JoinGroupRequest, anonymous bool) (*consumerMember, *saying, subscription, *kerr.Error) {
	c := g.consumer
	none := subscription{}
	if id := body.InstanceID; id != nil && (*id == "" || len(*id) > maxIDBytes) || len(body.MemberID) > maxIDBytes {
		return nil, nil, none, kerr.InvalidRequest
	}
	body.Protocols = uniqueProtocols(body.Protocols)
	if !c.supports(body) {
		return nil, nil, none, kerr.InconsistentGroupProtocol
	}
	said, err := parseSubscription(body.Protocols[0].Metadata)
	if err != nil {
		return nil, nil, none, kerr.InconsistentGroupProtocol
	}
	member := c.members[body.MemberID]
	if body.InstanceID != nil {
		static := c.static[*body.InstanceID]
		switch {
		case anonymous:
			member = static
		case static == nil:
			return nil, nil, none, kerr.UnknownMemberID
		case static != member:
			return nil, nil, none, kerr.FencedInstanceID
		}
	}
	switch {
	case member == nil && slices.ContainsFunc(said.owned, func(o namedPartitions) bool { return len(o.partitions) > 0 }):
		// It is no member any more, and does not know: others may have by now what
		// it believes to have.
		return nil, nil, none, kerr.UnknownMemberID
	case member == nil && len(c.members) >= m.cfg.ConsumerMaxSize:
		return nil, nil, none, kerr.GroupMaxSizeReached
	}
	if anonymous && body.InstanceID == nil && body.Version >= joinNeedsMemberID {
		return nil, nil, none, kerr.MemberIDRequired
	}
	s := &saying{}
	if member != nil {
		*s = member.saying()
	}
	s.id, s.client, s.rack, s.names, s.regex = body.MemberID, req.Client, said.rack, said.topics, ""
	if body.InstanceID != nil {
		s.instanceID = *body.InstanceID
	}
	s.rebalanceTimeout = asMillis(m.rebalanceTimeout(body))
	s.classic = &classicUse{body.SessionTimeoutMillis, storedProtocols(body.Protocols)}
	if err := m.checkSize(g, member, s); err != nil {
		return nil, nil, none, kerr.TypedErrorForCode(err.code)
	}
	return member, s, said, nil
}

// supports says whether a member with these protocols can be in the group: there
// must be one that all classic members support.
func (c *consumerGroup) supports(body *kmsg.JoinGroupRequest) bool {
	if body.ProtocolType != consumerProtocolType {
		return false
	}
	for _, p := range body.Protocols {
		if c.protocols[p.Name] == c.classic {
			return true
		}
	}
	return false
}

// ownedByName is what a classic member says that it has.
func (m *Machine) ownedByName(topics []namedPartitions) ownedPartitions {
	owned := ownedPartitions{}
	for _, t := range topics {
		if topic, ok := m.topics.Topic(t.topic); ok {
			out := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			out.TopicID, out.Partitions = topic.ID, t.partitions
			owned = append(owned, out)
		}
	}
	return owned
}

// classicMemberOf finds the classic member that a SyncGroup or Heartbeat is
// from, and checks its generation.
func (c *consumerGroup) classicMemberOf(id string, instanceID *string, generation int32) (*consumerMember, int16) {
	member := c.members[id]
	if instanceID != nil {
		if member = c.static[*instanceID]; member != nil && member.id != id {
			return nil, kerr.FencedInstanceID.Code
		}
	}
	switch {
	case member == nil || member.classic == nil:
		return nil, kerr.UnknownMemberID.Code
	case member.epoch != generation:
		return nil, kerr.IllegalGeneration.Code
	}
	return member, 0
}

// consumerClassicSync handles SyncGroup.
func (m *Machine) consumerClassicSync(now time.Time, g *group, req *Request, body *kmsg.SyncGroupRequest) {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = body.Version
	defer m.answer(req.Token, resp)
	c := g.consumer
	member, code := c.classicMemberOf(body.MemberID, body.InstanceID, body.Generation)
	if code != 0 {
		resp.ErrorCode = code
		return
	}
	protocol := &member.classic.protocols[0].Name
	switch {
	case body.ProtocolType != nil && *body.ProtocolType != consumerProtocolType,
		body.Protocol != nil && *body.Protocol != *protocol:
		resp.ErrorCode = kerr.InconsistentGroupProtocol.Code
		return
	case member.epoch < c.assignmentEpoch && member.state != memberUnrevoked:
		m.awaitRejoin(now, g, member)
		resp.ErrorCode = kerr.RebalanceInProgress.Code
		return
	}
	m.timers.stop(timerKey{syncTimer, g.id, member.id})
	m.keepAlive(now, g, member)
	kind := consumerProtocolType
	resp.ProtocolType, resp.Protocol = &kind, protocol
	resp.MemberAssignment = m.embeddedAssignment(member, member.assigned)
}

// consumerClassicHeartbeat handles Heartbeat.
func (m *Machine) consumerClassicHeartbeat(now time.Time, g *group, req *Request, body *kmsg.HeartbeatRequest) {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = body.Version
	c := g.consumer
	member, code := c.classicMemberOf(body.MemberID, body.InstanceID, body.Generation)
	if code != 0 {
		resp.ErrorCode = code
		m.answer(req.Token, resp)
		return
	}
	m.keepAlive(now, g, member)
	if member.epoch < c.assignmentEpoch || member.state == memberUnrevoked ||
		member.state == memberUnreleased && !c.waits(member) {
		m.awaitRejoin(now, g, member)
		resp.ErrorCode = kerr.RebalanceInProgress.Code
	}
	m.answer(req.Token, resp)
}

// waits says that others still have partitions that a member shall have.
func (c *consumerGroup) waits(member *consumerMember) bool {
	for _, t := range member.target {
		has := member.assigned.of(t.id)
		for _, p := range t.partitions {
			if owner := c.owner(t.id, p); !has.has(p) && owner != nil && owner != member {
				return true
			}
		}
	}
	return false
}

// awaitRejoin gives a classic member the time of its rebalance timeout to join
// again, unless it has some already.
func (m *Machine) awaitRejoin(now time.Time, g *group, member *consumerMember) {
	key := timerKey{rejoinTimer, g.id, member.id}
	if m.timers.isSet(key) {
		return
	}
	m.timers.set(key, now.Add(millis(max(member.rebalanceTimeout, 0))), func(now time.Time) {
		m.fence(now, g, member, "it did not join again in time")
	})
}

// consumerClassicLeave handles LeaveGroup: also of members of the consumer
// protocol, that an administrator removes.
func (m *Machine) consumerClassicLeave(now time.Time, g *group, req *Request, body *kmsg.LeaveGroupRequest) {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = body.Version
	c := g.consumer
	var leaving []*consumerMember
	left := map[*consumerMember]bool{}
	for i := range body.Members {
		who := &body.Members[i]
		out := kmsg.NewLeaveGroupResponseMember()
		out.MemberID, out.InstanceID = who.MemberID, who.InstanceID
		member := c.members[who.MemberID]
		if who.InstanceID != nil {
			member = c.static[*who.InstanceID]
		}
		switch {
		case member == nil:
			out.ErrorCode = kerr.UnknownMemberID.Code
		case who.InstanceID != nil && who.MemberID != "" && who.MemberID != member.id:
			out.ErrorCode = kerr.FencedInstanceID.Code
		case !left[member]:
			left[member] = true
			leaving = append(leaving, member)
			m.note(g, "member %q left", clip(member.id))
		}
		resp.Members = append(resp.Members, out)
	}
	m.answer(req.Token, leaveResponse(resp))
	m.removeMembers(now, g, leaving)
}
