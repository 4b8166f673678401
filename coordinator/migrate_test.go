package coordinator

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicMemberOf g joins, and syncs with the given assignment as the leader.
func (t *tester) classic(metadata, assignment []byte, protocolType string) string {
	t.Helper()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 3, "g", 10_000, 60_000
	join.ProtocolType = protocolType
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "p", Metadata: metadata}}
	resp := t.step(&Request{Body: join, Client: Client{ID: "classic"}, Token: join}).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode != 0 {
		t.Fatalf("JoinGroup: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, "g", resp.MemberID, resp.Generation
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: resp.MemberID, MemberAssignment: assignment}}
	synced := t.step(&Request{Body: sync, Token: sync}).(*kmsg.SyncGroupResponse)
	if synced.ErrorCode != 0 {
		t.Fatalf("SyncGroup: %v", kerr.ErrorForCode(synced.ErrorCode))
	}
	return resp.MemberID
}

func atOnce() Config {
	cfg := testConfig()
	cfg.InitialRebalanceDelay = 0
	return cfg
}

func TestClassicGroupIsNotUpgraded(t *testing.T) {
	plain := embeddedMetadata(1, nil, []string{"x"})
	withUserData := kmsg.NewConsumerMemberAssignment()
	withUserData.UserData = []byte("mine")
	for _, c := range []struct {
		name                 string
		change               func(*Config)
		metadata, assignment []byte
		kind                 string
		want                 *kerr.Error
	}{
		{"upgrades are disabled", func(c *Config) { c.ConsumerMigration = MigrationDowngrade }, plain, nil, "consumer", kerr.GroupIDNotFound},
		{"migration is disabled", func(c *Config) { c.ConsumerMigration = MigrationDisabled }, plain, nil, "consumer", kerr.GroupIDNotFound},
		{"it is not of consumers", nil, plain, nil, "connect", kerr.GroupIDNotFound},
		{"metadata cannot be read", nil, []byte("opaque"), nil, "consumer", kerr.GroupIDNotFound},
		{"assignments cannot be read", nil, plain, []byte("opaque"), "consumer", kerr.GroupIDNotFound},
		{"assignments have user data", nil, plain, withUserData.AppendTo(nil), "consumer", kerr.GroupIDNotFound},
		{"it is full", func(c *Config) { c.ConsumerMaxSize = 1 }, plain, nil, "consumer", kerr.GroupMaxSizeReached},
		{"it is more than full", func(c *Config) { c.ConsumerMaxSize = 0 }, plain, nil, "consumer", kerr.GroupIDNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := atOnce()
			if c.change != nil {
				c.change(&cfg)
			}
			tt := newTesterWith(t, cfg, fakeTopic("x", 2, 1))
			id := tt.classic(c.metadata, c.assignment, c.kind)
			records := len(tt.log)
			tt.member("a", "x").join().want(c.want)
			if g := tt.m.groups["g"]; len(tt.log) != records || g.consumer != nil || g.classic.members[id] == nil || g.classic.state != classicStable {
				t.Errorf("the group was changed: %+v", g)
			}
		})
	}
}

func TestUpgradeKeepsWhatMembersHave(t *testing.T) {
	tt := newTesterWith(t, atOnce(), fakeTopic("x", 4, 1))
	strangers := []namedPartitions{{"x", []int32{0, 1, 2, 3, 9, -1, 3}}, {"unheard", []int32{0}}}
	id := tt.classic(embeddedMetadata(1, nil, []string{"x"}), appendAssignment(nil, 1, strangers), "consumer")
	a := tt.member("a", "x")
	a.join().wantHas(2, "") // what it is to have is the other's still
	g := tt.describe("g")
	if got := assignment(g.Members[1].Assignment); g.Members[1].MemberID != id || g.Members[1].MemberType != 0 || got != "x[0 1 2 3]" {
		t.Errorf("the classic member is described as %+v", g.Members[1])
	}
	heartbeat := kmsg.NewPtrHeartbeatRequest()
	heartbeat.Version, heartbeat.Group, heartbeat.MemberID, heartbeat.Generation = 3, "g", id, 1
	if resp := tt.step(&Request{Body: heartbeat, Token: heartbeat}).(*kmsg.HeartbeatResponse); resp.ErrorCode != kerr.RebalanceInProgress.Code {
		t.Errorf("the classic member's heartbeat: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	tt.after(61e9) // it does not join again
	a.join()
	if g := tt.describe("g"); len(g.Members) != 1 {
		t.Errorf("%d members are left", len(g.Members))
	}
}

func TestJoinGroupOfAConsumerGroupIsRefused(t *testing.T) {
	plain := embeddedMetadata(1, nil, []string{"x"})
	one, empty := "one", ""
	for _, c := range []struct {
		name string
		edit func(*kmsg.JoinGroupRequest)
		want *kerr.Error
	}{
		{"another kind", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }, kerr.InconsistentGroupProtocol},
		{"no protocol", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }, kerr.InconsistentGroupProtocol},
		{"opaque metadata", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Metadata = []byte("opaque") }, kerr.InconsistentGroupProtocol},
		{"large metadata", func(r *kmsg.JoinGroupRequest) {
			r.Protocols[0].Metadata = append(plain, make([]byte, 10<<20)...)
		}, kerr.InvalidRequest},
		{"an empty instance", func(r *kmsg.JoinGroupRequest) { r.InstanceID = &empty }, kerr.InvalidRequest},
		{"an unknown instance", func(r *kmsg.JoinGroupRequest) { r.InstanceID, r.MemberID = &one, "stranger" }, kerr.UnknownMemberID},
		{"a short session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 }, kerr.InvalidSessionTimeout},
		{"no member id", func(r *kmsg.JoinGroupRequest) { r.Version = 4 }, kerr.MemberIDRequired},
		{"partitions of a member that is none", func(r *kmsg.JoinGroupRequest) {
			r.Protocols[0].Metadata = embeddedMetadata(1, nil, []string{"x"}, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: "x", Partitions: []int32{0}})
		}, kerr.UnknownMemberID},
		{"too many", func(r *kmsg.JoinGroupRequest) {}, kerr.GroupMaxSizeReached},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := atOnce()
			if c.want == kerr.GroupMaxSizeReached {
				cfg.ConsumerMaxSize = 1
			}
			tt := newTesterWith(t, cfg, fakeTopic("x", 2, 1))
			a := tt.member("a", "x")
			a.join().want(nil)
			records := len(tt.log)
			join := kmsg.NewPtrJoinGroupRequest()
			join.Version, join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 3, "g", 10_000, 60_000
			join.ProtocolType = "consumer"
			join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "p", Metadata: plain}}
			c.edit(join)
			resp := tt.step(&Request{Body: join, Token: join}).(*kmsg.JoinGroupResponse)
			if got := kerr.TypedErrorForCode(resp.ErrorCode); got != c.want || len(tt.log) != records {
				t.Errorf("got %v with %d records, want %v", got, len(tt.log)-records, c.want)
			}
			a.beat().wantHas(1, "x[0 1]")
		})
	}
}

func TestClassicMembersMustShareAProtocol(t *testing.T) {
	tt := newTesterWith(t, atOnce(), fakeTopic("x", 2, 1))
	tt.member("a", "x").join().want(nil)
	join := func(name string) *kerr.Error {
		body := kmsg.NewPtrJoinGroupRequest()
		body.Version, body.Group, body.SessionTimeoutMillis, body.RebalanceTimeoutMillis = 3, "g", 10_000, 60_000
		body.ProtocolType = "consumer"
		for _, name := range strings.Split(name, ",") {
			body.Protocols = append(body.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: embeddedMetadata(0, nil, []string{"x"})})
		}
		return kerr.TypedErrorForCode(tt.step(&Request{Body: body, Token: body}).(*kmsg.JoinGroupResponse).ErrorCode)
	}
	if err := join("range,sticky"); err != nil {
		t.Errorf("the first classic member: %v", err)
	}
	if err := join("roundrobin"); err != kerr.InconsistentGroupProtocol {
		t.Errorf("one with another protocol: %v", err)
	}
	if err := join("sticky"); err != nil {
		t.Errorf("one with a protocol of the first: %v", err)
	}
}

// A static member of the consumer protocol that is restarted with the classic one,
// as the last of its kind, makes the group a classic one.
func TestStaticMemberBringsTheDowngrade(t *testing.T) {
	for _, topics := range [][]string{{"x"}, {"x", "y"}} {
		tt := newTesterWith(t, atOnce(), fakeTopic("x", 2, 1), fakeTopic("y", 2, 2))
		one := "one"
		a := tt.member("a", "x")
		a.instance = &one
		a.join().wantHas(1, "x[0 1]")
		a.leave(-2)
		join := kmsg.NewPtrJoinGroupRequest()
		join.Version, join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 5, "g", 10_000, 60_000
		join.InstanceID, join.ProtocolType = &one, "consumer"
		join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "p", Metadata: embeddedMetadata(1, nil, topics)}}
		resp := tt.step(&Request{Body: join, Token: join}).(*kmsg.JoinGroupResponse)
		g := tt.m.groups["g"]
		if resp.ErrorCode != 0 || g.consumer != nil || g.classic == nil || resp.Generation != g.classic.generation {
			t.Errorf("topics %v: answered %+v, the group is %+v", topics, resp, g)
		}
	}
}
