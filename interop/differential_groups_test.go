package interop

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// withoutDelay makes groups begin at once.
var withoutDelay = map[string]string{"group.initial.rebalance.delay.ms": "0"}

// groupTopic is what the groups of the comparison read; it has two partitions.
const groupTopic = "g"

// classicGroupsArea sends every request of the classic protocol, of offsets
// and of groups' administration. Groups have one member: package groupdiff
// compares sequences of several.
func classicGroupsArea(p *pair) {
	p.topic(groupTopic, 2)
	p.findCoordinators()
	p.ofUnknownGroups()
	for v := int16(0); v <= 9; v++ {
		p.groupLife(v)
	}
	p.refusedJoins()
	p.simpleConsumer()
	p.offsetDeletion()
}

// findCoordinators asks first until the internal topic is there.
func (p *pair) findCoordinators() {
	p.t.Helper()
	for _, s := range []*side{p.kafka, p.fanfold} {
		deadline := time.Now().Add(30 * time.Second)
		for {
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Version, req.Groups = 5, []string{"warm"}
			resp, err := s.wire.ask(req)
			if err == nil {
				if code := resp.(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode; code == 0 {
					break
				}
			}
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorKey = "warm"
			if _, err := s.wire.ask(find); err != nil || time.Now().After(deadline) {
				p.t.Fatalf("%s: no coordinator: %v", s.name, err)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	find := func(kind int8, keys ...string) func(*side, int16) kmsg.Request {
		return func(*side, int16) kmsg.Request {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorType, req.CoordinatorKeys = kind, keys
			if len(keys) > 0 {
				req.CoordinatorKey = keys[0]
			}
			return req
		}
	}
	p.each("of a group", 0, 6, find(0, "a"))
	p.each("of a group without a name", 0, 6, find(0, ""))
	p.each("of two groups", 4, 6, find(0, "a", "b"))
	p.each("of no group", 4, 6, find(0))
	p.each("of a transaction", 1, 6, find(1, "a"))
	p.each("of share groups' state", 6, 6, find(2, "a:AAAAAAAAAAAAAAAAAAAAAA:0"))
	p.each("of share groups' state, before its time", 1, 5, find(2, "a:AAAAAAAAAAAAAAAAAAAAAA:0"))
	p.each("of what is not known", 1, 6, find(9, "a"))
}

// ofUnknownGroups sends every request with a group that there is not, and with
// none.
func (p *pair) ofUnknownGroups() {
	p.t.Helper()
	for _, group := range []string{"unknown", ""} {
		of := fmt.Sprintf(" of group %q", group)
		p.each("join with an id"+of, 0, 9, func(*side, int16) kmsg.Request { return joinRequest(group, "nobody", "consumer", "range") })
		p.each("sync"+of, 0, 5, func(*side, int16) kmsg.Request { return syncRequest(group, "nobody", 1) })
		p.each("heartbeat"+of, 0, 4, func(*side, int16) kmsg.Request { return heartbeatRequest(group, "nobody", 1) })
		p.each("leave"+of, 0, 5, func(_ *side, v int16) kmsg.Request { return leaveRequest(v, group, "nobody") })
		p.each("commit by a member"+of, 2, 10, func(s *side, v int16) kmsg.Request { return s.commitRequest(v, group, "nobody", 1, 0, 5) })
		p.each("fetch"+of, 1, 10, func(s *side, v int16) kmsg.Request { return s.offsetFetchRequest(v, group, true) })
		p.each("fetch all"+of, 2, 10, func(s *side, v int16) kmsg.Request { return s.offsetFetchRequest(v, group, false) })
		p.each("describe"+of, 0, 6, func(*side, int16) kmsg.Request { return describeGroupsRequest(group) })
		p.each("describe twice"+of, 0, 6, func(*side, int16) kmsg.Request { return describeGroupsRequest(group, group) })
		p.each("delete"+of, 0, 3, func(*side, int16) kmsg.Request { return deleteGroupsRequest(group) })
		p.ask("delete offsets"+of, 0, func(*side) kmsg.Request { return offsetDeleteRequest(group, groupTopic, 0) })
	}
}

// groupLife is the life of a group of one member, in version v of JoinGroup and
// those of the other requests that came with it.
func (p *pair) groupLife(v int16) {
	p.t.Helper()
	group, member := fmt.Sprintf("life-%d", v), fmt.Sprintf("the member of %d", v)
	said := func(what string) string { return fmt.Sprintf("%s, life %d", what, v) }
	p.join(said("join"), v, group, member)
	if v >= 4 { // since then the first answer is an id
		p.join(said("join with the id"), v, group, member)
	}
	ask := func(what string, v int16, build func(s *side) kmsg.Request) {
		p.t.Helper()
		p.ask(said(what), v, build)
	}
	list := func(what string) {
		p.t.Helper()
		ask("list"+what, min(v, 5), func(*side) kmsg.Request { return listGroupsRequest() })
		ask("describe"+what, min(v, 6), func(*side) kmsg.Request { return describeGroupsRequest(group) })
		ask("delete"+what, min(v, 3), func(*side) kmsg.Request { return deleteGroupsRequest(group) })
	}
	list(" before the assignment")
	beat := func(what string, generation int32) {
		p.t.Helper()
		ask("heartbeat"+what, min(v, 4), func(s *side) kmsg.Request { return heartbeatRequest(group, s.memberIDs[member], generation) })
	}
	beat(" before the assignment", 1)
	commits := max(v+1, 2)
	commit := func(what string, generation, partition int32) {
		p.t.Helper()
		ask("commit"+what, commits, func(s *side) kmsg.Request {
			return s.commitRequest(commits, group, s.memberIDs[member], generation, partition, 7)
		})
	}
	commit(" before the assignment", 1, 0)
	ask("sync", min(v, 5), func(s *side) kmsg.Request { return syncRequest(group, s.memberIDs[member], 1) })
	ask("sync again", min(v, 5), func(s *side) kmsg.Request { return syncRequest(group, s.memberIDs[member], 1) })
	ask("sync of another generation", min(v, 5), func(s *side) kmsg.Request { return syncRequest(group, s.memberIDs[member], 9) })
	list("")
	beat("", 1)
	beat(" of another generation", 2)
	commit("", 1, 0)
	commit(" of another generation", 3, 1)
	commit(" by nobody", -1, 1)
	commit(" to no partition", 1, 9)
	ask("fetch", v+1, func(s *side) kmsg.Request { return s.offsetFetchRequest(v+1, group, true) })
	ask("leave of a stranger", min(v, 5), func(*side) kmsg.Request { return leaveRequest(v, group, "nobody") })
	ask("delete offsets", 0, func(*side) kmsg.Request { return offsetDeleteRequest(group, groupTopic, 0) })
	ask("leave", min(v, 5), func(s *side) kmsg.Request { return leaveRequest(v, group, s.memberIDs[member]) })
	beat(" after it left", 1)
	list(" after it left")
	ask("fetch from what was deleted", v+1, func(s *side) kmsg.Request { return s.offsetFetchRequest(v+1, group, true) })
}

// refusedJoins are joins that no broker takes.
func (p *pair) refusedJoins() {
	p.t.Helper()
	for _, c := range []struct {
		label string
		build func(req *kmsg.JoinGroupRequest)
	}{
		{"session too short", func(req *kmsg.JoinGroupRequest) { req.SessionTimeoutMillis = 5_999 }},
		{"session too long", func(req *kmsg.JoinGroupRequest) { req.SessionTimeoutMillis = 1_800_001 }},
		{"no protocol", func(req *kmsg.JoinGroupRequest) { req.Protocols = nil }},
		{"no protocol type", func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "" }},
	} {
		p.each(c.label, 0, 9, func(*side, int16) kmsg.Request {
			req := joinRequest("refused", "", "consumer", "range")
			c.build(req)
			return req
		})
	}
	for _, instance := range []string{"i", "", ".", strings.Repeat("i", 250)} {
		p.each(fmt.Sprintf("instance id %.10q of %d characters before its time", instance, len(instance)), 5, 9, func(_ *side, v int16) kmsg.Request {
			req := joinRequest(fmt.Sprintf("static-%d-%d", len(instance), v), "", "consumer", "range")
			req.InstanceID = &instance
			return req
		})
	}
}

// simpleConsumer commits without being a member.
func (p *pair) simpleConsumer() {
	p.t.Helper()
	for v := int16(2); v <= 10; v++ {
		group := fmt.Sprintf("simple-%d", v)
		commit := func(what string, build func(s *side) *kmsg.OffsetCommitRequest) {
			p.t.Helper()
			p.ask(what, v, func(s *side) kmsg.Request { return build(s) })
		}
		commit("commit of nobody", func(s *side) *kmsg.OffsetCommitRequest { return s.commitRequest(v, group, "", -1, 0, 5) })
		commit("commit of an unknown topic", func(s *side) *kmsg.OffsetCommitRequest {
			req := s.commitRequest(v, group, "", -1, 0, 5)
			req.Topics[0].Topic, req.Topics[0].TopicID = "unknown", [16]byte{1}
			return req
		})
		commit("commit of an unknown partition", func(s *side) *kmsg.OffsetCommitRequest { return s.commitRequest(v, group, "", -1, 4, 5) })
		commit("commit of -1", func(s *side) *kmsg.OffsetCommitRequest { return s.commitRequest(v, group, "", -1, 1, -1) })
		commit("commit of -2", func(s *side) *kmsg.OffsetCommitRequest { return s.commitRequest(v, group, "", -1, 1, -2) })
		for _, size := range []int{0, 4096, 4097} {
			commit(fmt.Sprintf("commit with %d bytes of metadata", size), func(s *side) *kmsg.OffsetCommitRequest {
				req := s.commitRequest(v, group, "", -1, 1, 6)
				req.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("m", size))
				return req
			})
		}
		commit("commit without topics", func(s *side) *kmsg.OffsetCommitRequest {
			req := s.commitRequest(v, group, "", -1, 1, 6)
			req.Topics = nil
			return req
		})
		commit("commit with a member's id", func(s *side) *kmsg.OffsetCommitRequest { return s.commitRequest(v, group, "m", -1, 0, 6) })
		commit("commit with a generation", func(s *side) *kmsg.OffsetCommitRequest { return s.commitRequest(v, group, "", 1, 0, 6) })
		p.each("fetch after commits of version "+fmt.Sprint(v), 1, 10, func(s *side, v int16) kmsg.Request { return s.offsetFetchRequest(v, group, true) })
		p.each("fetch all after commits of version "+fmt.Sprint(v), 2, 10, func(s *side, v int16) kmsg.Request { return s.offsetFetchRequest(v, group, false) })
		p.ask("describe simple", 6, func(*side) kmsg.Request { return describeGroupsRequest(group) })
	}
	p.each("list with simple groups", 0, 5, func(*side, int16) kmsg.Request { return listGroupsRequest() })
	for _, states := range []string{"Empty", "empty", "Stable", "Nonsense", "Stable,Empty"} {
		p.each("list those that are "+states, 4, 5, func(*side, int16) kmsg.Request {
			req := listGroupsRequest()
			req.StatesFilter = strings.Split(states, ",")
			return req
		})
	}
	for _, types := range []string{"classic", "Classic", "consumer", "nonsense"} {
		p.ask("list those of type "+types, 5, func(*side) kmsg.Request {
			req := listGroupsRequest()
			req.TypesFilter = strings.Split(types, ",")
			return req
		})
	}
}

func (p *pair) offsetDeletion() {
	p.t.Helper()
	const group = "simple-9"
	p.ask("delete an offset", 0, func(*side) kmsg.Request { return offsetDeleteRequest(group, groupTopic, 0) })
	p.ask("delete it again", 0, func(*side) kmsg.Request { return offsetDeleteRequest(group, groupTopic, 0) })
	p.ask("delete that of an unknown topic", 0, func(*side) kmsg.Request { return offsetDeleteRequest(group, "unknown", 0) })
	p.ask("delete that of an unknown partition", 0, func(*side) kmsg.Request { return offsetDeleteRequest(group, groupTopic, 7) })
	p.ask("fetch after deletion", 9, func(s *side) kmsg.Request { return s.offsetFetchRequest(9, group, false) })
	p.each("delete simple groups", 0, 3, func(_ *side, v int16) kmsg.Request { return deleteGroupsRequest(fmt.Sprintf("simple-%d", v+2)) })
	p.ask("delete two groups, one unknown", 2, func(*side) kmsg.Request { return deleteGroupsRequest("simple-6", "unknown") })
	p.ask("delete a group twice", 2, func(*side) kmsg.Request { return deleteGroupsRequest("simple-7", "simple-7") })
	p.ask("list after deletion", 5, func(*side) kmsg.Request { return listGroupsRequest() })
}

// join joins, and takes down the id that each broker gives the member.
func (p *pair) join(label string, version int16, group, member string) {
	p.t.Helper()
	k, f := p.ask(label, version, func(s *side) kmsg.Request { return joinRequest(group, s.memberIDs[member], "consumer", "range") })
	for s, resp := range map[*side]kmsg.Response{p.kafka: k, p.fanfold: f} {
		if resp, ok := resp.(*kmsg.JoinGroupResponse); ok && resp.MemberID != "" {
			s.memberIDs[member], s.memberNames[resp.MemberID] = resp.MemberID, member
		}
	}
}

func (s *side) memberName(id string) string {
	if name, ok := s.memberNames[id]; ok {
		return name
	}
	if len(id) >= 22 { // a uuid, and what the broker puts in front of it
		return "a new member"
	}
	return fmt.Sprintf("%q", id)
}

// consumerMetadata is what a member of the classic protocol says of itself: it
// subscribes to groupTopic.
var consumerMetadata = []byte("\x00\x01\x00\x00\x00\x01\x00\x01" + groupTopic + "\xff\xff\xff\xff\x00\x00\x00\x00")

// consumerAssignment gives it both partitions.
var consumerAssignment = []byte("\x00\x01\x00\x00\x00\x01\x00\x01" + groupTopic + "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff")

func joinRequest(group, member, protocolType, protocol string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, member, protocolType
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 300_000, 300_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: protocol, Metadata: consumerMetadata}}
	return req
}

func syncRequest(group, member string, generation int32) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: consumerAssignment}}
	return req
}

func heartbeatRequest(group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	return req
}

func leaveRequest(version int16, group, member string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = group, member
	if version >= 3 {
		req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}}
	}
	return req
}

func (s *side) commitRequest(version int16, group, member string, generation, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, group, member, generation
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset, part.Metadata = partition, offset, kmsg.StringPtr("said")
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: groupTopic, TopicID: s.ids[groupTopic], Partitions: []kmsg.OffsetCommitRequestTopicPartition{part}}}
	return req
}

// offsetFetchRequest asks for three partitions, one of which there is not, or
// for all that the group has committed.
func (s *side) offsetFetchRequest(version int16, group string, named bool) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = version, group
	of := kmsg.NewOffsetFetchRequestGroup()
	of.Group = group
	if named {
		partitions := []int32{0, 1, 7}
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: groupTopic, Partitions: partitions}}
		of.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: groupTopic, TopicID: s.ids[groupTopic], Partitions: partitions}}
	}
	req.Groups = append(req.Groups, of)
	return req
}

func describeGroupsRequest(groups ...string) *kmsg.DescribeGroupsRequest {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = groups
	return req
}

func listGroupsRequest() *kmsg.ListGroupsRequest { return kmsg.NewPtrListGroupsRequest() }

func deleteGroupsRequest(groups ...string) *kmsg.DeleteGroupsRequest {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = groups
	return req
}

func offsetDeleteRequest(group, topic string, partition int32) *kmsg.OffsetDeleteRequest {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	req.Topics = []kmsg.OffsetDeleteRequestTopic{{
		Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}},
	}}
	return req
}
