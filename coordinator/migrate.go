package coordinator

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// A group changes its protocol while it has members, so that its consumers can be
// restarted with the other protocol one by one. It becomes one of the consumer
// protocol with the first member of it that joins: the classic members stay in
// it, and keep what they have. It becomes a classic one when the last member of
// the consumer protocol is gone.

// checkUpgrade says whether a classic group that has members may become one of
// the consumer protocol for a member that joins.
func (m *Machine) checkUpgrade(g *group, body *kmsg.ConsumerGroupHeartbeatRequest) *denial {
	c := g.classic
	why := ""
	switch {
	case m.cfg.ConsumerMigration != MigrationUpgrade && m.cfg.ConsumerMigration != MigrationBidirectional:
		why = "online upgrade is disabled"
	case c.protocolType != consumerProtocolType:
		why = "the group does not use the consumer embedded protocol"
	case len(c.members) > m.cfg.ConsumerMaxSize:
		why = "the group size exceeds the consumer group maximum size"
	}
	if why != "" {
		return deny(kerr.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because %s.", clip(g.id), why)
	}
	member := c.members[body.MemberID]
	static := ""
	if body.InstanceID != nil {
		static = c.static[*body.InstanceID]
	}
	switch {
	case member != nil && static != "" && static != member.id:
		return deny(kerr.InvalidRequest, "Member %s is in the group without this instance id.", clip(body.MemberID))
	case member == nil && static == "" && len(c.members) >= m.cfg.ConsumerMaxSize:
		return deny(kerr.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", m.cfg.ConsumerMaxSize)
	}
	return nil
}

// upgrade makes a classic group that has members one of the consumer protocol,
// or leaves it as it is. What the members have is their target too: the epoch
// that the member which joins brings about leads to a new one.
func (m *Machine) upgrade(now time.Time, g *group) *denial {
	old := g.classic
	c, ok := m.upgraded(old)
	if !ok {
		return deny(kerr.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because its members' metadata or assignments "+
			"are not plain ones of the embedded consumer protocol.", clip(g.id))
	}
	for _, id := range old.ids() {
		m.answerJoin(g, old.members[id], refusal(old.members[id].join, id, kerr.RebalanceInProgress))
		m.answerSync(old.members[id], kerr.RebalanceInProgress.Code, old)
	}
	m.classicTombstones(g)
	g.consumer = c
	ids := c.memberIDs()
	for _, id := range ids {
		member := c.members[id]
		m.enter(g, member)
		c.own(member)
		m.recordMember(g, member)
		m.keepAlive(now, g, member)
	}
	c.hash = m.topicsHash(g)
	m.record(
		stored.ConsumerGroupMetadataKey{Group: g.id}.Append(nil),
		stored.ConsumerGroupMetadataValue{Epoch: c.epoch, MetadataHash: c.hash}.Append(nil),
	)
	for _, id := range ids {
		m.recordTarget(g, c.members[id])
	}
	m.recordTargetEpoch(g)
	for _, id := range ids {
		m.recordCurrent(g, c.members[id])
	}
	m.note(g, "becomes a group of the consumer protocol, with %d classic members", len(ids))
	return nil
}

// upgraded is the consumer group that a classic one becomes; ok is false where
// its members cannot be understood, or assignments hold more than partitions,
// which would be lost.
func (m *Machine) upgraded(old *classicGroup) (_ *consumerGroup, ok bool) {
	c := newConsumerGroup()
	c.epoch, c.assignmentEpoch = old.generation, old.generation
	taken := map[[16]byte]map[int32]bool{}
	claims := map[*consumerMember][]namedPartitions{}
	for _, id := range old.ids() {
		from := old.members[id]
		metadata := from.metadataOf(old.protocol)
		if metadata == nil && len(from.protocols) > 0 {
			metadata = from.protocols[0].Metadata
		}
		said, err := parseSubscription(metadata)
		if err != nil {
			return nil, false
		}
		var has []namedPartitions
		if len(from.assignment) > 0 {
			var userData bool
			if has, userData, err = parseAssignment(from.assignment); err != nil || userData {
				return nil, false
			}
		}
		member := &consumerMember{
			id:               id,
			instanceID:       orEmpty(from.instanceID),
			rack:             said.rack,
			client:           from.client,
			rebalanceTimeout: asMillis(from.rebalanceTimeout),
			names:            c.shared(said.topics),
			classic:          &classicUse{asMillis(from.sessionTimeout), storedProtocols(from.protocols)},
			epoch:            old.generation,
			previous:         old.generation,
			state:            memberStable,
			assigned:         m.namedSet(has, old.generation, taken),
			known:            true,
		}
		c.members[id] = member
		if len(from.assignment) == 0 && old.state != classicStable {
			claims[member] = said.owned
		}
	}
	for _, id := range c.memberIDs() {
		member := c.members[id]
		if has := claims[member]; has != nil {
			// A rebalance was broken off, and with it its assignments. Members that
			// rebalance cooperatively have what they said when they joined.
			member.assigned = m.namedSet(has, old.generation, taken)
		}
		member.target = withoutEpochs(member.assigned)
	}
	return c, true
}

// namedSet are the partitions that exist, and that nobody has taken yet.
func (m *Machine) namedSet(topics []namedPartitions, epoch int32, taken map[[16]byte]map[int32]bool) partitionSet {
	var list []stored.TopicPartitions
	for _, t := range topics {
		topic, ok := m.topics.Topic(t.topic)
		if !ok {
			continue
		}
		if taken[topic.ID] == nil {
			taken[topic.ID] = map[int32]bool{}
		}
		out := stored.TopicPartitions{TopicID: topic.ID}
		for _, p := range t.partitions {
			if p >= 0 && p < topic.Partitions() && !taken[topic.ID][p] {
				taken[topic.ID][p] = true
				out.Partitions = append(out.Partitions, p)
			}
		}
		list = append(list, out)
	}
	return fromStored(list, epoch)
}

func withoutEpochs(s partitionSet) partitionSet {
	out := slices.Clone(s)
	for i := range out {
		out[i].epochs = nil
	}
	return out
}

func storedProtocols(protocols []kmsg.JoinGroupRequestProtocol) []stored.ClassicProtocol {
	out := make([]stored.ClassicProtocol, len(protocols))
	for i, p := range protocols {
		out[i] = stored.ClassicProtocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)}
	}
	return out
}

// mayDowngrade says that a group has members, that all use the classic protocol,
// and that it may become a classic one.
func (m *Machine) mayDowngrade(c *consumerGroup) bool {
	return len(c.members) > 0 && c.classic == len(c.members) && len(c.members) <= m.cfg.MaxSize &&
		(m.cfg.ConsumerMigration == MigrationDowngrade || m.cfg.ConsumerMigration == MigrationBidirectional)
}

// downgrade makes a group whose members all use the classic protocol a classic
// one. They keep what they have until they have joined again, which they are
// asked to; why says the reason, and is empty where there is none to rebalance.
func (m *Machine) downgrade(now time.Time, g *group, why string) {
	old := g.consumer
	m.consumerTombstones(g)
	g.consumer = nil
	c := newClassicGroup()
	c.protocolType = consumerProtocolType
	c.generation = old.epoch
	for _, id := range old.memberIDs() {
		from := old.members[id]
		member := &classicMember{
			id:               id,
			instanceID:       stringOrNil(from.instanceID),
			client:           from.client,
			sessionTimeout:   millis(from.classic.session),
			rebalanceTimeout: millis(max(from.rebalanceTimeout, 0)),
			assignment:       m.embeddedAssignment(from, from.assigned, from.revoking),
			synced:           true,
		}
		for _, p := range from.classic.protocols {
			protocol := kmsg.NewJoinGroupRequestProtocol()
			protocol.Name, protocol.Metadata = p.Name, p.Metadata
			member.protocols = append(member.protocols, protocol)
		}
		c.add(member)
	}
	protocol := c.elect()
	c.protocol = &protocol
	c.subscribed = c.topics()
	c.setState(now, classicStable)
	g.classic = c
	m.saveClassic(g)
	for _, id := range c.ids() {
		m.keepSession(now, g, c.members[id])
	}
	m.note(g, "becomes a classic group, with %d members", len(c.members))
	if why == "" && !old.reconciled() {
		// What members were still to give up or to get, nobody would.
		why = "members were on their way to another assignment"
	}
	if why != "" {
		m.prepareRebalance(now, g, why)
	}
}

// reconciled says that all members have what the target gives them.
func (c *consumerGroup) reconciled() bool {
	if c.epoch != c.assignmentEpoch {
		return false
	}
	for _, member := range c.members {
		if !member.reconciled(c.assignmentEpoch) {
			return false
		}
	}
	return true
}

// embeddedAssignment is how a classic member is told of partitions. They must be
// distinct.
func (m *Machine) embeddedAssignment(member *consumerMember, sets ...partitionSet) []byte {
	version := int16(0)
	if protocols := member.classic.protocols; len(protocols) > 0 {
		if said, err := parseSubscription(protocols[0].Metadata); err == nil {
			version = said.version
		}
	}
	byName := map[string][]int32{}
	for _, set := range sets {
		for _, t := range set {
			if topic, ok := m.topics.TopicByID(t.id); ok {
				byName[topic.Name] = append(byName[topic.Name], t.partitions...)
			}
		}
	}
	topics := make([]namedPartitions, 0, len(byName))
	for name, partitions := range byName {
		slices.Sort(partitions)
		topics = append(topics, namedPartitions{name, partitions})
	}
	slices.SortFunc(topics, func(a, b namedPartitions) int { return cmp.Compare(a.topic, b.topic) })
	return appendAssignment(nil, version, topics)
}
