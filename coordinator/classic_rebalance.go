package coordinator

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// postponedRebalance is the least time between two attempts to complete a
// rebalance which no member has joined.
const postponedRebalance = time.Second

// proceed starts a rebalance, or completes the one that is under way if nobody
// is to be waited for.
func (m *Machine) proceed(now time.Time, g *group, why string) {
	if g.classic.state == classicPreparing {
		m.joinedMaybe(now, g)
	} else {
		m.prepareRebalance(now, g, why)
	}
}

// prepareRebalance asks all members of a classic group to join again: their
// heartbeats are answered with REBALANCE_IN_PROGRESS from now on.
func (m *Machine) prepareRebalance(now time.Time, g *group, why string) {
	c := g.classic
	m.note(g, "rebalances after generation %d: %s", c.generation, why)
	if c.state == classicCompleting {
		for _, id := range c.ids() {
			c.setAssignment(c.members[id], nil)
			if m.answerSync(c.members[id], kerr.RebalanceInProgress.Code, c) {
				m.keepSession(now, g, c.members[id])
			}
		}
	}
	for _, member := range c.members {
		c.setSynced(member, true)
	}
	c.initial = c.state == classicEmpty
	c.grown = false
	c.setState(now, classicPreparing)
	delay := m.cfg.InitialRebalanceDelay
	switch {
	case c.initial && delay > 0:
		m.awaitFirst(now, g, delay, max(c.rebalanceTimeout()-delay, 0))
	case c.initial || c.allJoined():
		m.completeJoin(now, g)
	default:
		m.setRebalance(g, now.Add(c.rebalanceTimeout()), m.completeJoin)
	}
}

// awaitFirst gives the members of an empty group the time of delay to come, and
// again as long as more do, while there is time left.
func (m *Machine) awaitFirst(now time.Time, g *group, delay, left time.Duration) {
	c := g.classic
	m.setRebalance(g, now.Add(delay), func(now time.Time, g *group) {
		if !c.grown || left == 0 {
			m.completeJoin(now, g)
			return
		}
		c.grown = false
		more := min(m.cfg.InitialRebalanceDelay, left)
		m.awaitFirst(now, g, more, left-more)
	})
}

// setRebalance sets the group's timer: until when members may join, or sync.
func (m *Machine) setRebalance(g *group, at time.Time, run func(now time.Time, g *group)) {
	m.timers.set(timerKey{kind: rebalanceTimer, group: g.id}, at, func(now time.Time) { run(now, g) })
}

func (m *Machine) stopRebalance(g *group) {
	m.timers.stop(timerKey{kind: rebalanceTimer, group: g.id})
}

// joinedMaybe completes the joining if all members have joined. The first
// rebalance waits until its time is over.
func (m *Machine) joinedMaybe(now time.Time, g *group) {
	c := g.classic
	if c.state == classicPreparing && !c.initial && c.allJoined() {
		m.completeJoin(now, g)
	}
}

// completeJoin ends the joining: who has not joined is no member any more,
// unless it is static and its session still lasts. The next generation begins.
func (m *Machine) completeJoin(now time.Time, g *group) {
	c := g.classic
	m.stopRebalance(g)
	for _, id := range c.ids() {
		if member := c.members[id]; member.join == nil && member.instanceID == nil {
			m.note(g, "member %q did not join in time", id)
			m.removeClassic(g, member)
		}
	}
	c.ensureLeader()
	if len(c.members) > 0 && c.joining == 0 {
		// Only static members are left, and none is there. Their sessions end.
		m.setRebalance(g, now.Add(max(c.rebalanceTimeout(), postponedRebalance)), m.completeJoin)
		return
	}
	c.initial, c.grown = false, false
	c.generation++
	if len(c.members) == 0 {
		m.becomeEmpty(now, g)
		return
	}
	if c.members[c.leader].join == nil {
		c.leader = c.first(func(member *classicMember) bool { return member.join != nil })
	}
	protocol := c.elect()
	c.protocol = &protocol
	c.subscribed = c.topics()
	c.setState(now, classicCompleting)
	for _, id := range c.ids() {
		member := c.members[id]
		c.setSynced(member, false)
		member.isNew = false
		if member.join != nil {
			m.answerJoin(g, member, c.joined(member.join.version, member, id == c.leader))
		}
		m.keepSession(now, g, member)
	}
	m.note(g, "generation %d has %d members", c.generation, len(c.members))
	m.setRebalance(g, now.Add(c.rebalanceTimeout()), m.expireSync)
}

// becomeEmpty ends a rebalance in which nobody is left.
func (m *Machine) becomeEmpty(now time.Time, g *group) {
	c := g.classic
	c.protocol, c.leader = nil, ""
	c.subscribed = c.topics()
	c.setState(now, classicEmpty)
	m.note(g, "is empty in generation %d", c.generation)
	m.saveClassic(g)
}

// expireSync ends the time for SyncGroup: who has not sent it is no member any
// more.
func (m *Machine) expireSync(now time.Time, g *group) {
	c := g.classic
	if c.syncing == 0 {
		return
	}
	for _, id := range c.ids() {
		if member := c.members[id]; !member.synced {
			m.note(g, "member %q did not sync in time", id)
			m.removeClassic(g, member)
		}
	}
	m.classicLost(now, g, "members did not sync in time")
}

// syncedMaybe stops the timer for SyncGroup when all members have sent it.
func (m *Machine) syncedMaybe(g *group) {
	if g.classic.syncing == 0 {
		m.stopRebalance(g)
	}
}

// removeClassic takes a member out of the group. What it waits for is answered
// with UNKNOWN_MEMBER_ID, so that it joins anew if it is there. classicLost, or
// what a rebalance does, has to follow.
func (m *Machine) removeClassic(g *group, member *classicMember) {
	m.timers.stop(timerKey{sessionTimer, g.id, member.id})
	m.answerJoin(g, member, refusal(member.join, "", kerr.UnknownMemberID))
	m.answerSync(member, kerr.UnknownMemberID.Code, g.classic)
	g.classic.remove(member)
}

// classicLost goes on after members were removed.
func (m *Machine) classicLost(now time.Time, g *group, why string) {
	g.classic.ensureLeader()
	switch g.classic.state {
	case classicStable, classicCompleting:
		m.prepareRebalance(now, g, why)
	case classicPreparing:
		m.joinedMaybe(now, g)
	}
}

// keepSession starts a member's session time-out anew.
func (m *Machine) keepSession(now time.Time, g *group, member *classicMember) {
	m.setSession(now, g, member, member.sessionTimeout)
}

func (m *Machine) setSession(now time.Time, g *group, member *classicMember, timeout time.Duration) {
	key := timerKey{sessionTimer, g.id, member.id}
	if !m.timers.move(key, now.Add(timeout)) {
		m.timers.set(key, now.Add(timeout), func(now time.Time) { m.expireSession(now, g, member) })
	}
}

// expireSession removes a member that was not heard of, unless it is the
// coordinator that keeps it waiting: its session starts anew when it is answered.
func (m *Machine) expireSession(now time.Time, g *group, member *classicMember) {
	if (member.join != nil || member.sync != nil) && !member.isNew {
		return
	}
	if member.isNew {
		m.note(g, "new member %q has waited for too long", member.id)
	} else {
		m.note(g, "member %q was not heard of for %v", member.id, member.sessionTimeout)
	}
	m.removeClassic(g, member)
	m.classicLost(now, g, "a member's session timed out")
}

// saveClassic records the group, its members and their assignments.
func (m *Machine) saveClassic(g *group) {
	c := g.classic
	value := stored.GroupMetadataValue{
		ProtocolType: c.protocolType,
		Generation:   c.generation,
		Protocol:     c.protocol,
		StateMillis:  dateMillis(c.stateSince),
		Members:      make([]stored.MemberMetadata, 0, len(c.members)),
	}
	if c.leader != "" {
		value.Leader = &c.leader
	}
	for _, id := range c.ids() {
		member := c.members[id]
		value.Members = append(value.Members, stored.MemberMetadata{
			ID:                     id,
			InstanceID:             member.instanceID,
			ClientID:               member.client.ID,
			ClientHost:             member.client.Host,
			RebalanceTimeoutMillis: asMillis(member.rebalanceTimeout),
			SessionTimeoutMillis:   asMillis(member.sessionTimeout),
			Subscription:           member.metadataOf(c.protocol),
			Assignment:             member.assignment,
		})
	}
	c.saved = true
	m.record(stored.GroupMetadataKey{Group: g.id}.Append(nil), value.Append(nil))
}

// classicTombstones deletes the group's record, stops its timers, and leaves it
// without a classic group. It must have no members whose requests wait.
func (m *Machine) classicTombstones(g *group) {
	c := g.classic
	if c.saved {
		m.record(stored.GroupMetadataKey{Group: g.id}.Append(nil), nil)
	}
	for id := range c.pending {
		m.timers.stop(timerKey{joinTimer, g.id, id})
	}
	for id := range c.members {
		m.timers.stop(timerKey{sessionTimer, g.id, id})
	}
	m.stopRebalance(g)
	g.classic = nil
}

// activateClassic starts the members' sessions. A rebalance that another leader
// or this one has left unfinished starts anew.
func (m *Machine) activateClassic(now time.Time, g *group) {
	c := g.classic
	for _, id := range c.ids() {
		m.keepSession(now, g, c.members[id])
	}
	switch {
	case c.state == classicPreparing || c.state == classicCompleting:
		c.state = classicStable
		m.prepareRebalance(now, g, "the coordinator has changed during a rebalance")
	case len(c.members) > m.cfg.MaxSize:
		m.prepareRebalance(now, g, "it has more members than it may")
	}
}

// deactivateClassic answers all that wait, and forgets ids that were given out.
func (m *Machine) deactivateClassic(g *group) {
	c := g.classic
	for _, id := range c.ids() {
		member := c.members[id]
		m.answerJoin(g, member, refusal(member.join, id, kerr.NotCoordinator))
		m.answerSync(member, kerr.NotCoordinator.Code, c)
		c.setSynced(member, true)
		member.isNew = false
	}
	clear(c.pending)
	m.forget(g)
}

// answerSync answers the SyncGroup that a member waits for, and says whether it
// did.
func (m *Machine) answerSync(member *classicMember, code int16, c *classicGroup) bool {
	w := member.sync
	if w == nil {
		return false
	}
	member.sync = nil
	m.answer(w.token, c.synced(w.version, member, code))
	return true
}

// synced is the answer to a SyncGroup.
func (c *classicGroup) synced(version int16, member *classicMember, code int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = version
	resp.ErrorCode = code
	if code == 0 {
		resp.ProtocolType = &c.protocolType
		resp.Protocol = c.protocol
		resp.MemberAssignment = member.assignment
	}
	return resp
}
