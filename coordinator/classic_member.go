package coordinator

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicSync handles SyncGroup 0-5: 3 has instance ids, 5 names the protocol
// that the member takes to be chosen (KIP-559). A member's SyncGroup waits until
// the leader has sent its own, with the assignments of all.
func (m *Machine) classicSync(now time.Time, req *Request, body *kmsg.SyncGroupRequest) {
	g := m.groups[body.Group]
	refuse := func(code int16) {
		m.answer(req.Token, (&classicGroup{}).synced(body.Version, nil, code))
	}
	switch {
	case !validGroupID(body.Group):
		refuse(kerr.InvalidGroupID.Code)
		return
	case g != nil && g.consumer != nil:
		m.consumerClassicSync(now, g, req, body)
		return
	case g == nil || g.classic == nil:
		refuse(kerr.UnknownMemberID.Code)
		return
	}
	c := g.classic
	if code := c.checkSync(body); code != 0 {
		refuse(code)
		return
	}
	member := c.members[body.MemberID]
	switch c.state {
	case classicPreparing:
		refuse(kerr.RebalanceInProgress.Code)
	case classicCompleting:
		m.answerSync(member, kerr.RebalanceInProgress.Code, c) // of a connection before this one
		member.sync = &waiting{req.Token, body.Version}
		c.setSynced(member, true)
		m.syncedMaybe(g)
		if member.id == c.leader {
			m.leaderSync(now, g, member, body)
		}
		if member.sync != nil {
			body.GroupAssignment = nil // it may wait for long, and is not listened to
		}
	default:
		c.setSynced(member, true)
		m.syncedMaybe(g)
		m.keepSession(now, g, member)
		m.answer(req.Token, c.synced(body.Version, member, 0))
	}
}

// checkSync checks that a SyncGroup is from a member, and of this generation.
func (c *classicGroup) checkSync(body *kmsg.SyncGroupRequest) int16 {
	if code := c.validate(body.MemberID, body.InstanceID); code != 0 {
		return code
	}
	switch {
	case body.Generation != c.generation:
		return kerr.IllegalGeneration.Code
	case body.ProtocolType != nil && *body.ProtocolType != c.protocolType,
		body.Protocol != nil && c.protocol != nil && *body.Protocol != *c.protocol:
		return kerr.InconsistentGroupProtocol.Code
	}
	return 0
}

// leaderSync takes the leader's assignments and answers all members that wait.
// Members that the leader does not name get none; strangers that it names are
// left out.
func (m *Machine) leaderSync(now time.Time, g *group, leader *classicMember, body *kmsg.SyncGroupRequest) {
	c := g.classic
	assigned := 0
	for _, a := range body.GroupAssignment {
		if c.members[a.MemberID] == nil {
			continue
		}
		assigned += len(a.MemberAssignment)
		if len(a.MemberAssignment) > m.cfg.MaxMetadataBytes || c.metadata+assigned > m.cfg.MaxGroupBytes {
			// As where Kafka cannot append the group's record.
			m.answerSync(leader, kerr.UnknownServerError.Code, c)
			m.prepareRebalance(now, g, "the assignment is too large")
			return
		}
	}
	if !m.room(assigned - c.assigned) {
		m.answerSync(leader, kerr.UnknownServerError.Code, c)
		m.prepareRebalance(now, g, "there is no room for the assignment")
		return
	}
	for _, member := range c.members {
		c.setAssignment(member, nil)
	}
	for _, a := range body.GroupAssignment {
		if member := c.members[a.MemberID]; member != nil {
			c.setAssignment(member, bytes.Clone(a.MemberAssignment)) // not all of the request
		}
	}
	c.setState(now, classicStable)
	m.rebalances++
	m.saveClassic(g)
	for _, id := range c.ids() {
		if m.answerSync(c.members[id], 0, c) {
			m.keepSession(now, g, c.members[id])
		}
	}
}

// classicHeartbeat handles Heartbeat 0-4: 3 has instance ids.
func (m *Machine) classicHeartbeat(now time.Time, req *Request, body *kmsg.HeartbeatRequest) {
	g := m.groups[body.Group]
	if g != nil && g.consumer != nil {
		m.consumerClassicHeartbeat(now, g, req, body)
		return
	}
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = body.Version
	resp.ErrorCode = m.heartbeat(now, g, body)
	m.answer(req.Token, resp)
}

func (m *Machine) heartbeat(now time.Time, g *group, body *kmsg.HeartbeatRequest) int16 {
	switch {
	case !validGroupID(body.Group):
		return kerr.InvalidGroupID.Code
	case g == nil || g.classic == nil:
		return kerr.UnknownMemberID.Code
	}
	c := g.classic
	if code := c.validate(body.MemberID, body.InstanceID); code != 0 {
		return code
	}
	if body.Generation != c.generation {
		return kerr.IllegalGeneration.Code
	}
	if member := c.members[body.MemberID]; !member.isNew {
		m.keepSession(now, g, member)
	}
	if c.state == classicPreparing {
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

// classicLeave handles LeaveGroup 0-5: 3 has many members, also by instance id
// alone (KIP-345), 5 a reason (KIP-800).
func (m *Machine) classicLeave(now time.Time, req *Request, body *kmsg.LeaveGroupRequest) {
	if body.Version < 3 {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = body.MemberID
		body.Members = []kmsg.LeaveGroupRequestMember{member}
	}
	g := m.groups[body.Group]
	if g != nil && g.consumer != nil && validGroupID(body.Group) {
		m.consumerClassicLeave(now, g, req, body)
		return
	}
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = body.Version
	if !validGroupID(body.Group) {
		resp.ErrorCode = kerr.InvalidGroupID.Code
		m.answer(req.Token, resp)
		return
	}
	left := false
	for i := range body.Members {
		leaving := kmsg.NewLeaveGroupResponseMember()
		leaving.MemberID, leaving.InstanceID = body.Members[i].MemberID, body.Members[i].InstanceID
		leaving.ErrorCode = m.leave(g, &body.Members[i])
		left = left || leaving.ErrorCode == 0
		resp.Members = append(resp.Members, leaving)
	}
	m.answer(req.Token, leaveResponse(resp))
	if left {
		m.classicLost(now, g, "members left")
		m.forget(g)
	}
}

// leaveResponse puts the error of the one member where versions before 3 have
// it.
func leaveResponse(resp *kmsg.LeaveGroupResponse) *kmsg.LeaveGroupResponse {
	if resp.Version < 3 && resp.ErrorCode == 0 && len(resp.Members) == 1 {
		resp.ErrorCode = resp.Members[0].ErrorCode
		resp.Members = nil
	}
	return resp
}

// leave takes one member out; the rebalance is the caller's.
func (m *Machine) leave(g *group, leaving *kmsg.LeaveGroupRequestMember) int16 {
	if g == nil || g.classic == nil {
		return kerr.UnknownMemberID.Code
	}
	c := g.classic
	id := leaving.MemberID
	if id == "" {
		// An administrator knows the instance id only.
		if leaving.InstanceID == nil || c.static[*leaving.InstanceID] == "" {
			return kerr.UnknownMemberID.Code
		}
		id = c.static[*leaving.InstanceID]
	}
	if _, pending := c.pending[id]; pending {
		delete(c.pending, id)
		m.timers.stop(timerKey{joinTimer, g.id, id})
		return 0
	}
	if code := c.validate(id, leaving.InstanceID); code != 0 {
		return code
	}
	why := ""
	if leaving.Reason != nil && *leaving.Reason != "" {
		why = " (" + clip(*leaving.Reason) + ")"
	}
	m.note(g, "member %q left%s", id, why)
	m.removeClassic(g, c.members[id])
	return 0
}
