package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hostileGroups is a broker under attack by requests about groups. Beside them
// a group of each protocol has a member, which must not notice.
type hostileGroups struct {
	*victim
	topicID [16]byte
	classic *rawMember
	modern  *rawMember
	groups  int // made up names so far
}

// rawMember is a member that sends its requests by itself.
type rawMember struct {
	*rawConn
	group, id string
	epoch     int32 // or generation
}

const (
	classicVictims = "classic-victims" // groups with a well-behaved member
	modernVictims  = "consumer-victims"
	attackedTopic  = "attacked" // of four partitions
)

func newHostileGroups(t *testing.T, args ...string) *hostileGroups {
	t.Helper()
	h := &hostileGroups{victim: newVictim(t, append([]string{
		"--set", "group.initial.rebalance.delay.ms=0", "--set", "offsets.topic.num.partitions=1"}, args...)...)}
	h.createTopic(attackedTopic, 4)
	c := h.dial()
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 12
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(attackedTopic)
	meta.Topics = append(meta.Topics, rt)
	h.topicID = c.answer(meta).(*kmsg.MetadataResponse).Topics[0].TopicID
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey = "any"
	for deadline := time.Now().Add(answeredWithin); ; {
		if c.answer(find).(*kmsg.FindCoordinatorResponse).ErrorCode == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no coordinator")
		}
		pause(t.Context(), 10*time.Millisecond)
	}
	h.classic = h.enterClassic(classicVictims, "")
	h.modern = h.enterModern(modernVictims, "a-member", "")
	return h
}

// on lets a subtest's failures be its own.
func (h *hostileGroups) on(t *testing.T) *hostileGroups {
	copied := *h
	copied.victim = h.victim.on(t)
	return &copied
}

// unharmed sees that the members of the two groups go on.
func (h *hostileGroups) unharmed() {
	h.t.Helper()
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID, beat.Generation = 4, h.classic.group, h.classic.id, h.classic.epoch
	if code := h.classic.answer(beat).(*kmsg.HeartbeatResponse).ErrorCode; code != 0 {
		h.t.Errorf("a well-behaved member of a classic group: %v", kerr.ErrorForCode(code))
	}
	live := liveRequest(h.modern.group, h.modern.id, h.modern.epoch)
	if resp := h.modern.answer(live).(*kmsg.ConsumerGroupHeartbeatResponse); resp.ErrorCode != 0 || resp.MemberEpoch != h.modern.epoch {
		h.t.Errorf("a well-behaved member of a consumer group: %v, epoch %d instead of %d", kerr.ErrorForCode(resp.ErrorCode), resp.MemberEpoch, h.modern.epoch)
	}
}

// freshGroup is a group that was not named before.
func (h *hostileGroups) freshGroup() string {
	h.groups++
	return fmt.Sprintf("attacked-%s-%d", strings.ReplaceAll(h.t.Name(), "/", "-"), h.groups)
}

func joinRequest(group, id string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, group, id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 300_000, 300_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: consumerMetadata()}}
	return req
}

func consumerMetadata() []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = []string{attackedTopic}
	return m.AppendTo(nil)
}

func syncRequest(group, id string, generation int32, assignments ...kmsg.SyncGroupRequestGroupAssignment) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, group, id, generation
	req.GroupAssignment = assignments
	return req
}

func liveRequest(group, id string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, group, id, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMillis = 300_000
		req.SubscribedTopicNames = []string{attackedTopic}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

func commitRequest(version int16, group, id string, generation int32, topic string, partition int32, metadata string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, group, id, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = partition, 1, &metadata
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// enterClassic becomes the only member of a classic group.
func (h *hostileGroups) enterClassic(group, instance string) *rawMember {
	h.t.Helper()
	m := &rawMember{rawConn: h.dial(), group: group}
	join := joinRequest(group, "")
	if instance != "" {
		join.InstanceID = &instance
	}
	resp := m.answer(join).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode == kerr.MemberIDRequired.Code {
		join.MemberID = resp.MemberID
		resp = m.answer(join).(*kmsg.JoinGroupResponse)
	}
	if resp.ErrorCode != 0 {
		h.t.Fatalf("joining %s: %v", group, kerr.ErrorForCode(resp.ErrorCode))
	}
	m.id, m.epoch = resp.MemberID, resp.Generation
	sync := syncRequest(group, m.id, m.epoch, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: []byte("all")})
	if resp := m.answer(sync).(*kmsg.SyncGroupResponse); resp.ErrorCode != 0 || string(resp.MemberAssignment) != "all" {
		h.t.Fatalf("assigning %s: %v %q", group, kerr.ErrorForCode(resp.ErrorCode), resp.MemberAssignment)
	}
	return m
}

// enterModern becomes a member of a group of KIP-848.
func (h *hostileGroups) enterModern(group, id, instance string) *rawMember {
	h.t.Helper()
	m := &rawMember{rawConn: h.dial(), group: group, id: id}
	join := liveRequest(group, id, 0)
	if instance != "" {
		join.InstanceID = &instance
	}
	resp := m.answer(join).(*kmsg.ConsumerGroupHeartbeatResponse)
	if resp.ErrorCode != 0 {
		h.t.Fatalf("joining %s: %v", group, kerr.ErrorForCode(resp.ErrorCode))
	}
	m.epoch = resp.MemberEpoch
	return m
}

// errorOf is the first error in an answer about one group.
func errorOf(resp kmsg.Response) error {
	code := int16(0)
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		code = r.ErrorCode
	case *kmsg.SyncGroupResponse:
		code = r.ErrorCode
	case *kmsg.HeartbeatResponse:
		code = r.ErrorCode
	case *kmsg.LeaveGroupResponse:
		if code = r.ErrorCode; code == 0 && len(r.Members) > 0 {
			code = r.Members[0].ErrorCode
		}
	case *kmsg.OffsetCommitResponse:
		code = r.Topics[0].Partitions[0].ErrorCode
	case *kmsg.OffsetFetchResponse:
		if code = r.ErrorCode; len(r.Groups) > 0 {
			code = r.Groups[0].ErrorCode
		}
	case *kmsg.OffsetDeleteResponse:
		if code = r.ErrorCode; code == 0 && len(r.Topics) > 0 {
			code = r.Topics[0].Partitions[0].ErrorCode
		}
	case *kmsg.DescribeGroupsResponse:
		code = r.Groups[0].ErrorCode
	case *kmsg.DeleteGroupsResponse:
		code = r.Groups[0].ErrorCode
	case *kmsg.ConsumerGroupHeartbeatResponse:
		code = r.ErrorCode
	case *kmsg.ConsumerGroupDescribeResponse:
		code = r.Groups[0].ErrorCode
	default:
		panic(fmt.Sprintf("%T", resp))
	}
	return kerr.ErrorForCode(code)
}

// attack is one request and its answer.
type attack struct {
	name string
	req  kmsg.Request
	want *kerr.Error // nil: none
}

// TestHostileGroups sends what no member should, and what no group can be
// about. Each gets Kafka's own error, and no group is harmed.
func TestHostileGroups(t *testing.T) {
	h := newHostileGroups(t)
	for _, list := range []struct {
		name    string
		attacks []attack
	}{
		{"of an unknown group", h.unknownGroup()},
		{"of an unknown member", h.unknownMember()},
		{"of a wrong generation or epoch", h.wrongEpoch()},
		{"of what is not there", h.unknownTopics()},
		{"that cannot be", h.impossible()},
		{"with names of 32 KB", h.longNames(strings.Repeat("n", longestString))},
		{"with too much", h.tooMuch()},
	} {
		t.Run(list.name, func(t *testing.T) {
			h := h.on(t)
			for _, a := range list.attacks {
				c := h.dial()
				c.send(requestFrame(a.req))
				resp, err := c.decode(a.req)
				name := fmt.Sprintf("%s v%d %s", kmsg.NameForKey(a.req.Key()), a.req.GetVersion(), a.name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				got := errorOf(resp)
				if a.want == nil && got != nil || a.want != nil && !errors.Is(got, a.want) {
					t.Errorf("%s: %v, want %v", name, got, a.want)
				}
				c.proves()
				c.Close()
				h.unharmed()
			}
		})
	}
	t.Run("with names of 100 KB", func(t *testing.T) {
		// What a string cannot be is no request: as with Kafka, the connection ends.
		h := h.on(t)
		for _, a := range h.longNames(strings.Repeat("n", 100<<10)) {
			c := h.dial()
			c.send(requestFrame(a.req))
			c.closed()
			h.unharmed()
		}
	})
	t.Run("a second member with the same instance id", func(t *testing.T) { h.on(t).secondInstance() })
	t.Run("an assignment that names strangers", func(t *testing.T) { h.on(t).strangers() })
	h.served()
}

func request[R kmsg.Request](version int16, req R, set func(R)) R {
	req.SetVersion(version)
	set(req)
	return req
}

func heartbeatOf(group, id string, generation int32) kmsg.Request {
	return request(4, kmsg.NewPtrHeartbeatRequest(), func(r *kmsg.HeartbeatRequest) {
		r.Group, r.MemberID, r.Generation = group, id, generation
	})
}

func leaveOf(version int16, group, id string) kmsg.Request {
	return request(version, kmsg.NewPtrLeaveGroupRequest(), func(r *kmsg.LeaveGroupRequest) {
		r.Group = group
		if version < 3 {
			r.MemberID = id
			return
		}
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		r.Members = append(r.Members, m)
	})
}

func fetchOf(version int16, group string, id *string, epoch int32) kmsg.Request {
	return request(version, kmsg.NewPtrOffsetFetchRequest(), func(r *kmsg.OffsetFetchRequest) {
		r.Group = group
		r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: attackedTopic, Partitions: []int32{0}}}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = group, id, epoch
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: attackedTopic, Partitions: []int32{0}}}
		r.Groups = append(r.Groups, g)
	})
}

func deleteOffsetOf(group, topic string) kmsg.Request {
	return request(0, kmsg.NewPtrOffsetDeleteRequest(), func(r *kmsg.OffsetDeleteRequest) {
		r.Group = group
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = topic
		t.Partitions = []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}
		r.Topics = append(r.Topics, t)
	})
}

func describeOf(version int16, group string) kmsg.Request {
	return request(version, kmsg.NewPtrDescribeGroupsRequest(), func(r *kmsg.DescribeGroupsRequest) { r.Groups = []string{group} })
}

func deleteOf(group string) kmsg.Request {
	return request(2, kmsg.NewPtrDeleteGroupsRequest(), func(r *kmsg.DeleteGroupsRequest) { r.Groups = []string{group} })
}

func describeModernOf(group string) kmsg.Request {
	return request(1, kmsg.NewPtrConsumerGroupDescribeRequest(), func(r *kmsg.ConsumerGroupDescribeRequest) { r.Groups = []string{group} })
}

func (h *hostileGroups) unknownGroup() []attack {
	return []attack{
		{"", heartbeatOf("none", "a", 3), kerr.UnknownMemberID},
		{"", syncRequest("none", "a", 3), kerr.UnknownMemberID},
		{"", leaveOf(1, "none", "a"), kerr.UnknownMemberID},
		{"", leaveOf(5, "none", "a"), kerr.UnknownMemberID},
		{"", joinRequest("none", "a"), kerr.UnknownMemberID},
		{"", commitRequest(8, "none", "a", 3, attackedTopic, 0, ""), kerr.IllegalGeneration},
		{"", commitRequest(9, "none", "a", 3, attackedTopic, 0, ""), kerr.GroupIDNotFound},
		{"", fetchOf(7, "none", nil, -1), nil},
		{"", fetchOf(9, "none", kmsg.StringPtr("a"), 3), nil},
		{"", deleteOffsetOf("none", attackedTopic), kerr.GroupIDNotFound},
		{"", describeOf(5, "none"), nil}, // a dead group
		{"", describeOf(6, "none"), kerr.GroupIDNotFound},
		{"", deleteOf("none"), kerr.GroupIDNotFound},
		{"", liveRequest("none", "a", 3), kerr.GroupIDNotFound},
		{"that leaves", liveRequest("none", "a", -1), kerr.GroupIDNotFound},
		{"", describeModernOf("none"), kerr.GroupIDNotFound},
		{"of the other kind", describeModernOf(classicVictims), kerr.GroupIDNotFound},
		{"of the other kind", describeOf(6, modernVictims), kerr.GroupIDNotFound},
	}
}

func (h *hostileGroups) unknownMember() []attack {
	return []attack{
		{"", heartbeatOf(classicVictims, "a-stranger", h.classic.epoch), kerr.UnknownMemberID},
		{"", heartbeatOf(classicVictims, "", h.classic.epoch), kerr.UnknownMemberID},
		{"", syncRequest(classicVictims, "a-stranger", h.classic.epoch), kerr.UnknownMemberID},
		{"", leaveOf(0, classicVictims, "a-stranger"), kerr.UnknownMemberID},
		{"", leaveOf(5, classicVictims, "a-stranger"), kerr.UnknownMemberID},
		{"", joinRequest(classicVictims, "a-stranger"), kerr.UnknownMemberID},
		{"", commitRequest(8, classicVictims, "a-stranger", h.classic.epoch, attackedTopic, 0, ""), kerr.UnknownMemberID},
		{"of nobody", commitRequest(8, classicVictims, "", -1, attackedTopic, 0, ""), kerr.UnknownMemberID},
		{"", liveRequest(modernVictims, "a-stranger", h.modern.epoch), kerr.UnknownMemberID},
		{"that leaves", liveRequest(modernVictims, "a-stranger", -1), kerr.UnknownMemberID},
		{"", commitRequest(9, modernVictims, "a-stranger", h.modern.epoch, attackedTopic, 0, ""), kerr.UnknownMemberID},
		{"of nobody", commitRequest(9, modernVictims, "", -1, attackedTopic, 0, ""), kerr.UnknownMemberID},
		{"", fetchOf(9, modernVictims, kmsg.StringPtr("a-stranger"), h.modern.epoch), kerr.UnknownMemberID},
	}
}

func (h *hostileGroups) wrongEpoch() []attack {
	return []attack{
		{"", heartbeatOf(classicVictims, h.classic.id, h.classic.epoch+1), kerr.IllegalGeneration},
		{"", heartbeatOf(classicVictims, h.classic.id, -7), kerr.IllegalGeneration},
		{"", syncRequest(classicVictims, h.classic.id, h.classic.epoch-1), kerr.IllegalGeneration},
		{"", commitRequest(8, classicVictims, h.classic.id, h.classic.epoch+1, attackedTopic, 0, ""), kerr.IllegalGeneration},
		{"", liveRequest(modernVictims, h.modern.id, h.modern.epoch+1), kerr.FencedMemberEpoch},
		{"", liveRequest(modernVictims, h.modern.id, 1<<31-1), kerr.FencedMemberEpoch},
		{"", commitRequest(9, modernVictims, h.modern.id, h.modern.epoch+1, attackedTopic, 0, ""), kerr.StaleMemberEpoch},
		{"", commitRequest(8, modernVictims, h.modern.id, h.modern.epoch, attackedTopic, 0, ""), kerr.UnsupportedVersion},
		{"", fetchOf(9, modernVictims, &h.modern.id, h.modern.epoch+1), kerr.StaleMemberEpoch},
		{"below all", liveRequest(modernVictims, h.modern.id, -3), kerr.InvalidRequest},
		{"of a dynamic member that leaves for a while", liveRequest(modernVictims, h.modern.id, -2), kerr.InvalidRequest},
	}
}

func (h *hostileGroups) unknownTopics() []attack {
	byID := commitRequest(10, "simple", "", -1, "", 0, "")
	byID.Topics[0].TopicID = [16]byte{1}
	return []attack{
		{"of an unknown topic", commitRequest(8, "simple", "", -1, "no-such-topic", 0, ""), kerr.UnknownTopicOrPartition},
		{"of an unknown topic id", byID, kerr.UnknownTopicID},
		{"of a partition too high", commitRequest(8, "simple", "", -1, attackedTopic, 4, ""), kerr.UnknownTopicOrPartition},
		{"of the highest partition", commitRequest(8, "simple", "", -1, attackedTopic, 1<<31-1, ""), kerr.UnknownTopicOrPartition},
		{"of a negative partition", commitRequest(8, "simple", "", -1, attackedTopic, -1, ""), kerr.UnknownTopicOrPartition},
		{"of an unknown topic by a member", commitRequest(8, classicVictims, h.classic.id, h.classic.epoch, "no-such-topic", 0, ""), kerr.UnknownTopicOrPartition},
		{"of an unknown topic", deleteOffsetOf(classicVictims, "no-such-topic"), kerr.UnknownTopicOrPartition},
		{"of a topic that is read", deleteOffsetOf(classicVictims, attackedTopic), kerr.GroupSubscribedToTopic},
		{"of a topic that is read", deleteOffsetOf(modernVictims, attackedTopic), kerr.GroupSubscribedToTopic},
		{"with members", deleteOf(classicVictims), kerr.NonEmptyGroup},
		{"with members", deleteOf(modernVictims), kerr.NonEmptyGroup},
	}
}

func (h *hostileGroups) impossible() []attack {
	join := func(set func(*kmsg.JoinGroupRequest)) kmsg.Request {
		return request(9, joinRequest(h.freshGroup(), ""), set)
	}
	live := func(set func(*kmsg.ConsumerGroupHeartbeatRequest)) kmsg.Request {
		return request(1, liveRequest(h.freshGroup(), "m", 0), set)
	}
	regex := func(text string) kmsg.Request {
		return live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = &text })
	}
	empty := ""
	return []attack{
		{"of the group without a name", join(func(r *kmsg.JoinGroupRequest) { r.Group = "" }), kerr.InvalidGroupID},
		{"of the group without a name", heartbeatOf("", "a", 1), kerr.InvalidGroupID},
		{"of the group without a name", syncRequest("", "a", 1), kerr.InvalidGroupID},
		{"of the group without a name", leaveOf(5, "", "a"), kerr.InvalidGroupID},
		{"with a session too short", join(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 }), kerr.InvalidSessionTimeout},
		{"with a negative session", join(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = -1 << 31 }), kerr.InvalidSessionTimeout},
		{"with a session too long", join(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1<<31 - 1 }), kerr.InvalidSessionTimeout},
		{"without protocols", join(func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }), kerr.InconsistentGroupProtocol},
		{"without a protocol type", join(func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }), kerr.InconsistentGroupProtocol},
		{"of another protocol type", join(func(r *kmsg.JoinGroupRequest) { r.Group, r.ProtocolType = classicVictims, "connect" }), kerr.InconsistentGroupProtocol},
		{"without a common protocol", join(func(r *kmsg.JoinGroupRequest) { r.Group, r.Protocols[0].Name = classicVictims, "mine" }), kerr.InconsistentGroupProtocol},
		{"without a group", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }), kerr.InvalidRequest},
		{"without a member id", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }), kerr.InvalidRequest},
		{"with an empty instance id", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &empty }), kerr.InvalidRequest},
		{"with an empty rack", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = &empty }), kerr.InvalidRequest},
		{"without a rebalance time-out", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 }), kerr.InvalidRequest},
		{"without a subscription", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil }), kerr.InvalidRequest},
		{"that joins with partitions", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: h.topicID, Partitions: []int32{0}}}
		}), kerr.InvalidRequest},
		{"with an unknown assignor", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = kmsg.StringPtr("mine") }), kerr.UnsupportedAssignor},
		{"with an expression that is not closed", regex("a(b"), kerr.InvalidRegularExpression},
		{"with an expression beyond RE2", regex(`(a)\1`), kerr.InvalidRegularExpression},
		{"with an expression that is not UTF-8", regex("a\xff"), kerr.InvalidRegularExpression},
		{"with an expression that explodes", regex("((a{1000}){1000}){1000}"), kerr.InvalidRegularExpression},
		{"with an expression of 32 KB", regex(strings.Repeat("a", longestString)), kerr.InvalidRegularExpression},
		{"with an expression nested 16,000 deep", regex(strings.Repeat("(", 16_000) + strings.Repeat(")", 16_000)), kerr.InvalidRegularExpression},
	}
}

// longestString is the longest that a request can hold.
const longestString = 1<<15 - 1

func (h *hostileGroups) longNames(long string) []attack {
	join := func(set func(*kmsg.JoinGroupRequest)) kmsg.Request {
		return request(9, joinRequest(h.freshGroup(), ""), set)
	}
	live := func(set func(*kmsg.ConsumerGroupHeartbeatRequest)) kmsg.Request {
		return request(1, liveRequest(h.freshGroup(), "m", 0), set)
	}
	return []attack{
		{"group", join(func(r *kmsg.JoinGroupRequest) { r.Group = long }), kerr.InvalidGroupID},
		{"group", heartbeatOf(long, "a", 1), kerr.InvalidGroupID},
		{"group", syncRequest(long, "a", 1), kerr.InvalidGroupID},
		{"group", leaveOf(5, long, "a"), kerr.InvalidGroupID},
		{"group", commitRequest(8, long, "", -1, attackedTopic, 0, ""), kerr.InvalidGroupID},
		{"group", fetchOf(8, long, nil, -1), kerr.InvalidGroupID},
		{"group", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = long }), kerr.InvalidGroupID},
		{"group", describeOf(6, long), kerr.GroupIDNotFound},
		{"group", describeModernOf(long), kerr.GroupIDNotFound},
		{"group", deleteOf(long), kerr.GroupIDNotFound},
		{"instance id", join(func(r *kmsg.JoinGroupRequest) { r.InstanceID = &long }), kerr.InvalidRequest},
		{"member id", joinRequest(classicVictims, long), kerr.UnknownMemberID},
		{"member id", heartbeatOf(classicVictims, long, 1), kerr.UnknownMemberID},
		{"member id", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = long }), kerr.InvalidRequest},
		{"instance id", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &long }), kerr.InvalidRequest},
		{"rack", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = &long }), kerr.InvalidRequest},
		{"assignor", live(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &long }), kerr.UnsupportedAssignor},
		{"topic", commitRequest(8, "simple", "", -1, long, 0, ""), kerr.UnknownTopicOrPartition},
		{"metadata", commitRequest(8, "simple", "", -1, attackedTopic, 0, long), kerr.OffsetMetadataTooLarge},
	}
}

// tooMuch is more than is kept of one member, or of one commit.
func (h *hostileGroups) tooMuch() []attack {
	join := joinRequest(h.freshGroup(), "")
	join.Version, join.Protocols[0].Metadata = 3, make([]byte, 10<<20)
	many := joinRequest(h.freshGroup(), "")
	many.Version, many.Protocols = 3, nil
	for i := range 50_000 {
		many.Protocols = append(many.Protocols, kmsg.JoinGroupRequestProtocol{Name: fmt.Sprint("protocol-", i)})
	}
	wide := liveRequest(h.freshGroup(), "m", 0)
	wide.SubscribedTopicNames = nil
	for i := range 100_000 {
		wide.SubscribedTopicNames = append(wide.SubscribedTopicNames, fmt.Sprint("a-topic-of-a-long-name-", i))
	}
	owned := liveRequest(modernVictims, h.modern.id, h.modern.epoch)
	owned.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: [16]byte{1}}, {TopicID: h.topicID}}
	for p := range int32(90_000) {
		owned.Topics[0].Partitions = append(owned.Topics[0].Partitions, p)
		owned.Topics[1].Partitions = append(owned.Topics[1].Partitions, p-45_000)
	}
	return []attack{
		{"of metadata: 10 MB", join, kerr.UnknownServerError},
		{"of protocols: 50,000", many, kerr.UnknownServerError},
		{"of a subscription: 100,000 topics", wide, kerr.InvalidRequest},
		{"of partitions that it owns: 180,000", owned, nil},
		{"of metadata: 4097 bytes", commitRequest(8, "simple", "", -1, attackedTopic, 0, strings.Repeat("m", 4097)), kerr.OffsetMetadataTooLarge},
		{"of metadata: 4096 bytes", commitRequest(8, "simple", "", -1, attackedTopic, 0, strings.Repeat("m", 4096)), nil},
	}
}

// secondInstance joins under an instance id that a member has: the classic
// protocol fences the old member, the new one the new member.
func (h *hostileGroups) secondInstance() {
	t := h.t
	old := h.enterClassic("static-classic", "i")
	join := joinRequest("static-classic", "")
	join.InstanceID = kmsg.StringPtr("i")
	second := h.dial().answer(join).(*kmsg.JoinGroupResponse)
	if second.ErrorCode != 0 || second.MemberID == old.id || second.Generation != old.epoch {
		t.Errorf("the second joins as %+v", second)
	}
	beat := request(4, heartbeatOf("static-classic", old.id, old.epoch).(*kmsg.HeartbeatRequest), func(r *kmsg.HeartbeatRequest) { r.InstanceID = join.InstanceID })
	if err := errorOf(old.answer(beat)); !errors.Is(err, kerr.FencedInstanceID) {
		t.Errorf("the first goes on with %v", err)
	}
	if err := errorOf(old.answer(heartbeatOf("static-classic", second.MemberID, second.Generation))); err != nil {
		t.Errorf("the second goes on with %v", err)
	}

	first := h.enterModern("static-consumer", "first", "i")
	again := liveRequest("static-consumer", "second", 0)
	again.InstanceID = kmsg.StringPtr("i")
	if err := errorOf(h.dial().answer(again)); !errors.Is(err, kerr.UnreleasedInstanceID) {
		t.Errorf("the second joins with %v", err)
	}
	if err := errorOf(first.answer(liveRequest("static-consumer", "first", first.epoch))); err != nil {
		t.Errorf("the first goes on with %v", err)
	}
	h.unharmed()
}

// strangers assigns to members that there are not, before and behind those that
// there are, and twice to one.
func (h *hostileGroups) strangers() {
	t := h.t
	m := h.enterClassic("strangers", "")
	join := joinRequest("strangers", m.id) // a leader that joins again wants a new generation
	again := m.answer(join).(*kmsg.JoinGroupResponse)
	if again.ErrorCode != 0 || again.Generation != m.epoch+1 {
		t.Fatalf("joining again: %+v", again)
	}
	assignments := []kmsg.SyncGroupRequestGroupAssignment{{MemberID: m.id, MemberAssignment: []byte("first")}}
	for i := range 50_000 {
		assignments = append(assignments, kmsg.SyncGroupRequestGroupAssignment{MemberID: fmt.Sprint("stranger-", i), MemberAssignment: []byte("theirs")})
	}
	assignments = append(assignments, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: []byte("second")})
	resp := m.answer(syncRequest("strangers", m.id, again.Generation, assignments...)).(*kmsg.SyncGroupResponse)
	if resp.ErrorCode != 0 || string(resp.MemberAssignment) != "second" {
		t.Errorf("assigning to strangers: %v %q", kerr.ErrorForCode(resp.ErrorCode), resp.MemberAssignment)
	}
	described := h.dial().answer(describeOf(5, "strangers")).(*kmsg.DescribeGroupsResponse).Groups[0]
	if described.State != "Stable" || len(described.Members) != 1 {
		t.Errorf("the group is %s and has %d members", described.State, len(described.Members))
	}
	if err := errorOf(m.answer(heartbeatOf("strangers", m.id, again.Generation))); err != nil {
		t.Errorf("the member goes on with %v", err)
	}

	huge := m.answer(join).(*kmsg.JoinGroupResponse)
	large := []kmsg.SyncGroupRequestGroupAssignment{{MemberID: m.id, MemberAssignment: make([]byte, 10<<20)}}
	if err := errorOf(m.answer(syncRequest("strangers", m.id, huge.Generation, large...))); !errors.Is(err, kerr.UnknownServerError) {
		t.Errorf("an assignment of 10 MB: %v", err)
	}
	if err := errorOf(m.answer(heartbeatOf("strangers", m.id, huge.Generation))); !errors.Is(err, kerr.RebalanceInProgress) {
		t.Errorf("the member goes on with %v", err)
	}
	h.unharmed()
}

// TestHostileGroupLimits makes as many members and groups as there may be, and
// more.
func TestHostileGroupLimits(t *testing.T) {
	const members, groups = 10, 300
	h := newHostileGroups(t,
		"--set", fmt.Sprintf("group.max.size=%d", members),
		"--set", fmt.Sprintf("group.consumer.max.size=%d", members),
		"--set", fmt.Sprintf("group.max.groups=%d", groups))
	t.Run("members of a classic group", func(t *testing.T) { h.on(t).classicLimit(members) })
	t.Run("ids that nobody uses", func(t *testing.T) { h.on(t).idLimit(members) })
	t.Run("members of a consumer group", func(t *testing.T) { h.on(t).modernLimit(members) })
	t.Run("groups", func(t *testing.T) { h.on(t).groupLimit(groups) })
	h.served()
}

// classicLimit lets members join without being given an id first. They wait for
// the first member, who must join again as well.
func (h *hostileGroups) classicLimit(most int) {
	t := h.t
	const tooMany = 5
	first := h.enterClassic("crowd", "")
	join := joinRequest("crowd", "")
	join.Version = 3
	answers := make(chan error, most+tooMany)
	for range most + tooMany {
		c := h.dial()
		c.send(requestFrame(join))
		go func() {
			if resp, err := c.decode(join); err != nil {
				answers <- err
			} else {
				answers <- errorOf(resp)
			}
		}()
	}
	for range tooMany {
		if err := <-answers; !errors.Is(err, kerr.GroupMaxSizeReached) {
			t.Errorf("one of %d members more than there may be: %v", tooMany, err)
		}
	}
	select {
	case err := <-answers:
		t.Errorf("a member that there may be: %v", err)
	default:
	}
	if err := errorOf(first.answer(heartbeatOf("crowd", first.id, first.epoch))); !errors.Is(err, kerr.RebalanceInProgress) {
		t.Errorf("the first member goes on with %v", err)
	}
	h.unharmed()
}

func (h *hostileGroups) idLimit(most int) {
	t := h.t
	c := h.dial()
	given, refused := 0, 0
	for range 10 * most {
		switch err := errorOf(c.answer(joinRequest("ids", ""))); {
		case errors.Is(err, kerr.MemberIDRequired):
			given++
		case errors.Is(err, kerr.GroupMaxSizeReached):
			refused++
		default:
			t.Fatalf("after %d: %v", given+refused, err)
		}
	}
	if given == 0 || refused == 0 {
		t.Errorf("%d ids were given out, %d refused; a group has at most %d members", given, refused, most)
	}
	h.unharmed()
}

func (h *hostileGroups) modernLimit(most int) {
	t := h.t
	c := h.dial()
	joined := 0
	for i := range most + 5 {
		switch err := errorOf(c.answer(liveRequest("modern-crowd", fmt.Sprint("member-", i), 0))); {
		case err == nil:
			joined++
		case !errors.Is(err, kerr.GroupMaxSizeReached):
			t.Fatalf("member %d: %v", i+1, err)
		}
	}
	if joined != most {
		t.Errorf("%d members joined, there may be %d", joined, most)
	}
	if err := errorOf(c.answer(liveRequest("modern-crowd", "member-0", 0))); err != nil {
		t.Errorf("a member of the full group joins again with %v", err)
	}
	h.unharmed()
}

// groupLimit makes groups in each way until there are enough.
func (h *hostileGroups) groupLimit(most int) {
	t := h.t
	c := h.dial()
	simple := func(group string) error {
		return errorOf(c.answer(commitRequest(8, group, "", -1, attackedTopic, 0, "")))
	}
	classic := func(group string) error { return errorOf(c.answer(joinRequest(group, ""))) }
	modern := func(group string) error { return errorOf(c.answer(liveRequest(group, "m", 0))) }
	made := 0
	var names []string
	for i := range quickOr(3, 30) * most {
		name := fmt.Sprint("group-", i)
		switch err := simple(name); {
		case err == nil:
			made++
			names = append(names, name)
		case !errors.Is(err, kerr.GroupMaxSizeReached):
			t.Fatalf("group %d: %v", i, err)
		}
	}
	if made == 0 || made > most {
		t.Fatalf("%d groups were made, there may be %d", made, most)
	}
	for what, ask := range map[string]func(string) error{"of the classic protocol": classic, "of the consumer protocol": modern, "of offsets": simple} {
		if err := ask("one-more"); !errors.Is(err, kerr.GroupMaxSizeReached) {
			t.Errorf("one more group %s: %v", what, err)
		}
	}
	if err := simple(names[0]); err != nil {
		t.Errorf("a group that is there: %v", err)
	}
	list := h.dial().answer(kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse)
	if len(list.Groups) > most || !slices.ContainsFunc(list.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group == names[made-1] }) {
		t.Errorf("%d groups are listed, there may be %d", len(list.Groups), most)
	}
	if err := errorOf(c.answer(deleteOf(names[0]))); err != nil {
		t.Errorf("deleting a group: %v", err)
	}
	if err := simple("one-more"); err != nil {
		t.Errorf("one more group, where one was deleted: %v", err)
	}
	h.unharmed()
}

// TestHostileGroupMemory has members of whose requests little is to be kept.
func TestHostileGroupMemory(t *testing.T) {
	h := newHostileGroups(t)
	const size = 14 << 20
	n := quickOr(16, 60)
	each := func(what string, most int64, attack func(h *hostileGroups, i int)) {
		t.Run(what, func(t *testing.T) {
			h := h.on(t)
			h.bounded(fmt.Sprintf("%d times %s", n, what), most, func() {
				for i := range n {
					attack(h, i)
				}
				h.served()
			})
			h.unharmed()
		})
	}
	join := func(group, id string) *kmsg.JoinGroupRequest {
		req := joinRequest(group, id)
		req.UnknownTags.Set(100, make([]byte, size))
		return req
	}
	each("14 MB that nobody knows", 96<<20, func(h *hostileGroups, i int) {
		req := join(fmt.Sprint("tags-", i), "")
		req.InstanceID = kmsg.StringPtr("i")
		if err := errorOf(h.dial().answer(req)); err != nil {
			h.t.Errorf("%v", err)
		}
	})
	each("14 MB of one protocol again and again", 96<<20, func(h *hostileGroups, i int) {
		req := joinRequest(fmt.Sprint("protocols-", i), "")
		req.InstanceID = kmsg.StringPtr("i")
		for range size >> 16 {
			req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range", Metadata: make([]byte, 1<<16)})
		}
		if err := errorOf(h.dial().answer(req)); err != nil {
			h.t.Errorf("%v", err)
		}
	})
	each("14 MB for strangers", 96<<20, func(h *hostileGroups, i int) {
		m := h.enterClassic(fmt.Sprint("assignments-", i), "")
		again := m.answer(joinRequest(m.group, m.id)).(*kmsg.JoinGroupResponse)
		sync := syncRequest(m.group, m.id, again.Generation,
			kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: []byte("mine")},
			kmsg.SyncGroupRequestGroupAssignment{MemberID: "a-stranger", MemberAssignment: make([]byte, size)})
		if err := errorOf(m.answer(sync)); err != nil {
			h.t.Errorf("%v", err)
		}
	})
	// Followers wait for their leader, who sends no assignment.
	each("14 MB of followers that wait", 96<<20, func(h *hostileGroups, i int) {
		group := fmt.Sprint("followers-", i)
		leader := h.enterClassic(group, "")
		join := joinRequest(group, "")
		follower := h.dial()
		join.MemberID = follower.answer(join).(*kmsg.JoinGroupResponse).MemberID
		follower.send(requestFrame(join))
		for again := joinRequest(group, leader.id); ; {
			// The first may be there before the second.
			if resp := leader.answer(again).(*kmsg.JoinGroupResponse); resp.Generation > leader.epoch && len(resp.Members) == 2 {
				break
			}
		}
		resp, err := follower.decode(join)
		if err != nil {
			h.t.Fatal(err)
		}
		follower.send(requestFrame(syncRequest(group, join.MemberID, resp.(*kmsg.JoinGroupResponse).Generation,
			kmsg.SyncGroupRequestGroupAssignment{MemberID: "a-stranger", MemberAssignment: make([]byte, size)})))
	})
	// They join a group whose first member does not come back: all wait.
	h.enterClassic("waiting", "")
	each("14 MB that wait", 96<<20, func(h *hostileGroups, _ int) {
		c := h.dial()
		first := c.answer(joinRequest("waiting", "")).(*kmsg.JoinGroupResponse)
		c.send(requestFrame(join("waiting", first.MemberID)))
	})
}
