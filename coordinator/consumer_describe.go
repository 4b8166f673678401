package coordinator

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerDescribe handles ConsumerGroupDescribe 0-1: 1 tells which protocol a
// member uses (KIP-1099).
func (m *Machine) consumerDescribe(req *Request, body *kmsg.ConsumerGroupDescribeRequest) {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Version = body.Version
	for _, id := range body.Groups {
		resp.Groups = append(resp.Groups, m.describeConsumer(id))
	}
	m.answer(req.Token, resp)
}

func (m *Machine) describeConsumer(id string) kmsg.ConsumerGroupDescribeResponseGroup {
	out := kmsg.NewConsumerGroupDescribeResponseGroup()
	out.Group = id
	g := m.groups[id]
	if g == nil || g.consumer == nil {
		text := "Group " + clip(id) + " not found."
		if g != nil {
			text = "Group " + clip(id) + " is not a consumer group."
		}
		if id == "" {
			text = "GroupId can't be empty."
			out.ErrorCode, out.ErrorMessage = kerr.InvalidGroupID.Code, &text
			return out
		}
		out.ErrorCode, out.ErrorMessage = kerr.GroupIDNotFound.Code, &text
		return out
	}
	c := g.consumer
	out.State = m.consumerStateName(g)
	out.Epoch = c.epoch
	out.AssignmentEpoch = c.assignmentEpoch
	out.AssignorName = c.assignor(m.cfg.ConsumerAssignors)
	out.Members = make([]kmsg.ConsumerGroupDescribeResponseGroupMember, 0, len(c.members))
	for _, id := range c.memberIDs() {
		out.Members = append(out.Members, m.describeMember(c.members[id]))
	}
	return out
}

// Types of member, as ConsumerGroupDescribe has them.
const (
	memberTypeClassic  = 0
	memberTypeConsumer = 1
)

func (m *Machine) describeMember(member *consumerMember) kmsg.ConsumerGroupDescribeResponseGroupMember {
	out := kmsg.NewConsumerGroupDescribeResponseGroupMember()
	out.MemberID = member.id
	out.InstanceID = stringOrNil(member.instanceID)
	out.RackID = stringOrNil(member.rack)
	out.MemberEpoch = member.epoch
	out.ClientID = member.client.ID
	out.ClientHost = member.client.Host
	out.SubscribedTopics = member.names.list
	out.SubscribedTopicRegex = stringOrNil(member.regex)
	out.Assignment = m.describeAssignment(member.assigned)
	out.TargetAssignment = m.describeAssignment(member.target)
	out.MemberType = memberTypeConsumer
	if member.classic != nil {
		out.MemberType = memberTypeClassic
	}
	return out
}

// describeAssignment names the topics, as far as they exist.
func (m *Machine) describeAssignment(set partitionSet) kmsg.Assignment {
	out := kmsg.NewAssignment()
	for _, t := range set {
		if topic, ok := m.topics.TopicByID(t.id); ok {
			tp := kmsg.NewAssignmentTopicPartition()
			tp.TopicID, tp.Topic, tp.Partitions = t.id, topic.Name, t.partitions
			out.TopicPartitions = append(out.TopicPartitions, tp)
		}
	}
	return out
}
