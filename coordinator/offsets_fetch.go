package coordinator

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetFetch 1-10: 2 gives all topics where none are named, and has an error of
// the whole; 5 has leader epochs, 7 asks for offsets that no transaction holds
// back, 8 is of many groups (one, here), 9 has member epochs, 10 topic ids.
const (
	fetchGroupError = 2
	fetchGroups     = 8
	fetchTopicIDs   = 10
)

// fetchOffsets handles OffsetFetch. No commit is ever held back by a
// transaction, so RequireStable changes nothing.
func (m *Machine) fetchOffsets(req *Request, body *kmsg.OffsetFetchRequest) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = body.Version
	if body.Version >= fetchGroups {
		for i := range body.Groups {
			resp.Groups = append(resp.Groups, m.fetchGroup(&body.Groups[i], body.Version))
		}
		m.answer(req.Token, resp)
		return
	}
	want := kmsg.NewOffsetFetchRequestGroup()
	want.Group = body.Group
	if body.Topics != nil {
		want.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(body.Topics))
		for i, t := range body.Topics {
			want.Topics[i].Topic, want.Topics[i].Partitions = t.Topic, t.Partitions
		}
	}
	oldFetchResponse(resp, m.fetchGroup(&want, body.Version))
	m.answer(req.Token, resp)
}

// oldFetchResponse puts a group's answer where versions before 8 have it.
func oldFetchResponse(resp *kmsg.OffsetFetchResponse, group kmsg.OffsetFetchResponseGroup) {
	resp.ErrorCode = group.ErrorCode
	for _, t := range group.Topics {
		topic := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition:   p.Partition,
				Offset:      p.Offset,
				LeaderEpoch: p.LeaderEpoch,
				Metadata:    p.Metadata,
				ErrorCode:   p.ErrorCode,
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
}

// fetchGroup answers for one group. A group that is not known has committed
// nothing, which is no error.
func (m *Machine) fetchGroup(want *kmsg.OffsetFetchRequestGroup, version int16) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = want.Group
	g := m.groups[want.Group]
	if code := m.checkFetch(g, want); code != 0 {
		if resp.ErrorCode = code; version < fetchGroupError {
			resp.Topics = failedTopics(want.Topics, code)
		}
		return resp
	}
	known := &offsets{}
	if g != nil {
		known = &g.offsets
	}
	if want.Topics == nil {
		resp.Topics = m.allOffsets(known, version)
		return resp
	}
	resp.Topics = make([]kmsg.OffsetFetchResponseGroupTopic, len(want.Topics))
	for i := range want.Topics {
		m.fetchTopic(known, &want.Topics[i], &resp.Topics[i], version)
	}
	return resp
}

func (m *Machine) checkFetch(g *group, want *kmsg.OffsetFetchRequestGroup) int16 {
	if len(want.Group) > maxIDBytes {
		return kerr.InvalidGroupID.Code
	}
	if g == nil || g.consumer == nil || want.MemberID == nil && want.MemberEpoch < 0 {
		return 0 // who names no member may
	}
	memberID := ""
	if want.MemberID != nil {
		memberID = *want.MemberID
	}
	return m.consumerCheckFetch(g, memberID, want.MemberEpoch)
}

// failedTopics has the error at each partition.
func failedTopics(want []kmsg.OffsetFetchRequestGroupTopic, code int16) []kmsg.OffsetFetchResponseGroupTopic {
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, len(want))
	for i, t := range want {
		topics[i].Topic, topics[i].TopicID = t.Topic, t.TopicID
		for _, partition := range t.Partitions {
			p := none.response(partition)
			p.ErrorCode = code
			topics[i].Partitions = append(topics[i].Partitions, p)
		}
	}
	return topics
}

// fetchTopic answers for the partitions of a topic.
func (m *Machine) fetchTopic(known *offsets, want *kmsg.OffsetFetchRequestGroupTopic, resp *kmsg.OffsetFetchResponseGroupTopic, version int16) {
	resp.Topic, resp.TopicID = want.Topic, want.TopicID
	var topic Topic
	var exists bool
	if version >= fetchTopicIDs {
		if topic, exists = m.topics.TopicByID(want.TopicID); !exists {
			*resp = failedTopics([]kmsg.OffsetFetchRequestGroupTopic{*want}, kerr.UnknownTopicID.Code)[0]
			return
		}
	} else if topic, exists = m.topics.Topic(want.Topic); !exists {
		topic.Name = want.Topic
	}
	resp.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(want.Partitions))
	for i, partition := range want.Partitions {
		c, _ := known.get(topic.Name, partition)
		if !c.is(topic.ID) {
			c = none
		}
		resp.Partitions[i] = c.response(partition)
	}
}

// allOffsets answers for all topics. From version 10 on, those that do not exist
// have no id and are left out.
func (m *Machine) allOffsets(known *offsets, version int16) []kmsg.OffsetFetchResponseGroupTopic {
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for _, name := range known.names() {
		topic, exists := m.topics.Topic(name)
		if !exists && version >= fetchTopicIDs {
			continue
		}
		resp := kmsg.OffsetFetchResponseGroupTopic{Topic: name, TopicID: topic.ID}
		list := known.topics[name].partitions
		for i := range list {
			if list[i].is(topic.ID) {
				resp.Partitions = append(resp.Partitions, list[i].response(list[i].partition))
			}
		}
		if len(resp.Partitions) > 0 {
			topics = append(topics, resp)
		}
	}
	return topics
}

// response is what is answered for a partition.
func (c *committed) response(partition int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	metadata := c.metadata
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition:   partition,
		Offset:      c.offset,
		LeaderEpoch: c.leaderEpoch,
		Metadata:    &metadata,
	}
}

// deleteOffsets handles OffsetDelete 0. Offsets of topics that members subscribe
// to are not deleted; where that cannot be known, none are while there are
// members. Those of a topic that is gone can be.
func (m *Machine) deleteOffsets(req *Request, body *kmsg.OffsetDeleteRequest) {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Version = body.Version
	g := m.groups[body.Group]
	if resp.ErrorCode = m.checkOffsetDelete(g, body.Group); resp.ErrorCode != 0 {
		m.answer(req.Token, resp)
		return
	}
	for _, t := range body.Topics {
		topic := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		known, exists := m.topics.Topic(t.Topic)
		for _, p := range t.Partitions {
			code := int16(0)
			_, has := g.offsets.get(t.Topic, p.Partition)
			there := exists && p.Partition >= 0 && p.Partition < known.Partitions()
			switch {
			case !there && !has:
				code = kerr.UnknownTopicOrPartition.Code
			case m.subscribes(g, t.Topic):
				code = kerr.GroupSubscribedToTopic.Code
			default:
				m.dropOffset(g, t.Topic, p.Partition)
			}
			topic.Partitions = append(topic.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: code})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	m.forget(g)
	m.answer(req.Token, resp)
}

func (m *Machine) checkOffsetDelete(g *group, id string) int16 {
	switch {
	case !validGroupID(id):
		return kerr.InvalidGroupID.Code
	case g == nil:
		return kerr.GroupIDNotFound.Code
	case !g.isEmpty() && g.protocolType() != consumerProtocolType:
		return kerr.NonEmptyGroup.Code
	}
	return 0
}
