package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// denial is why a request is not granted.
type denial struct {
	code int16
	text string
}

func deny(err *kerr.Error, format string, args ...any) *denial {
	return &denial{err.Code, fmt.Sprintf(format, args...)}
}

// consumerHeartbeat handles ConsumerGroupHeartbeat 0-1: members join, leave, say
// what they have and are told what to have with it. Since version 1 member ids
// are the clients' own (KIP-1082), and there are regular expressions.
func (m *Machine) consumerHeartbeat(now time.Time, req *Request, body *kmsg.ConsumerGroupHeartbeatRequest) {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version = body.Version
	err := m.checkHeartbeat(body)
	switch {
	case err != nil:
	case body.MemberEpoch < 0:
		err = m.consumerLeave(now, body, resp)
	default:
		err = m.consumerMember(now, req, body, resp)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = err.code, &err.text
	}
	m.answer(req.Token, resp)
}

// checkHeartbeat checks a request by itself.
func (m *Machine) checkHeartbeat(body *kmsg.ConsumerGroupHeartbeatRequest) *denial {
	empty := func(s *string) bool { return s != nil && *s == "" }
	long := func(s *string) bool { return s != nil && len(*s) > maxIDBytes }
	switch {
	case body.MemberID == "" && (body.Version >= 1 || body.MemberEpoch > 0 || body.MemberEpoch == leaveEpoch):
		return deny(kerr.InvalidRequest, "MemberId can't be empty.")
	case body.Group == "":
		return deny(kerr.InvalidRequest, "GroupId can't be empty.")
	case empty(body.InstanceID):
		return deny(kerr.InvalidRequest, "InstanceId can't be empty.")
	case empty(body.RackID):
		return deny(kerr.InvalidRequest, "RackId can't be empty.")
	case !validGroupID(body.Group):
		return deny(kerr.InvalidGroupID, "GroupId is longer than %d bytes.", maxIDBytes)
	case long(&body.MemberID) || long(body.InstanceID) || long(body.RackID):
		return deny(kerr.InvalidRequest, "MemberId, InstanceId or RackId is longer than %d bytes.", maxIDBytes)
	}
	switch {
	case body.MemberEpoch == joinEpoch && body.RebalanceTimeoutMillis == -1:
		return deny(kerr.InvalidRequest, "RebalanceTimeoutMs must be provided in first request.")
	case body.MemberEpoch == joinEpoch && (body.Topics == nil || len(body.Topics) > 0):
		return deny(kerr.InvalidRequest, "TopicPartitions must be empty when (re-)joining.")
	case body.MemberEpoch == joinEpoch && body.SubscribedTopicNames == nil && body.SubscribedTopicRegex == nil:
		return deny(kerr.InvalidRequest, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case body.MemberEpoch == staticLeaveEpoch && body.InstanceID == nil:
		return deny(kerr.InvalidRequest, "InstanceId can't be null.")
	case body.MemberEpoch < staticLeaveEpoch:
		return deny(kerr.InvalidRequest, "MemberEpoch is invalid.")
	}
	if name := body.ServerAssignor; name != nil && !slices.Contains(m.cfg.ConsumerAssignors, *name) {
		return deny(kerr.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			clip(*name), strings.Join(m.cfg.ConsumerAssignors, ", "))
	}
	return nil
}

// consumerMember handles the heartbeat of a member, or of one that joins.
func (m *Machine) consumerMember(now time.Time, req *Request, body *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *denial {
	g, err := m.consumerGroupFor(body)
	if err != nil {
		return err
	}
	if body.MemberID == "" {
		body.MemberID = m.cfg.NewID()
	}
	member, err := m.findMember(g, body)
	if err != nil {
		return err
	}
	said, err := m.whatItSays(g, member, req, body)
	if err != nil {
		return err
	}
	if g == nil || g.consumer == nil {
		if g, err = m.settleKind(now, g, body.Group); err != nil {
			return err
		}
		// A classic member may be taken over with the group.
		if member, err = m.findMember(g, body); err != nil {
			return err
		}
	}
	member, changed := m.update(now, g, member, said)
	before := member.assigned
	m.reconcile(now, g, member, body.Topics, changed)
	m.keepAlive(now, g, member)

	id := member.id // its own: a static member may come back with another
	resp.MemberID = &id
	resp.MemberEpoch = member.epoch
	resp.HeartbeatIntervalMillis = asMillis(m.heartbeatInterval(g))
	// A request that says everything is from a member that joins, or does not know
	// whether it got the last answer.
	full := body.RebalanceTimeoutMillis != -1 && body.Topics != nil &&
		(body.SubscribedTopicNames != nil || body.SubscribedTopicRegex != nil)
	if body.MemberEpoch == joinEpoch || full || !member.assigned.samePartitions(before) {
		resp.Assignment = member.assigned.toAssignment()
	}
	return nil
}

// consumerGroupFor finds the group of a heartbeat. nil is one that is to be made,
// for a member that joins; what it is now, if it is anything, can become one.
func (m *Machine) consumerGroupFor(body *kmsg.ConsumerGroupHeartbeatRequest) (*group, *denial) {
	g := m.groups[body.Group]
	switch {
	case g != nil && g.consumer != nil:
		return g, nil
	case body.MemberEpoch != joinEpoch:
		return nil, deny(kerr.GroupIDNotFound, "Group %s is not a consumer group.", clip(body.Group))
	case g == nil && len(m.groups) >= m.cfg.MaxGroups:
		return nil, deny(kerr.GroupMaxSizeReached, "There are too many groups.")
	case g != nil && g.classic != nil && len(g.classic.members) > 0:
		return g, m.checkUpgrade(g, body)
	}
	return g, nil
}

// settleKind makes the group one of the consumer protocol, which it is not: with
// the classic members that it has.
func (m *Machine) settleKind(now time.Time, g *group, id string) (*group, *denial) {
	if g == nil {
		if g = m.open(id); g == nil {
			return nil, deny(kerr.GroupMaxSizeReached, "There are too many groups.")
		}
	}
	if g.classic != nil && len(g.classic.members) > 0 {
		return g, m.upgrade(now, g)
	}
	if g.classic != nil {
		m.classicTombstones(g)
	}
	g.consumer = newConsumerGroup()
	return g, nil
}

// findMember finds the member that a heartbeat is from, or whose place it takes;
// nil for one that is new.
func (m *Machine) findMember(g *group, body *kmsg.ConsumerGroupHeartbeatRequest) (*consumerMember, *denial) {
	if g == nil || g.consumer == nil {
		return nil, nil
	}
	c := g.consumer
	joins := body.MemberEpoch == joinEpoch
	member := c.members[body.MemberID]
	if id := body.InstanceID; id != nil {
		static := c.static[*id]
		switch {
		case static == nil && !joins:
			return nil, deny(kerr.UnknownMemberID, "Instance id %s is unknown.", clip(*id))
		case static == nil:
		case !joins && static.id != body.MemberID:
			return nil, deny(kerr.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.",
				clip(body.MemberID), clip(*id), static.id)
		case joins && static.id != body.MemberID && static.classic == nil && static.epoch != staticLeaveEpoch:
			return nil, deny(kerr.UnreleasedInstanceID,
				"Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
				clip(body.MemberID), clip(*id), static.id)
		case static.id != body.MemberID && member != nil:
			return nil, deny(kerr.InvalidRequest, "Member %s is in the group without this instance id.", clip(body.MemberID))
		default:
			member = static
		}
	}
	switch {
	case member == nil && !joins:
		return nil, deny(kerr.UnknownMemberID, "Member %s is not a member of group %s.", clip(body.MemberID), g.id)
	case member == nil && len(c.members) >= m.cfg.ConsumerMaxSize:
		return nil, deny(kerr.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", m.cfg.ConsumerMaxSize)
	case joins:
		return member, nil
	}
	return member, member.checkEpoch(body)
}

// checkEpoch checks the epoch of a heartbeat. The one before is taken as well,
// from a member that has nothing that it should not have: the answer that told
// it of the new one may have been lost.
func (member *consumerMember) checkEpoch(body *kmsg.ConsumerGroupHeartbeatRequest) *denial {
	how := "smaller"
	switch {
	case body.MemberEpoch == member.epoch:
		return nil
	case body.MemberEpoch > member.epoch:
		how = "greater"
	case body.MemberEpoch == member.previous && ownedPartitions(body.Topics).within(member.assigned):
		return nil
	}
	return deny(kerr.FencedMemberEpoch, "The consumer group member has a %s member epoch (%d) than the one known by the group coordinator (%d). "+
		"The member must abandon all its partitions and rejoin.", how, body.MemberEpoch, member.epoch)
}

// saying is what a member says of itself: as it said, and what it says now.
type saying struct {
	id               string
	instanceID       string
	rack             string
	client           Client
	rebalanceTimeout int32
	names            []string // in order, each once
	regex            string
	assignor         string
	classic          *classicUse
}

// whatItSays is what a heartbeat says of its member, or what was known where it
// does not say: nil where it says nothing new.
func (m *Machine) whatItSays(g *group, member *consumerMember, req *Request, body *kmsg.ConsumerGroupHeartbeatRequest) (*saying, *denial) {
	if member != nil && member.id == body.MemberID && member.client == req.Client && member.classic == nil &&
		body.RackID == nil && body.ServerAssignor == nil && body.RebalanceTimeoutMillis == -1 &&
		body.SubscribedTopicNames == nil && body.SubscribedTopicRegex == nil {
		return nil, nil
	}
	s := &saying{rebalanceTimeout: -1}
	if member != nil {
		*s = member.saying()
	}
	s.id, s.client, s.classic = body.MemberID, req.Client, nil
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&s.instanceID, body.InstanceID)
	set(&s.rack, body.RackID)
	set(&s.regex, body.SubscribedTopicRegex)
	set(&s.assignor, body.ServerAssignor)
	if body.RebalanceTimeoutMillis != -1 {
		s.rebalanceTimeout = body.RebalanceTimeoutMillis
	}
	if body.SubscribedTopicNames != nil {
		s.names = slices.Compact(slices.Sorted(slices.Values(body.SubscribedTopicNames)))
	}
	if s.regex != "" && (g == nil || g.consumer == nil || g.consumer.regexes[s.regex] == nil) {
		if _, err := m.compiledRegex(s.regex); err != nil {
			return nil, deny(kerr.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %v.", clip(s.regex), err)
		}
	}
	return s, m.checkSize(g, member, s)
}

// checkSize checks what is said against the limits.
func (m *Machine) checkSize(g *group, member *consumerMember, s *saying) *denial {
	size := s.bytes()
	if size > m.cfg.MaxMetadataBytes {
		return deny(kerr.InvalidRequest, "The member's subscription takes more than %d bytes.", m.cfg.MaxMetadataBytes)
	}
	if member != nil {
		size -= member.bytes()
	}
	if !m.room(size) {
		return deny(kerr.GroupMaxSizeReached, "The members of all groups say more of themselves than the broker keeps.")
	}
	if g == nil || g.consumer == nil {
		return nil
	}
	if size > 0 && g.consumer.bytes+size > m.cfg.MaxGroupBytes {
		return deny(kerr.GroupMaxSizeReached, "The subscriptions of the group's members take more than %d bytes.", m.cfg.MaxGroupBytes)
	}
	return nil
}

func (member *consumerMember) saying() saying {
	return saying{
		id: member.id, instanceID: member.instanceID, rack: member.rack, client: member.client,
		rebalanceTimeout: member.rebalanceTimeout, names: member.names.list, regex: member.regex,
		assignor: member.assignor, classic: member.classic,
	}
}

func (s *saying) bytes() int {
	said := consumerMember{
		id: s.id, instanceID: s.instanceID, rack: s.rack, client: s.client,
		names: &topicNames{list: s.names}, regex: s.regex, assignor: s.assignor, classic: s.classic,
	}
	return said.bytes()
}

// update makes the member what it says, nil being one that is new: changed says
// that its subscription did. The group's epoch and target follow.
func (m *Machine) update(now time.Time, g *group, member *consumerMember, s *saying) (_ *consumerMember, changed bool) {
	if s == nil {
		return member, false
	}
	c := g.consumer
	assignor := c.assignor(m.cfg.ConsumerAssignors)
	switch {
	case member == nil:
		member = &consumerMember{names: c.shared(nil), state: memberStable, rebalanceTimeout: -1}
		m.note(g, "member %q joins", clip(s.id))
	case member.id != s.id:
		m.note(g, "static member %q comes back as %q instead of %q", clip(s.instanceID), clip(s.id), member.id)
		m.exit(g, member)
		m.replace(g, member, s.id)
	default:
		if before := member.saying(); before.same(s) {
			return member, false
		}
		m.exit(g, member)
	}
	isNew := !member.known
	before := member.saying()
	namesBefore := member.names
	member.id, member.instanceID, member.rack, member.client = s.id, s.instanceID, s.rack, s.client
	member.rebalanceTimeout, member.regex, member.assignor, member.classic = s.rebalanceTimeout, s.regex, s.assignor, s.classic
	if isNew || !slices.Equal(before.names, s.names) {
		member.names = c.shared(s.names)
	}
	member.known = true
	c.members[member.id] = member
	m.enter(g, member)
	c.unshare(namesBefore)
	if isNew || !before.same(s) {
		m.recordMember(g, member)
	}
	if (before.classic == nil) != (s.classic == nil) {
		// Each protocol has its own timers.
		m.stopTimers(g, member.id)
		m.setRevocation(now, g, member)
	}
	m.tidyRegexes(now, g)
	changed = isNew || !slices.Equal(before.names, s.names) || before.regex != s.regex
	switch {
	case isNew:
		m.newEpoch(now, g, "a member joined")
	case changed:
		m.newEpoch(now, g, "a member changed its subscription")
	case c.assignor(m.cfg.ConsumerAssignors) != assignor:
		m.newEpoch(now, g, "another assignor is asked for by most")
	}
	return member, changed
}

// same compares what was said, as far as records hold it.
func (s *saying) same(o *saying) bool {
	if s.id != o.id || s.instanceID != o.instanceID || s.rack != o.rack || s.client != o.client ||
		s.rebalanceTimeout != o.rebalanceTimeout || s.regex != o.regex || s.assignor != o.assignor ||
		!slices.Equal(s.names, o.names) || (s.classic == nil) != (o.classic == nil) {
		return false
	}
	return s.classic == nil || s.classic.session == o.classic.session &&
		slices.EqualFunc(s.classic.protocols, o.classic.protocols, sameProtocol)
}

func sameProtocol(a, b stored.ClassicProtocol) bool {
	return a.Name == b.Name && string(a.Metadata) == string(b.Metadata)
}

// replace gives a static member that came back its new id: it joins anew, with
// what it had.
func (m *Machine) replace(g *group, member *consumerMember, id string) {
	c := g.consumer
	m.stopTimers(g, member.id)
	m.memberTombstones(g, member.id)
	delete(c.members, member.id)
	member.id = id
	member.epoch, member.previous = 0, 0
	c.members[id] = member
	m.recordMember(g, member)
	m.recordTarget(g, member)
	m.recordCurrent(g, member)
}

// memberTombstones deletes a member's records.
func (m *Machine) memberTombstones(g *group, id string) {
	m.record(stored.ConsumerGroupCurrentMemberAssignmentKey{Group: g.id, Member: id}.Append(nil), nil)
	m.record(stored.ConsumerGroupTargetAssignmentMemberKey{Group: g.id, Member: id}.Append(nil), nil)
	m.record(stored.ConsumerGroupMemberMetadataKey{Group: g.id, Member: id}.Append(nil), nil)
}

func (m *Machine) recordMember(g *group, member *consumerMember) {
	value := stored.ConsumerGroupMemberMetadataValue{
		InstanceID:             stringOrNil(member.instanceID),
		RackID:                 stringOrNil(member.rack),
		ClientID:               member.client.ID,
		ClientHost:             member.client.Host,
		SubscribedTopicNames:   member.names.list,
		SubscribedTopicRegex:   stringOrNil(member.regex),
		RebalanceTimeoutMillis: member.rebalanceTimeout,
		ServerAssignor:         stringOrNil(member.assignor),
	}
	if u := member.classic; u != nil {
		value.Classic = &stored.ClassicMemberMetadata{SessionTimeoutMillis: u.session, Protocols: u.protocols}
	}
	m.record(stored.ConsumerGroupMemberMetadataKey{Group: g.id, Member: member.id}.Append(nil), value.Append(nil))
}

func stringOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
