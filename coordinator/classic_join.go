package coordinator

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup 0-9: 4 asks for a member id first (KIP-394), 5 has instance ids
// (KIP-345), 7 names the protocol type in the response, 8 a reason (KIP-800),
// 9 tells a leader that its assignment is not wanted (KIP-814).
const (
	joinNeedsMemberID   = 4
	joinSkipsAssignment = 9
)

// newMemberTimeout is how long a new member's JoinGroup may wait. Its session
// cannot tell whether it is still there: it has no id to send heartbeats with.
const newMemberTimeout = 5 * time.Minute

// classicJoin handles JoinGroup.
func (m *Machine) classicJoin(now time.Time, req *Request, body *kmsg.JoinGroupRequest) {
	session := millis(body.SessionTimeoutMillis)
	g := m.groups[body.Group]
	switch {
	case !validGroupID(body.Group):
		m.refuseJoin(req, body, kerr.InvalidGroupID)
	case session < m.cfg.MinSessionTimeout || session > m.cfg.MaxSessionTimeout:
		m.refuseJoin(req, body, kerr.InvalidSessionTimeout)
	case g != nil && g.consumer != nil && !g.isEmpty():
		m.consumerClassicJoin(now, g, req, body)
	case body.MemberID != "":
		m.joinAgain(now, g, req, body)
	default:
		m.joinAnew(now, g, req, body)
	}
}

// joinAnew handles a JoinGroup without a member id.
func (m *Machine) joinAnew(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest) {
	c := newClassicGroup()
	if g != nil && g.classic != nil {
		c = g.classic
	}
	body.Protocols = uniqueProtocols(body.Protocols)
	if err := m.admit(c, req, body); err != nil {
		m.refuseJoin(req, body, err)
		return
	}
	if g == nil || g.classic == nil {
		if g = m.open(body.Group); g == nil {
			m.refuseJoin(req, body, kerr.GroupMaxSizeReached)
			return
		}
		m.beginClassic(g, c)
	}
	name := req.Client.ID
	if body.InstanceID != nil {
		name = *body.InstanceID
	}
	id := memberIDPrefix(name) + "-" + m.cfg.NewID()
	switch {
	case body.InstanceID != nil && c.static[*body.InstanceID] != "":
		m.replaceStatic(now, g, req, body, id)
	case body.InstanceID == nil && body.Version >= joinNeedsMemberID:
		m.giveID(now, g, req, body, id)
	default:
		m.addClassic(now, g, req, body, id)
	}
}

// memberIDPrefix shortens a name to what a member id may start with.
func memberIDPrefix(name string) string {
	const most = 1024
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "")
}

// beginClassic makes a group a classic one. An empty group of the consumer
// protocol is dropped for it.
func (m *Machine) beginClassic(g *group, c *classicGroup) {
	if g.consumer != nil {
		m.consumerTombstones(g)
		g.consumer = nil
	}
	g.classic = c
}

// admit checks whether a member may be in the group with what it says of itself.
func (m *Machine) admit(c *classicGroup, req *Request, body *kmsg.JoinGroupRequest) *kerr.Error {
	if !c.supports(body.ProtocolType, body.Protocols) {
		return kerr.InconsistentGroupProtocol
	}
	if body.InstanceID != nil && (*body.InstanceID == "" || len(*body.InstanceID) > maxIDBytes) {
		return kerr.InvalidRequest
	}
	member := c.joiner(body)
	if c.isFull(member, m.cfg.MaxSize) {
		return kerr.GroupMaxSizeReached
	}
	said := classicMember{id: body.MemberID, client: req.Client, protocols: body.Protocols}
	more := said.bytes()
	if more > m.cfg.MaxMetadataBytes {
		return kerr.UnknownServerError // as where Kafka cannot append the group's record
	}
	if member != nil {
		more -= member.bytes()
	}
	if more > 0 && c.metadata+c.assigned+more > m.cfg.MaxGroupBytes {
		return kerr.GroupMaxSizeReached
	}
	if !m.room(more) {
		return kerr.GroupMaxSizeReached
	}
	return nil
}

// room says whether so many bytes more of what members say can be kept.
func (m *Machine) room(more int) bool {
	return more <= 0 || m.cfg.Room == nil || m.cfg.Room(m.MemberBytes(), more)
}

// MemberBytes is what all members say of themselves and are assigned, roughly.
// It looks at all groups.
func (m *Machine) MemberBytes() int {
	n := 0
	for _, g := range m.groups {
		if g.classic != nil {
			n += g.classic.metadata + g.classic.assigned
		}
		if g.consumer != nil {
			n += g.consumer.bytes
		}
	}
	return n
}

// joiner is the member that a JoinGroup is from, or whose place it takes; nil
// for one that is new.
func (c *classicGroup) joiner(body *kmsg.JoinGroupRequest) *classicMember {
	id := body.MemberID
	if id == "" && body.InstanceID != nil {
		id = c.static[*body.InstanceID]
	}
	return c.members[id]
}

// isFull says that a member, nil for a new one, finds no place. While members
// join again, static ones have theirs until their sessions end, and of the others
// the first to come: so a group whose limit was lowered shrinks.
func (c *classicGroup) isFull(member *classicMember, most int) bool {
	switch {
	case c.state == classicEmpty:
		return false
	case c.state != classicPreparing:
		return member == nil && len(c.members) >= most
	case member != nil && member.join != nil:
		return false
	}
	taken := c.joining + len(c.static) - c.joiningFixed
	if member != nil && member.instanceID != nil {
		taken--
	}
	return taken >= most
}

// giveID answers a new member with an id to join with, so that those that are
// not there any more when they get it do not become members.
func (m *Machine) giveID(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest, id string) {
	c := g.classic
	if len(c.pending) >= m.cfg.MaxSize {
		m.refuseJoin(req, body, kerr.GroupMaxSizeReached)
		return
	}
	if c.pending == nil {
		c.pending = map[string]struct{}{}
	}
	c.pending[id] = struct{}{}
	m.timers.set(timerKey{joinTimer, g.id, id}, now.Add(millis(body.SessionTimeoutMillis)), func(now time.Time) {
		delete(c.pending, id)
		m.pendingGone(now, g)
	})
	body.MemberID = id
	m.refuseJoin(req, body, kerr.MemberIDRequired)
}

// pendingGone goes on with a group that may have waited for a member to join.
func (m *Machine) pendingGone(now time.Time, g *group) {
	if g.classic.state == classicPreparing {
		m.joinedMaybe(now, g)
	}
	m.forget(g)
}

// joinAgain handles a JoinGroup with a member id.
func (m *Machine) joinAgain(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest) {
	if g == nil || g.classic == nil {
		m.refuseJoin(req, body, kerr.UnknownMemberID)
		return
	}
	c := g.classic
	body.Protocols = uniqueProtocols(body.Protocols)
	_, pending := c.pending[body.MemberID]
	if pending && body.InstanceID != nil {
		m.refuseJoin(req, body, kerr.UnknownMemberID)
		return
	}
	if !pending {
		if code := c.validate(body.MemberID, body.InstanceID); code != 0 {
			m.refuseJoin(req, body, kerr.TypedErrorForCode(code))
			return
		}
	}
	if err := m.admit(c, req, body); err != nil {
		if err == kerr.GroupMaxSizeReached {
			m.expel(now, g, body.MemberID)
			body.MemberID = ""
		}
		m.refuseJoin(req, body, err)
		return
	}
	if pending {
		delete(c.pending, body.MemberID)
		m.timers.stop(timerKey{joinTimer, g.id, body.MemberID})
		m.addClassic(now, g, req, body, body.MemberID)
		return
	}
	m.rejoin(now, g, req, body, c.members[body.MemberID])
}

// expel removes a member, or one that was to be, for which there is no place.
func (m *Machine) expel(now time.Time, g *group, id string) {
	c := g.classic
	if _, pending := c.pending[id]; pending {
		delete(c.pending, id)
		m.timers.stop(timerKey{joinTimer, g.id, id})
		m.pendingGone(now, g)
		return
	}
	m.removeClassic(g, c.members[id])
	m.classicLost(now, g, "a member that found no place left")
}

// rejoin handles the JoinGroup of a member.
func (m *Machine) rejoin(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest, member *classicMember) {
	c := g.classic
	same := member.sameProtocols(body.Protocols)
	leads := c.leader == member.id
	if c.state == classicCompleting && same || c.state == classicStable && same && !leads {
		// It has perhaps not got its answer, or it wants to know whether anything
		// has changed: nothing has. A leader may know of changes that others do
		// not, as of its topics' partitions.
		m.answer(req.Token, c.joined(body.Version, member, leads))
		m.keepSession(now, g, member)
		return
	}
	m.updateMember(member, g, req, body)
	why := "a member joined again"
	switch {
	case c.state == classicPreparing:
	case !same:
		why = "a member changed its metadata"
	case leads:
		why = "the leader joined again"
	}
	m.proceed(now, g, why+reason(body))
}

// reason is the client's, for notes.
func reason(body *kmsg.JoinGroupRequest) string {
	if body.Reason == nil || *body.Reason == "" {
		return ""
	}
	return " (" + clip(*body.Reason) + ")"
}

// clip shortens a client's words.
func clip(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// updateMember takes what a member says of itself in its newest JoinGroup, which
// waits from now on.
func (m *Machine) updateMember(member *classicMember, g *group, req *Request, body *kmsg.JoinGroupRequest) {
	c := g.classic
	m.answerJoin(g, member, refusal(member.join, member.id, kerr.RebalanceInProgress))
	c.count(member, -1)
	member.client = req.Client
	body.Protocols = keptProtocols(body.Protocols) // it waits
	member.protocols = body.Protocols
	c.count(member, 1)
	member.sessionTimeout = millis(body.SessionTimeoutMillis)
	member.rebalanceTimeout = m.rebalanceTimeout(body)
	c.setJoin(member, &waiting{req.Token, body.Version})
}

// rebalanceTimeout is how long a member takes to join again; its session timeout
// where it does not say (version 0).
func (m *Machine) rebalanceTimeout(body *kmsg.JoinGroupRequest) time.Duration {
	timeout := millis(body.RebalanceTimeoutMillis)
	if body.Version < 1 || timeout <= 0 {
		timeout = millis(body.SessionTimeoutMillis)
	}
	return min(timeout, m.cfg.MaxRebalanceTimeout)
}

// addClassic makes a new member.
func (m *Machine) addClassic(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest, id string) {
	c := g.classic
	body.Protocols = keptProtocols(body.Protocols) // it waits
	member := &classicMember{
		id:               id,
		instanceID:       body.InstanceID,
		client:           req.Client,
		sessionTimeout:   millis(body.SessionTimeoutMillis),
		rebalanceTimeout: m.rebalanceTimeout(body),
		protocols:        body.Protocols,
		join:             &waiting{req.Token, body.Version},
		isNew:            true,
	}
	if len(c.members) == 0 {
		c.protocolType = body.ProtocolType
	}
	if c.state == classicPreparing && c.initial {
		c.grown = true
	}
	c.add(member)
	m.setSession(now, g, member, newMemberTimeout)
	m.proceed(now, g, "a member joined"+reason(body))
}

// replaceStatic handles a static member that comes back without its member id,
// as after a restart: it takes the place of the one that had its instance id,
// which is fenced from now on.
func (m *Machine) replaceStatic(now time.Time, g *group, req *Request, body *kmsg.JoinGroupRequest, id string) {
	c := g.classic
	member := c.members[c.static[*body.InstanceID]]
	subscription := member.metadataOf(c.protocol)
	leaderBefore := c.leader
	m.note(g, "static member %q came back as %q instead of %q", *body.InstanceID, id, member.id)
	m.answerJoin(g, member, refusal(member.join, member.id, kerr.FencedInstanceID))
	m.answerSync(member, kerr.FencedInstanceID.Code, c)
	m.timers.stop(timerKey{sessionTimer, g.id, member.id})
	c.rename(member, id)
	m.updateMember(member, g, req, body)
	m.keepSession(now, g, member)
	switch c.state {
	case classicStable:
		if c.protocol == nil || c.elect() != *c.protocol || !sameTopics(subscription, member.metadataOf(c.protocol)) {
			m.proceed(now, g, "a static member came back with another subscription"+reason(body))
			return
		}
		// The others need not know: the member goes on with its assignment.
		m.saveClassic(g)
		m.answerJoin(g, member, c.rejoinedStatic(body.Version, member, leaderBefore))
	case classicCompleting:
		// The leader was told of the old id, and will assign to it.
		m.prepareRebalance(now, g, "a static member came back"+reason(body))
	default:
		m.joinedMaybe(now, g)
	}
}

// sameTopics says that two subscriptions have the same topics, or that it cannot
// be told. What else is in them changes with each start, as the partitions that
// a member has.
func sameTopics(a, b []byte) bool {
	topicsA, okA := subscriptionTopics(a)
	topicsB, okB := subscriptionTopics(b)
	if !okA || !okB {
		return true
	}
	slices.Sort(topicsA)
	slices.Sort(topicsB)
	return slices.Equal(slices.Compact(topicsA), slices.Compact(topicsB))
}

// rename gives a member another id.
func (c *classicGroup) rename(member *classicMember, id string) {
	delete(c.members, member.id)
	if c.leader == member.id {
		c.leader = id
	}
	c.count(member, -1)
	member.id = id
	c.count(member, 1)
	c.members[id] = member
	c.static[*member.instanceID] = id
}

// rejoinedStatic is the answer to a static member that came back without a
// rebalance. Before version 9 a leader must not know that it leads: it would
// assign anew, and nobody would ask for it.
func (c *classicGroup) rejoinedStatic(version int16, member *classicMember, leaderBefore string) *kmsg.JoinGroupResponse {
	if version < joinSkipsAssignment {
		resp := c.joined(version, member, false)
		resp.LeaderID = leaderBefore
		return resp
	}
	leads := c.leader == member.id
	resp := c.joined(version, member, leads)
	resp.SkipAssignment = leads
	return resp
}

// joined is the answer to a member that is in the current generation. The
// leader is told of all members.
func (c *classicGroup) joined(version int16, member *classicMember, leads bool) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.Generation = c.generation
	resp.ProtocolType = &c.protocolType
	resp.Protocol = c.protocol
	resp.LeaderID = c.leader
	resp.MemberID = member.id
	if leads {
		resp.Members = make([]kmsg.JoinGroupResponseMember, 0, len(c.members))
		for _, id := range c.ids() {
			other := c.members[id]
			resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{
				MemberID:         id,
				InstanceID:       other.instanceID,
				ProtocolMetadata: other.metadataOf(c.protocol),
			})
		}
	}
	return resp
}

// refuseJoin answers a JoinGroup with an error and the member id as it is in
// body.
func (m *Machine) refuseJoin(req *Request, body *kmsg.JoinGroupRequest, err *kerr.Error) {
	m.answer(req.Token, refusal(&waiting{version: body.Version}, body.MemberID, err))
}

// refusal is the answer to a JoinGroup that failed; nil where none waits.
func refusal(w *waiting, memberID string, err *kerr.Error) *kmsg.JoinGroupResponse {
	if w == nil {
		return nil
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = w.version
	resp.ErrorCode = err.Code
	resp.Generation = -1
	resp.MemberID = memberID
	return resp
}

// answerJoin answers the JoinGroup that a member waits for, if it does.
func (m *Machine) answerJoin(g *group, member *classicMember, resp *kmsg.JoinGroupResponse) {
	if member.join != nil {
		m.answer(member.join.token, resp)
		g.classic.setJoin(member, nil)
	}
}
