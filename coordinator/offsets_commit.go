package coordinator

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// OffsetCommit 2-10: until 4 a request has a retention of its own, 6 has leader
// epochs, 7 instance ids, 9 member epochs (KIP-848), 10 topic ids.
const (
	commitLastRetention = 4
	commitLeaderEpochs  = 6
	commitNoGroup       = 9
	commitTopicIDs      = 10
)

// commitTopic is a topic of an OffsetCommit, as it is known here.
type commitTopic struct {
	topic      Topic
	known      bool
	partitions []kmsg.OffsetCommitRequestTopicPartition
}

// commitOffsets handles OffsetCommit.
func (m *Machine) commitOffsets(now time.Time, req *Request, body *kmsg.OffsetCommitRequest) {
	topics, anyKnown := m.commitTopics(body)
	var g *group
	var refused int16
	if anyKnown {
		g, refused = m.commitGroup(now, body, topics)
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = body.Version
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(topics))
	for i := range topics {
		t := &topics[i]
		out := &resp.Topics[i]
		out.Topic, out.TopicID = body.Topics[i].Topic, body.Topics[i].TopicID
		out.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.partitions))
		for j := range t.partitions {
			p := &t.partitions[j]
			code := t.check(p, body.Version)
			if code == 0 {
				code = refused
			}
			if code == 0 {
				code = m.commitPartition(now, g, t.topic, p, body)
			}
			out.Partitions[j].Partition, out.Partitions[j].ErrorCode = p.Partition, code
		}
	}
	if g != nil && g.offsets.count == 0 {
		m.forget(g)
	}
	m.answer(req.Token, resp)
}

// commitTopics looks the request's topics up. What it returns is valid until the
// next call.
func (m *Machine) commitTopics(body *kmsg.OffsetCommitRequest) (topics []commitTopic, anyKnown bool) {
	clear(m.commit)
	topics = m.commit[:0]
	for i := range body.Topics {
		t := commitTopic{partitions: body.Topics[i].Partitions}
		if body.Version >= commitTopicIDs {
			t.topic, t.known = m.topics.TopicByID(body.Topics[i].TopicID)
		} else {
			t.topic, t.known = m.topics.Topic(body.Topics[i].Topic)
		}
		anyKnown = anyKnown || t.known
		topics = append(topics, t)
	}
	m.commit = topics
	return topics, anyKnown
}

// check says whether a partition is one.
func (t *commitTopic) check(p *kmsg.OffsetCommitRequestTopicPartition, version int16) int16 {
	switch {
	case !t.known && version >= commitTopicIDs:
		return kerr.UnknownTopicID.Code
	case !t.known, p.Partition < 0, p.Partition >= t.topic.Partitions():
		return kerr.UnknownTopicOrPartition.Code
	}
	return 0
}

// commitGroup finds the group and checks whether the request may commit for it.
// A group that does not exist is made for those that are no members: simple
// consumers, and administrators.
func (m *Machine) commitGroup(now time.Time, body *kmsg.OffsetCommitRequest, topics []commitTopic) (*group, int16) {
	g := m.groups[body.Group]
	switch {
	case len(body.Group) > maxIDBytes:
		return nil, kerr.InvalidGroupID.Code
	case g == nil && body.Generation >= 0 && body.Version >= commitNoGroup:
		return nil, kerr.GroupIDNotFound.Code
	case g == nil && body.Generation >= 0:
		return nil, kerr.IllegalGeneration.Code
	case g == nil:
		if g = m.open(body.Group); g == nil {
			return nil, kerr.GroupMaxSizeReached.Code
		}
		return g, 0
	case g.consumer != nil:
		return g, m.consumerCheckCommit(g, body.MemberID, body.InstanceID, body.Generation, false, body.Version, topics)
	case g.classic == nil:
		if body.Generation >= 0 {
			return g, kerr.UnknownMemberID.Code
		}
		return g, 0
	}
	c := g.classic
	if code := c.checkCommit(body.MemberID, body.InstanceID, body.Generation); code != 0 {
		return g, code
	}
	if member := c.members[body.MemberID]; member != nil && !member.isNew {
		m.keepSession(now, g, member)
	}
	return g, 0
}

// checkCommit says whether one with this member id and generation may commit. A
// generation of -1 is of one that is no member: it may where there are none.
func (c *classicGroup) checkCommit(memberID string, instanceID *string, generation int32) int16 {
	switch {
	case generation < 0 && c.state == classicEmpty:
		return 0
	case generation < 0 && memberID == "" && instanceID == nil:
		return kerr.UnknownMemberID.Code
	}
	if code := c.validate(memberID, instanceID); code != 0 {
		return code
	}
	switch {
	case generation != c.generation:
		return kerr.IllegalGeneration.Code
	case c.state == classicCompleting:
		// It has joined this generation and does not know its partitions yet.
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

// commitPartition commits one partition's offset.
func (m *Machine) commitPartition(now time.Time, g *group, topic Topic, p *kmsg.OffsetCommitRequestTopicPartition, body *kmsg.OffsetCommitRequest) int16 {
	c := committed{
		partition:   p.Partition,
		leaderEpoch: -1,
		offset:      p.Offset,
		at:          now.UnixMilli(),
		expires:     -1,
		topic:       topic.ID,
	}
	if p.Metadata != nil {
		c.metadata = *p.Metadata
	}
	if len(c.metadata) > min(m.cfg.OffsetMetadataMaxBytes, stored.MaxStringBytes) {
		return kerr.OffsetMetadataTooLarge.Code
	}
	if g.offsets.count >= m.cfg.MaxOffsetsOfGroup {
		if _, ok := g.offsets.get(topic.Name, p.Partition); !ok {
			return kerr.InvalidCommitOffsetSize.Code
		}
	}
	if body.Version >= commitLeaderEpochs {
		c.leaderEpoch = p.LeaderEpoch
	}
	if body.Version <= commitLastRetention && body.RetentionTimeMillis != -1 {
		c.expires = c.at + body.RetentionTimeMillis
		c.leaderEpoch, c.topic = -1, [16]byte{} // such a record has no room for them
	}
	m.setOffset(g, topic.Name, c)
	m.recordOffset(g, topic.Name, c)
	return 0
}
