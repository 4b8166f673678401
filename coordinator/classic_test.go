package coordinator

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bench is a machine to whose requests a test sees the answers.
type bench struct {
	t       testing.TB
	m       *Machine
	now     time.Time
	answers map[any]kmsg.Response
	records int
}

func newBench(t testing.TB, change func(*Config)) *bench {
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	b := &bench{
		t:       t,
		m:       New(cfg, fakeTopics{"t": fakeTopic("t", 1000, 0)}),
		now:     time.UnixMilli(1_700_000_000_000),
		answers: map[any]kmsg.Response{},
	}
	b.m.Activate(b.now)
	return b
}

func (b *bench) step(token any, body kmsg.Request) kmsg.Response {
	b.apply(b.m.Step(b.now, &Request{Body: body, Client: Client{ID: "c", Host: "/::1"}, Token: token}))
	return b.answers[token]
}

func (b *bench) apply(out Effects) {
	b.records += len(out.Records)
	for _, a := range out.Answers {
		b.answers[a.Token] = a.Response
	}
}

func (b *bench) advance(d time.Duration) {
	b.now = b.now.Add(d)
	b.apply(b.m.Step(b.now, Tick{}))
}

func (b *bench) answer(token any) kmsg.Response {
	b.t.Helper()
	resp := b.answers[token]
	if resp == nil {
		b.t.Fatalf("%v is not answered", token)
	}
	delete(b.answers, token)
	return resp
}

func joinRequest(group, memberID string, metadata []byte) *kmsg.JoinGroupRequest {
	body := kmsg.NewPtrJoinGroupRequest()
	body.Version = 3
	body.Group, body.MemberID = group, memberID
	body.SessionTimeoutMillis, body.RebalanceTimeoutMillis = 45_000, 300_000
	body.ProtocolType = "consumer"
	body.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata}}
	return body
}

// form makes a stable group of n members, and gives their ids; the first leads.
func (b *bench) form(group string, n int) []string {
	b.t.Helper()
	for i := range n {
		b.step(i, joinRequest(group, "", subscriptionTo(1, "t")))
	}
	for b.answers[0] == nil {
		b.advance(b.m.cfg.InitialRebalanceDelay)
	}
	return b.stabilize(n, func(i int) string { return fmt.Sprint("assignment ", i) })
}

// stabilize takes the answers to n JoinGroups and syncs all.
func (b *bench) stabilize(n int, assignment func(int) string) []string {
	b.t.Helper()
	ids := make([]string, n)
	var leader *kmsg.JoinGroupResponse
	for i := range n {
		resp := b.answer(i).(*kmsg.JoinGroupResponse)
		if resp.ErrorCode != 0 {
			b.t.Fatalf("join %d: %v", i, kerr.ErrorForCode(resp.ErrorCode))
		}
		ids[i] = resp.MemberID
		if len(resp.Members) > 0 {
			leader = resp
		}
	}
	if len(leader.Members) != n {
		b.t.Fatalf("the leader is told of %d members of %d", len(leader.Members), n)
	}
	for i, id := range ids {
		body := kmsg.NewPtrSyncGroupRequest()
		body.Version, body.Group, body.MemberID, body.Generation = 3, "g", id, leader.Generation
		if id == leader.MemberID {
			for i, id := range ids {
				body.GroupAssignment = append(body.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
					MemberID: id, MemberAssignment: []byte(assignment(i)),
				})
			}
		}
		b.step(i, body)
	}
	for i := range n {
		resp := b.answer(i).(*kmsg.SyncGroupResponse)
		if resp.ErrorCode != 0 || string(resp.MemberAssignment) != assignment(i) {
			b.t.Fatalf("sync %d: %q, %v", i, resp.MemberAssignment, kerr.ErrorForCode(resp.ErrorCode))
		}
	}
	return ids
}

func (b *bench) joinCode(body *kmsg.JoinGroupRequest) int16 {
	b.t.Helper()
	b.step("join", body)
	return b.answer("join").(*kmsg.JoinGroupResponse).ErrorCode
}

func wantCode(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	if got != want.Code {
		t.Errorf("%s: %v instead of %v", what, kerr.ErrorForCode(got), want)
	}
}

func TestLargeClassicGroup(t *testing.T) {
	const members = 500
	b := newBench(t, func(cfg *Config) { cfg.MaxSize = members })
	ids := b.form("g", members)
	if b.records != 1 {
		t.Errorf("a rebalance takes %d records", b.records)
	}
	wantCode(t, "one member too many", b.joinCode(joinRequest("g", "", subscriptionTo(1, "t"))), kerr.GroupMaxSizeReached)
	// All join again, the leader last.
	for i := range ids {
		i = members - 1 - i
		body := joinRequest("g", ids[i], subscriptionTo(1, "t", "u"))
		b.step(i, body)
	}
	b.stabilize(members, func(i int) string { return fmt.Sprint("other ", i) })
	if s := b.m.Stats(); s.Members[kindClassic] != members || s.Rebalances != 2 || s.Groups[StatsKey{kindClassic, "Stable"}] != 1 {
		t.Errorf("stats: %+v", s)
	}
	b.advance(46 * time.Second)
	b.advance(300 * time.Second)
	if s := b.m.Stats(); s.Members[kindClassic] != 0 {
		t.Errorf("stats when all are gone: %+v", s)
	}
}

func TestClassicLimits(t *testing.T) {
	b := newBench(t, func(cfg *Config) {
		cfg.MaxSize, cfg.MaxGroups = 2, 2
		cfg.MaxMetadataBytes, cfg.MaxGroupBytes = 2000, 4000
		cfg.InitialRebalanceDelay = 0
	})
	small := subscriptionTo(1, "t")
	wantCode(t, "a group id of 100 KB", b.joinCode(joinRequest(strings.Repeat("x", 100_000), "", small)), kerr.InvalidGroupID)
	wantCode(t, "metadata that is too large", b.joinCode(joinRequest("g", "", make([]byte, 10<<20))), kerr.UnknownServerError)
	if len(b.m.groups) != 0 {
		t.Errorf("%d groups are left of what was refused", len(b.m.groups))
	}
	for i := range 2 {
		body := joinRequest(fmt.Sprint("other", i), "", small)
		body.Version = 4
		wantCode(t, "a member id", b.joinCode(body), kerr.MemberIDRequired)
	}
	wantCode(t, "one group too many", b.joinCode(joinRequest("g", "", small)), kerr.GroupMaxSizeReached)
	for range 1 {
		body := joinRequest("other0", "", small)
		body.Version = 4
		wantCode(t, "another member id", b.joinCode(body), kerr.MemberIDRequired)
		body = joinRequest("other0", "", small)
		body.Version = 4
		wantCode(t, "one member id too many", b.joinCode(body), kerr.GroupMaxSizeReached)
	}
	b.advance(46 * time.Second)
	if len(b.m.groups) != 0 {
		t.Errorf("%d groups are left of ids that were not used", len(b.m.groups))
	}

	b.step(0, joinRequest("g", "", make([]byte, 1500)))
	id := b.answer(0).(*kmsg.JoinGroupResponse).MemberID
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "g", id, 1
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: id, MemberAssignment: make([]byte, 3000)}}
	b.step(0, sync)
	wantCode(t, "an assignment that is too large", b.answer(0).(*kmsg.SyncGroupResponse).ErrorCode, kerr.UnknownServerError)
	b.step(0, joinRequest("g", id, make([]byte, 1500)))
	if resp := b.answer(0).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 || resp.Generation != 2 {
		t.Errorf("after it, the group is at %+v", resp)
	}
	sync.Generation, sync.GroupAssignment[0].MemberAssignment = 2, make([]byte, 1500)
	b.step(0, sync)
	wantCode(t, "more than a group may take", b.joinCode(joinRequest("g", "", make([]byte, 1500))), kerr.GroupMaxSizeReached)
}

func TestLeaveGroupBeforeVersion3(t *testing.T) {
	b := newBench(t, nil)
	id := b.form("g", 1)[0]
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.MemberID = 2, "g", "stranger"
	b.step(0, leave)
	wantCode(t, "a stranger leaves", b.answer(0).(*kmsg.LeaveGroupResponse).ErrorCode, kerr.UnknownMemberID)
	leave = kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.MemberID = 2, "g", id
	b.step(0, leave)
	if resp := b.answer(0).(*kmsg.LeaveGroupResponse); resp.ErrorCode != 0 || b.m.stateName(b.m.groups["g"]) != "Empty" {
		t.Errorf("%+v, and the group is %s", resp, b.m.stateName(b.m.groups["g"]))
	}
}

// TestJoinGroupAgainWhileItWaits is for clients that lost their connection: the
// new request is in the place of the old one, which is answered too.
func TestJoinGroupAgainWhileItWaits(t *testing.T) {
	b := newBench(t, nil)
	ids := b.form("g", 2)
	b.step("old", joinRequest("g", ids[0], subscriptionTo(1, "t", "u")))
	b.step("new", joinRequest("g", ids[0], subscriptionTo(1, "t", "u")))
	wantCode(t, "the first request", b.answer("old").(*kmsg.JoinGroupResponse).ErrorCode, kerr.RebalanceInProgress)
	b.step(1, joinRequest("g", ids[1], subscriptionTo(1, "t", "u")))
	if resp := b.answer("new").(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 || resp.Generation != 2 {
		t.Errorf("the second request: %+v", resp)
	}
}

func TestProtocolIsTheMostPreferred(t *testing.T) {
	b := newBench(t, nil)
	for i, names := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}, {"b", "c"}, {"b", "d", "c"}} {
		body := joinRequest("g", "", nil)
		body.Protocols = nil
		for _, name := range append(names, names[0]) {
			body.Protocols = append(body.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: []byte(name)})
		}
		b.step(i, body)
	}
	b.advance(3 * time.Second)
	b.advance(3 * time.Second)
	resp := b.answer(0).(*kmsg.JoinGroupResponse)
	if *resp.Protocol != "b" {
		t.Errorf("the protocol is %q", *resp.Protocol)
	}
	for _, member := range resp.Members {
		if !bytes.Equal(member.ProtocolMetadata, []byte("b")) {
			t.Errorf("the leader gets %q of %s", member.ProtocolMetadata, member.MemberID)
		}
	}
}

func TestOffsetLimits(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.MaxOffsetsOfGroup, cfg.MaxGroups, cfg.OffsetMetadataMaxBytes = 2, 1, 10 })
	commit := func(group string, partition int32, metadata string) int16 {
		body := commitRequest(group, "t", partition, 5)
		body.Topics[0].Partitions[0].Metadata = &metadata
		b.step(0, body)
		return b.answer(0).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
	}
	wantCode(t, "a group id of 100 KB", commit(strings.Repeat("x", 100_000), 0, ""), kerr.InvalidGroupID)
	wantCode(t, "metadata of 11 bytes", commit("g", 0, "hello world"), kerr.OffsetMetadataTooLarge)
	if len(b.m.groups) != 0 {
		t.Errorf("%d groups are left of what was refused", len(b.m.groups))
	}
	for partition := range int32(2) {
		if code := commit("g", partition, "hello"); code != 0 {
			t.Errorf("commit %d: %v", partition, kerr.ErrorForCode(code))
		}
	}
	wantCode(t, "one offset too many", commit("g", 2, ""), kerr.InvalidCommitOffsetSize)
	if code := commit("g", 1, ""); code != 0 {
		t.Errorf("an offset again: %v", kerr.ErrorForCode(code))
	}
	wantCode(t, "one group too many", commit("h", 0, ""), kerr.GroupMaxSizeReached)
}

func commitRequest(group, topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	body := kmsg.NewPtrOffsetCommitRequest()
	body.Version, body.Group = 9, group
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	body.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return body
}

// TestDeletedTopicOfManyGroups goes in several steps, each of a bounded size.
func TestDeletedTopicOfManyGroups(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.MaxGroups = 10_000 })
	const groups = 3 * expireStep
	b.m.cfg.MaxGroups = groups
	for i := range groups {
		b.step(0, commitRequest(fmt.Sprint("g", i), "t", 0, 1))
	}
	out := b.m.Step(b.now, TopicsChanged{fakeTopics{}})
	for steps := 1; len(b.m.groups) > 0; steps++ {
		if len(out.Records) > expireStep || steps > 10 {
			t.Fatalf("step %d has %d records", steps, len(out.Records))
		}
		at, _ := b.m.Deadline()
		b.now = at
		out = b.m.Step(b.now, Tick{})
	}
	if len(b.m.names) > 0 || b.m.timers.isSet(timerKey{kind: deletionTimer}) {
		t.Errorf("%d topics are left", len(b.m.names))
	}
}

func heartbeatRequest(group, id string, generation int32) *kmsg.HeartbeatRequest {
	body := kmsg.NewPtrHeartbeatRequest()
	body.Version, body.Group, body.MemberID, body.Generation = 4, group, id, generation
	return body
}

func BenchmarkHeartbeat(b *testing.B) {
	for _, members := range []int{1, 500} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			s := newBench(b, nil)
			ids := s.form("g", members)
			req := &Request{Client: Client{ID: "c"}}
			body := heartbeatRequest("g", "", 1)
			req.Body = body
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				body.MemberID = ids[i%members]
				s.m.Step(s.now, req)
			}
		})
	}
}

func BenchmarkOffsetCommit(b *testing.B) {
	s := newBench(b, nil)
	const groups, partitions = 1000, 10
	bodies := make([]*kmsg.OffsetCommitRequest, groups)
	for i := range bodies {
		bodies[i] = commitRequest(fmt.Sprint("group-", i), "t", 0, 0)
	}
	req := &Request{Client: Client{ID: "c"}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		body := bodies[i%groups]
		p := &body.Topics[0].Partitions[0]
		p.Partition = int32(i/groups) % partitions
		p.Offset++
		req.Body = body
		s.m.Step(s.now, req)
	}
}

func BenchmarkRebalance(b *testing.B) {
	for _, members := range []int{10, 500} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			s := newBench(b, nil)
			ids := s.form("g", members)
			b.ReportAllocs()
			for round := 0; b.Loop(); round++ {
				metadata := subscriptionTo(1, "t", fmt.Sprint(round))
				for i, id := range ids {
					s.step(i, joinRequest("g", id, metadata))
				}
				s.stabilize(members, func(i int) string { return fmt.Sprint(i) })
			}
		})
	}
}
