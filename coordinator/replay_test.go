package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

var replayStart = time.UnixMilli(1_700_000_000_000)

func replayMachine() *Machine {
	return New(testConfig(), fakeTopics{"t": fakeTopic("t", 4, 0)})
}

func TestReplayOfBrokenRecords(t *testing.T) {
	name, one, two := "range", "one", "m"
	member := stored.MemberMetadata{ID: "m", InstanceID: &one, SessionTimeoutMillis: 10_000}
	key := stored.GroupMetadataKey{Group: "g"}.Append(nil)
	group := stored.GroupMetadataValue{ProtocolType: "consumer", Generation: 3, Leader: &two, StateMillis: -1}
	group.Members = []stored.MemberMetadata{member}
	for _, c := range []struct {
		what       string
		key, value []byte
		want       string
	}{
		{"a key of one byte", []byte{0}, nil, "type"},
		{"a group without a protocol", key, group.Append(nil), "protocol"},
		{"a short group", key, group.Append(nil)[:20], "GroupMetadata"},
		{"a member twice", key, twice(group, &name, nil).Append(nil), "two members"},
		{"an instance twice", key, twice(group, &name, &one).Append(nil), "two members"},
		{"a short offset", stored.OffsetCommitKey{Group: "g", Topic: "t"}.Append(nil), []byte{0, 1, 2}, "t-0"},
	} {
		m := replayMachine()
		err := m.Replay(c.key, c.value, replayStart)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
		if len(m.groups) > 0 {
			t.Errorf("%s leaves a group", c.what)
		}
	}
}

// twice has the group's member again: by its id, or under another with the same
// instance id.
func twice(g stored.GroupMetadataValue, protocol, instance *string) stored.GroupMetadataValue {
	g.Protocol = protocol
	other := g.Members[0]
	if other.InstanceID = instance; instance != nil {
		other.ID = "other"
	}
	g.Members = append(g.Members[:1:1], other)
	return g
}

func TestReplayOfRecordsToCome(t *testing.T) {
	m := replayMachine()
	for _, key := range [][]byte{{0, 99, 1, 2, 3}, {0, 11, 0, 1, 'g'}} {
		if err := m.Replay(key, []byte("anything"), replayStart); err != nil {
			t.Errorf("key %v: %v", key, err)
		}
	}
	if len(m.groups) > 0 {
		t.Errorf("%d groups", len(m.groups))
	}
}

func TestReplayOfLeaderThatIsNoMember(t *testing.T) {
	name, leader := "range", "gone"
	m := replayMachine()
	v := stored.GroupMetadataValue{
		ProtocolType: "consumer", Generation: 3, Protocol: &name, Leader: &leader, StateMillis: -1,
		Members: []stored.MemberMetadata{{ID: "m", RebalanceTimeoutMillis: -1, SessionTimeoutMillis: 10_000}},
	}
	if err := m.Replay(stored.GroupMetadataKey{Group: "g"}.Append(nil), v.Append(nil), replayStart); err != nil {
		t.Fatal(err)
	}
	c := m.groups["g"].classic
	if c.leader != "m" || c.members["m"].rebalanceTimeout != 10*time.Second {
		t.Errorf("led by %q, which takes %v to join again", c.leader, c.members["m"].rebalanceTimeout)
	}
}

// FuzzReplay takes records as they may be in a log: nothing breaks, and what is
// left can be led.
func FuzzReplay(f *testing.F) {
	name, leader := "range", "m"
	group := stored.GroupMetadataValue{
		ProtocolType: "consumer", Generation: 3, Protocol: &name, Leader: &leader, StateMillis: 5,
		Members: []stored.MemberMetadata{{ID: "m", SessionTimeoutMillis: 10_000, Subscription: subscriptionTo(1, "t")}},
	}
	f.Add(stored.GroupMetadataKey{Group: "g"}.Append(nil), group.Append(nil), true)
	f.Add(stored.GroupMetadataKey{Group: "g"}.Append(nil), []byte(nil), false)
	offset := stored.OffsetCommitValue{Offset: 7, ExpireMillis: -1}
	f.Add(stored.OffsetCommitKey{Group: "g", Topic: "t", Partition: 1}.Append(nil), offset.Append(nil), true)
	f.Add(stored.ConsumerGroupMetadataKey{Group: "g"}.Append(nil), stored.ConsumerGroupMetadataValue{Epoch: 4}.Append(nil), true)
	f.Add(stored.ConsumerGroupCurrentMemberAssignmentKey{Group: "g", Member: "m"}.Append(nil), []byte{0, 0, 1}, true)
	f.Fuzz(func(t *testing.T, key, value []byte, has bool) {
		m := replayMachine()
		if !has {
			value = nil
		}
		if err := m.Replay(key, value, replayStart); err != nil {
			return
		}
		now := replayStart
		m.Activate(now)
		for range 50 {
			at, ok := m.Deadline()
			if !ok {
				return
			}
			if at.After(now) {
				now = at
			}
			m.Step(now, Tick{})
		}
		m.Stats()
		m.Deactivate()
	})
}

// FuzzRequests steps requests as they come from the network, against a group
// with a member and offsets.
func FuzzRequests(f *testing.F) {
	keys := []kmsg.Key{
		kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.OffsetDelete,
		kmsg.ListGroups, kmsg.DescribeGroups, kmsg.DeleteGroups, kmsg.ConsumerGroupHeartbeat, kmsg.ConsumerGroupDescribe,
	}
	for i, key := range keys {
		req := kmsg.RequestForKey(int16(key))
		for version := range req.MaxVersion() + 1 {
			req.SetVersion(version)
			f.Add(uint8(i), uint8(version), req.AppendTo(nil))
		}
	}
	heartbeat := kmsg.NewPtrHeartbeatRequest()
	heartbeat.Version, heartbeat.Group, heartbeat.MemberID, heartbeat.Generation = 4, "g", "a-0001", 1
	f.Add(uint8(2), uint8(4), heartbeat.AppendTo(nil))
	f.Fuzz(func(t *testing.T, kind, version uint8, content []byte) {
		req := kmsg.RequestForKey(int16(keys[int(kind)%len(keys)]))
		req.SetVersion(int16(version) % (req.MaxVersion() + 1))
		if len(content) > stored.MaxStringBytes || req.ReadFrom(content) != nil {
			return
		}
		s := newStage(t)
		s.do("join a v=3")
		s.do("advance 3s")
		s.do("sync a assign=a:x")
		s.do("commit a t-0=5")
		s.apply(s.m.Step(s.now, &Request{Body: req, Client: Client{ID: "c"}, Token: func(resp kmsg.Response) {
			resp.AppendTo(nil)
		}}))
		s.do("advance 3h")
	})
}
