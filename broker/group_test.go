package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// TestGroupPartition: tools compute the same from Java's String.hashCode.
func TestGroupPartition(t *testing.T) {
	for group, hash := range map[string]uint32{
		"":                   0,
		"a":                  97,
		"Aa":                 2112,
		"BB":                 2112,
		"hello":              99162322,
		"polygenelubricants": 0x80000000, // the least number, whose absolute value is none
		"\U0001F600":         1772899,    // two UTF-16 units, d83d and de00
	} {
		if got, want := groupPartition(group, 50), int(hash&0x7fffffff)%50; got != want {
			t.Errorf("%q: %d, want %d", group, got, want)
		}
	}
}

// groupBroker is a server with one topic.
func groupBroker(t *testing.T) (*Server, *testNode) {
	t.Helper()
	node := newTestNode(t)
	node.static["offsets.topic.num.partitions"] = "3"
	node.static["group.initial.rebalance.delay.ms"] = "0"
	node.topic("orders", 4, nil)
	return testServer(t, node, Config{}), node
}

// findCoordinator waits for the group's coordinator.
func findGroup(t *testing.T, c *testClient, group string) {
	t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorKeys = 4, []string{group}
	resp := c.ask(req).(*kmsg.FindCoordinatorResponse)
	if one := resp.Coordinators[0]; one.ErrorCode != 0 || one.NodeID != 1 {
		t.Fatalf("coordinator of %s: %+v", group, one)
	}
}

func commitOf(group string, offset int64) *kmsg.OffsetCommitRequest {
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = 1, offset
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = "orders", []kmsg.OffsetCommitRequestTopicPartition{p}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Topics = 8, group, []kmsg.OffsetCommitRequestTopic{topic}
	return req
}

func commit(c *testClient, group string, offset int64) int16 {
	c.t.Helper()
	return c.ask(commitOf(group, offset)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
}

func fetchOf(group string) *kmsg.OffsetFetchRequest {
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = "orders", []int32{1}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, []kmsg.OffsetFetchRequestGroupTopic{topic}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Groups = 8, []kmsg.OffsetFetchRequestGroup{g}
	return req
}

// fetched is the committed offset in an answer, or below −1 an error's code.
func fetched(resp kmsg.Response) int64 {
	g := resp.(*kmsg.OffsetFetchResponse).Groups[0]
	if g.ErrorCode != 0 {
		return -1000 - int64(g.ErrorCode)
	}
	return g.Topics[0].Partitions[0].Offset
}

// shardOf is the replica of the group's partition.
func shardOf(node *testNode, group string) *testReplica {
	return node.replica(offsetsTopic, int32(groupPartition(group, 3)))
}

func TestCommitsAreReadBack(t *testing.T) {
	s, node := groupBroker(t)
	c := dial(t, s)
	findGroup(t, c, "g")
	if got := fetched(c.ask(fetchOf("g"))); got != -1 {
		t.Errorf("before any commit: %d", got)
	}
	wantCode(t, "commit", commit(c, "g", 7), nil)
	if got := fetched(c.ask(fetchOf("g"))); got != 7 {
		t.Errorf("offset %d, want 7", got)
	}
	if hw := shardOf(node, "g").HighWatermark(); hw != 1 {
		t.Errorf("%d records in the log, want 1", hw)
	}
}

// An answer must not come before what it tells of is committed, be it of a read
// that saw what is not committed yet.
func TestAnswersWaitForTheCommit(t *testing.T) {
	s, node := groupBroker(t)
	writer, reader, other := dial(t, s), dial(t, s), dial(t, s)
	findGroup(t, writer, "g")
	wantCode(t, "commit", commit(writer, "g", 1), nil)
	r := shardOf(node, "g")
	r.setHold(true)
	first := commitOf("g", 2)
	firstID := writer.send(first)
	eventually(t, "the batch is proposed", func() bool { return r.heldBatches() == 1 })
	read := fetchOf("g")
	readID := reader.send(read)
	second := commitOf("g", 3)
	secondID := other.send(second)
	for _, c := range []*testClient{writer, reader, other} {
		if c.hasAnswer() {
			t.Error("answered before the commit")
		}
	}
	r.setHold(false)
	writer.receive(first, firstID)
	if got := fetched(reader.receive(read, readID)); got != 2 && got != 3 {
		t.Errorf("read %d, want 2 or 3", got)
	}
	other.receive(second, secondID)
	if got := fetched(reader.ask(fetchOf("g"))); got != 3 {
		t.Errorf("offset %d, want 3", got)
	}
}

// What gathers while a batch is under way becomes one batch.
func TestCommitsGather(t *testing.T) {
	s, node := groupBroker(t)
	c := dial(t, s)
	findGroup(t, c, "g")
	wantCode(t, "commit", commit(c, "g", 1), nil)
	r := shardOf(node, "g")
	r.setHold(true)
	const waiting = 20
	ids := make([]int32, waiting)
	for i := range ids {
		ids[i] = c.send(commitOf("g", int64(i)+10))
	}
	eventually(t, "all are with the coordinator", func() bool {
		shard := s.groups.all()[groupPartition("g", 3)]
		shard.mu.Lock()
		defer shard.mu.Unlock()
		answers := 0
		for _, b := range shard.mu.gathered {
			answers += len(b.answers)
		}
		return answers == waiting-1 && len(shard.mu.gathered) == 1
	})
	r.setHold(false)
	for _, id := range ids {
		c.receive(commitOf("g", 0), id)
	}
	if hw := r.HighWatermark(); hw != waiting+1 {
		t.Errorf("%d records, want %d", hw, waiting+1)
	}
}

// A batch that is not committed takes the state with it: it is read anew, and
// says what is in the log.
func TestAFailedBatchIsForgotten(t *testing.T) {
	s, node := groupBroker(t)
	c := dial(t, s)
	findGroup(t, c, "g")
	wantCode(t, "commit", commit(c, "g", 5), nil)
	r := shardOf(node, "g")
	r.setFail(protocol.Errorf(kerr.KafkaStorageError, "the disk is full"))
	wantCode(t, "commit on a full disk", commit(c, "g", 6), kerr.CoordinatorNotAvailable)
	r.setFail(nil)
	var got int64
	eventually(t, "the state is read anew", func() bool {
		got = fetched(c.ask(fetchOf("g")))
		return got >= -1
	})
	if got != 5 {
		t.Errorf("offset %d after a failed commit, want 5", got)
	}
	wantCode(t, "commit", commit(c, "g", 8), nil)
}

// Requests that a machine holds are answered when it is thrown away.
func TestJoinsAreAnsweredWhenLeadershipGoes(t *testing.T) {
	s, node := groupBroker(t)
	c, other := dial(t, s), dial(t, s)
	findGroup(t, c, "g")
	first := join(t, c, "g", "")
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, "g", first.MemberID, first.Generation
	wantCode(t, "sync", c.ask(sync).(*kmsg.SyncGroupResponse).ErrorCode, nil)
	// A second member waits for the first to join again.
	second := joinOf("g", "")
	id := other.send(second)
	resp := other.receive(second, id).(*kmsg.JoinGroupResponse)
	wantCode(t, "join without an id", resp.ErrorCode, kerr.MemberIDRequired)
	second.MemberID = resp.MemberID
	id = other.send(second)
	heartbeat := kmsg.NewPtrHeartbeatRequest()
	heartbeat.Version, heartbeat.Group, heartbeat.MemberID, heartbeat.Generation = 3, "g", first.MemberID, first.Generation
	eventually(t, "the group rebalances", func() bool {
		return c.ask(heartbeat).(*kmsg.HeartbeatResponse).ErrorCode == kerr.RebalanceInProgress.Code
	})
	r := shardOf(node, "g")
	r.setEpoch(2, false)
	node.touch()
	resp = other.receive(second, id).(*kmsg.JoinGroupResponse)
	wantCode(t, "the join that waited", resp.ErrorCode, kerr.NotCoordinator)
	wantCode(t, "a heartbeat", c.ask(heartbeat).(*kmsg.HeartbeatResponse).ErrorCode, kerr.NotCoordinator)
	r.setEpoch(3, true)
	node.touch()
	eventually(t, "the member goes on", func() bool {
		return c.ask(heartbeat).(*kmsg.HeartbeatResponse).ErrorCode == 0
	})
}

func joinOf(group, member string) *kmsg.JoinGroupRequest {
	p := kmsg.NewJoinGroupRequestProtocol()
	meta := kmsg.ConsumerMemberMetadata{Version: 1, Topics: []string{"orders"}}
	p.Name, p.Metadata = "range", meta.AppendTo(nil)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 5, group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, 30_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{p}
	return req
}

// join joins as a member, with the id that the coordinator gives.
func join(t *testing.T, c *testClient, group, member string) *kmsg.JoinGroupResponse {
	t.Helper()
	req := joinOf(group, member)
	resp := c.ask(req).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode == kerr.MemberIDRequired.Code {
		req.MemberID = resp.MemberID
		resp = c.ask(req).(*kmsg.JoinGroupResponse)
	}
	wantCode(t, "join", resp.ErrorCode, nil)
	return resp
}

// Closing the server answers what waits, within the drain time-out.
func TestCloseAnswersJoinsThatWait(t *testing.T) {
	node := newTestNode(t)
	node.static["offsets.topic.num.partitions"] = "1"
	node.static["group.initial.rebalance.delay.ms"] = "60000"
	s := testServer(t, node, Config{DrainTimeout: 10 * time.Second})
	c := dial(t, s)
	findGroup(t, c, "g")
	req := joinOf("g", "")
	resp := c.ask(req).(*kmsg.JoinGroupResponse)
	req.MemberID = resp.MemberID
	id := c.send(req)
	eventually(t, "the join waits", func() bool {
		shard := s.groups.all()[0]
		shard.mu.Lock()
		defer shard.mu.Unlock()
		return len(shard.mu.parked) == 1
	})
	began := time.Now()
	closeServer(t, s, node)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("closing took %v", took)
	}
	wantCode(t, "the join", c.receive(req, id).(*kmsg.JoinGroupResponse).ErrorCode, kerr.NotCoordinator)
}

// Clients must not write where groups live, nor change how they are spread.
func TestTheOffsetsTopicIsTheBrokersOwn(t *testing.T) {
	s, _ := groupBroker(t)
	c := dial(t, s)
	findGroup(t, c, "g")
	produce := produceRequest(offsetsTopic, 0, -1, testBatch(t, "x"))
	wantCode(t, "produce", c.ask(produce).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode, kerr.InvalidTopicException)
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = offsetsTopic, 60
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Version, grow.TimeoutMillis, grow.Topics = 2, 10_000, []kmsg.CreatePartitionsRequestTopic{topic}
	wantCode(t, "more partitions", c.ask(grow).(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode, kerr.InvalidTopicException)
}

// A request about several groups is answered in its order, wherever they live.
func TestRequestsAboutSeveralGroups(t *testing.T) {
	s, _ := groupBroker(t)
	c := dial(t, s)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	for i := range 12 {
		group := fmt.Sprintf("g%d", i)
		findGroup(t, c, group)
		wantCode(t, "commit", commit(c, group, int64(100+i)), nil)
		req.Groups = append(req.Groups, fetchOf(group).Groups...)
	}
	resp := c.ask(req).(*kmsg.OffsetFetchResponse)
	if len(resp.Groups) != 12 {
		t.Fatalf("%d groups are answered", len(resp.Groups))
	}
	for i, g := range resp.Groups {
		if g.Group != fmt.Sprintf("g%d", i) || g.Topics[0].Partitions[0].Offset != int64(100+i) {
			t.Errorf("group %d: %+v", i, g)
		}
	}
	list := kmsg.NewPtrListGroupsRequest()
	list.Version = 4
	if groups := c.ask(list).(*kmsg.ListGroupsResponse).Groups; len(groups) != 12 {
		t.Errorf("%d groups are listed", len(groups))
	}
	empty := kmsg.NewPtrDescribeGroupsRequest()
	empty.Version = 5
	if groups := c.ask(empty).(*kmsg.DescribeGroupsResponse).Groups; len(groups) != 0 {
		t.Errorf("%d groups are described", len(groups))
	}
}

// Dashboards made for kafka_exporter find what they look for.
func TestMetricsOfGroups(t *testing.T) {
	node := newTestNode(t)
	node.static["offsets.topic.num.partitions"] = "3"
	node.static["group.initial.rebalance.delay.ms"] = "0"
	node.topic("orders", 4, nil)
	reg := prometheus.NewRegistry()
	s := testServer(t, node, Config{Registerer: reg})
	c := dial(t, s)
	findGroup(t, c, "g")
	r := node.replica("orders", 1)
	for range 5 {
		r.produce(t, "x", "y")
	}
	wantCode(t, "commit", commit(c, "g", 4), nil)
	member := join(t, c, "working", "")
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, "working", member.MemberID, member.Generation
	wantCode(t, "sync", c.ask(sync).(*kmsg.SyncGroupResponse).ErrorCode, nil)
	got := metricValues(t, reg)
	for name, want := range map[string]float64{
		"kafka_consumergroup_current_offset g 1 orders":   4,
		"kafka_consumergroup_current_offset_sum g orders": 4,
		"kafka_consumergroup_lag g 1 orders":              6,
		"kafka_consumergroup_lag_sum g orders":            6,
		"kafka_consumergroup_members g":                   0,
		"kafka_consumergroup_members working":             1,
		"fanfold_group_rebalances_total":                  1,
		"fanfold_groups Empty classic":                    1,
		"fanfold_groups Stable classic":                   1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
	// The batch's first timestamp is of long ago.
	if age := got["fanfold_consumergroup_lag_seconds g 1 orders"]; age < 60 {
		t.Errorf("time lag is %v s", age)
	}
	wantCode(t, "commit of all", commit(c, "g", 10), nil)
	if age := metricValues(t, reg)["fanfold_consumergroup_lag_seconds g 1 orders"]; age != 0 {
		t.Errorf("time lag is %v s without lag", age)
	}
}

// metricValues are all metrics: name and the values of the labels, by the labels'
// names.
func metricValues(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	must(t, err)
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if l.GetName() != "consumergroup" && l.GetName() != "topic" && l.GetName() != "partition" && l.GetName() != "state" && l.GetName() != "type" {
					continue
				}
				name += " " + l.GetValue()
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

// The members of all groups together are bounded, whatever the number of groups
// and partitions; members that leave make room.
func TestMembersOfAllGroupsAreBounded(t *testing.T) {
	node := newTestNode(t)
	node.static["offsets.topic.num.partitions"] = "3"
	node.static["group.initial.rebalance.delay.ms"] = "0"
	node.static["group.max.metadata.bytes"] = "1048576"
	s := testServer(t, node, Config{})
	large := func(group string) *kmsg.JoinGroupRequest {
		req := joinOf(group, "")
		req.Version = 3 // a member without an id gets in at once
		req.Protocols[0].Metadata = make([]byte, 300_000)
		return req
	}
	var members []string
	for i := range 3 {
		c, group := dial(t, s), fmt.Sprintf("g%d", i)
		findGroup(t, c, group)
		resp := c.ask(large(group)).(*kmsg.JoinGroupResponse)
		wantCode(t, "join", resp.ErrorCode, nil)
		members = append(members, resp.MemberID)
	}
	c := dial(t, s)
	findGroup(t, c, "more")
	wantCode(t, "one too many", c.ask(large("more")).(*kmsg.JoinGroupResponse).ErrorCode, kerr.GroupMaxSizeReached)
	small := joinOf("small", "")
	small.Version = 3
	wantCode(t, "a small one", c.ask(small).(*kmsg.JoinGroupResponse).ErrorCode, nil)
	heartbeat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	heartbeat.Version, heartbeat.Group, heartbeat.MemberID, heartbeat.RebalanceTimeoutMillis = 1, "new", "member", 30_000
	for i := range 10 {
		heartbeat.SubscribedTopicNames = append(heartbeat.SubscribedTopicNames, fmt.Sprintf("%d%s", i, strings.Repeat("t", 30_000)))
	}
	heartbeat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	wantCode(t, "one of the new protocol", c.ask(heartbeat).(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode, kerr.GroupMaxSizeReached)
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.MemberID = 1, "g0", members[0]
	wantCode(t, "leave", c.ask(leave).(*kmsg.LeaveGroupResponse).ErrorCode, nil)
	eventually(t, "there is room again", func() bool {
		return c.ask(large("more")).(*kmsg.JoinGroupResponse).ErrorCode == 0
	})
}
