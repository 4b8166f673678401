package interop

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerGroupsArea sends the requests of the consumer protocol (KIP-848).
func consumerGroupsArea(p *pair) {
	for v := int16(0); v <= 1; v++ {
		p.consumerLife(v)
		p.refusedHeartbeats(v)
	}
	for _, group := range []string{"unknown", ""} {
		p.each(fmt.Sprintf("describe %q, which there is not", group), 0, 1, func(*side, int16) kmsg.Request { return describeConsumersRequest(group) })
	}
	p.each("describe a classic group", 0, 1, func(*side, int16) kmsg.Request { return describeConsumersRequest("life-9") })
	p.each("list", 0, 5, func(*side, int16) kmsg.Request { return listGroupsRequest() })
}

// consumerLife is the life of a group of one member.
func (p *pair) consumerLife(v int16) {
	p.t.Helper()
	group, member := fmt.Sprintf("consumers-%d", v), fmt.Sprintf("the consumer of %d", v)
	said := func(what string) string { return fmt.Sprintf("%s, life %d", what, v) }
	p.kafka.joinedAt, p.fanfold.joinedAt = 0, 0
	beat := func(what string, epoch int32, build func(req *kmsg.ConsumerGroupHeartbeatRequest, s *side)) {
		p.t.Helper()
		k, f := p.ask(said(what), v, func(s *side) kmsg.Request {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Group, req.MemberID, req.MemberEpoch = group, s.memberIDs[member], s.memberEpoch(epoch)
			if v > 0 && req.MemberID == "" {
				req.MemberID = "AAAAAAAAAAAAAAAAAAAAAQ"
			}
			if build != nil {
				build(req, s)
			}
			return req
		})
		p.kafka.meet(member, k)
		p.fanfold.meet(member, f)
	}
	full := func(owned ...int32) func(req *kmsg.ConsumerGroupHeartbeatRequest, s *side) {
		return func(req *kmsg.ConsumerGroupHeartbeatRequest, s *side) {
			req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{groupTopic}
			req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			if len(owned) > 0 {
				req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: s.ids[groupTopic], Partitions: owned})
			}
		}
	}
	admin := func(what string) {
		p.t.Helper()
		p.ask(said("describe"+what), v, func(*side) kmsg.Request { return describeConsumersRequest(group) })
		p.each(said("describe as classic"+what), 0, 6, func(*side, int16) kmsg.Request { return describeGroupsRequest(group) })
		p.ask(said("list"+what), 5, func(*side) kmsg.Request {
			req := listGroupsRequest()
			req.TypesFilter = []string{"consumer"}
			return req
		})
		p.ask(said("delete"+what), 2, func(*side) kmsg.Request { return deleteGroupsRequest(group) })
	}
	beat("join", 0, full())
	beat("nothing new", 1, nil)
	admin(" with one member")
	beat("it has what it was given", 1, full(0, 1))
	beat("an epoch too high", 2, nil)
	beat("an epoch too low", -3, nil)
	for commits := int16(2); commits <= 10; commits++ {
		for _, epoch := range []int32{1, 0, 2, -1} {
			p.ask(said(fmt.Sprintf("commit at epoch %d", epoch)), commits, func(s *side) kmsg.Request {
				return s.commitRequest(commits, group, s.memberIDs[member], s.memberEpoch(epoch), 0, int64(commits))
			})
		}
	}
	for _, epoch := range []int32{1, 0, 2, -1} {
		p.each(said(fmt.Sprintf("fetch at epoch %d", epoch)), 9, 10, func(s *side, v int16) kmsg.Request {
			req := s.offsetFetchRequest(v, group, true)
			id := s.memberIDs[member]
			req.Groups[0].MemberID, req.Groups[0].MemberEpoch = &id, s.memberEpoch(epoch)
			return req
		})
	}
	p.each(said("fetch of nobody"), 1, 10, func(s *side, v int16) kmsg.Request { return s.offsetFetchRequest(v, group, true) })
	p.ask(said("delete an offset that is read"), 0, func(*side) kmsg.Request { return offsetDeleteRequest(group, groupTopic, 0) })
	beat("leave", -1, nil)
	beat("leave again", -1, nil)
	beat("after it left", 1, nil)
	admin(" without members")
}

// meet takes down the id that the member has.
func (s *side) meet(member string, resp kmsg.Response) {
	if resp, ok := resp.(*kmsg.ConsumerGroupHeartbeatResponse); ok && resp.MemberID != nil && *resp.MemberID != "" {
		s.memberIDs[member], s.memberNames[*resp.MemberID] = *resp.MemberID, member
		if s.joinedAt == 0 {
			s.joinedAt = resp.MemberEpoch
		}
	}
}

// memberEpoch is an epoch to send: 1 stands for the one in which the first
// member joined, 2 for the next. Where they begin is a broker's choice.
func (s *side) memberEpoch(epoch int32) int32 {
	if epoch > 0 {
		epoch += s.joinedAt - 1
	}
	return epoch
}

func (s *side) memberEpochName(epoch int32) string {
	switch {
	case epoch <= 0:
		return fmt.Sprint(epoch)
	case s.joinedAt == 0:
		return "an epoch"
	}
	return fmt.Sprintf("first%+d", epoch-s.joinedAt)
}

// refusedHeartbeats are requests that no broker takes.
func (p *pair) refusedHeartbeats(v int16) {
	p.t.Helper()
	empty, regex := "", "("
	for _, c := range []struct {
		label string
		build func(req *kmsg.ConsumerGroupHeartbeatRequest)
		since int16
	}{
		{"no group", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.Group = "" }, 0},
		{"no member id", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.MemberID = "" }, 1},
		{"empty instance id", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.InstanceID = &empty }, 0},
		{"empty rack", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.RackID = &empty }, 0},
		{"empty assignor", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.ServerAssignor = &empty }, 0},
		{"unknown assignor", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.ServerAssignor = kmsg.StringPtr("best") }, 0},
		{"no rebalance time-out", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.RebalanceTimeoutMillis = -1 }, 0},
		{"no subscription", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.SubscribedTopicNames = nil }, 0},
		{"no owned partitions", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.Topics = nil }, 0},
		{"owned partitions at the beginning", func(req *kmsg.ConsumerGroupHeartbeatRequest) {
			req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: [16]byte{1}, Partitions: []int32{0}})
		}, 0},
		{"an epoch without a group", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.MemberEpoch = 1 }, 0},
		{"leaving a group that there is not", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.MemberEpoch = -1 }, 0},
		{"an epoch that is none", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.MemberEpoch = -7 }, 0},
		{"a regular expression that is none", func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.SubscribedTopicRegex = &regex }, 1},
		{"a classic group's name", func(req *kmsg.ConsumerGroupHeartbeatRequest) {
			req.Group, req.MemberEpoch = "life-9", 1
		}, 0},
	} {
		if v < c.since {
			continue
		}
		p.ask(c.label, v, func(*side) kmsg.Request {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Group, req.MemberID, req.RebalanceTimeoutMillis = "refused-"+fmt.Sprint(v), "AAAAAAAAAAAAAAAAAAAAAg", 60_000
			req.SubscribedTopicNames, req.Topics = []string{groupTopic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			c.build(req)
			return req
		})
	}
}

func describeConsumersRequest(groups ...string) *kmsg.ConsumerGroupDescribeRequest {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = slices.Clone(groups)
	return req
}
