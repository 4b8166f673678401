package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// tester steps one machine, and keeps its records.
type tester struct {
	*testing.T
	cfg    Config
	topics fakeTopics
	m      *Machine
	now    time.Time
	log    []Record
}

func newTester(t *testing.T, topics ...Topic) *tester {
	return newTesterWith(t, testConfig(), topics...)
}

func newTesterWith(t *testing.T, cfg Config, topics ...Topic) *tester {
	tt := &tester{T: t, cfg: cfg, topics: fakeTopics{}, now: time.UnixMilli(1_700_000_000_000)}
	for _, topic := range topics {
		tt.topics[topic.Name] = topic
	}
	tt.m = New(tt.cfg, tt.topics)
	tt.m.Activate(tt.now)
	return tt
}

// step steps an event and returns the answer that it brings at once, or nil.
func (t *tester) step(e Event) kmsg.Response {
	out := t.m.Step(t.now, e)
	t.log = append(t.log, out.Records...)
	var last kmsg.Response
	for _, a := range out.Answers {
		if req, ok := e.(*Request); ok && a.Token == req.Token {
			last = a.Response
		}
	}
	return last
}

// after lets time pass.
func (t *tester) after(d time.Duration) {
	until := t.now.Add(d)
	for {
		at, ok := t.m.Deadline()
		if !ok || at.After(until) {
			break
		}
		t.now = at
		t.step(Tick{})
	}
	t.now = until
	t.step(Tick{})
}

// change makes a topic, or another of its name.
func (t *tester) change(topic Topic) {
	topics := fakeTopics{}
	for name, old := range t.topics {
		topics[name] = old
	}
	topics[topic.Name] = topic
	t.topics = topics
	t.step(TopicsChanged{topics})
}

// member is a member as its client sees it.
type member struct {
	t        *tester
	group    string
	id       string
	instance *string
	rack     *string
	topics   []string
	regex    *string
	assignor *string
	timeout  int32
	version  int16
	epoch    int32
	owned    []kmsg.ConsumerGroupHeartbeatRequestTopic
	code     int16
	told     bool // the last answer had an assignment
}

func (t *tester) member(id string, topics ...string) *member {
	return &member{t: t, group: "g", id: id, topics: topics, timeout: 60_000, version: 1}
}

func (c *member) request() *kmsg.ConsumerGroupHeartbeatRequest {
	body := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	body.Version = c.version
	body.Group, body.MemberID, body.InstanceID, body.MemberEpoch = c.group, c.id, c.instance, c.epoch
	return body
}

// send sends a request and takes the answer.
func (c *member) send(body *kmsg.ConsumerGroupHeartbeatRequest) *member {
	c.t.Helper()
	resp := c.t.step(&Request{Body: body, Client: Client{ID: "client-" + c.id, Host: "/127.0.0.1"}, Token: body}).(*kmsg.ConsumerGroupHeartbeatResponse)
	c.code = resp.ErrorCode
	c.told = resp.Assignment != nil
	if resp.ErrorCode != 0 {
		if resp.ErrorMessage == nil || *resp.ErrorMessage == "" {
			c.t.Errorf("error %d has no message", resp.ErrorCode)
		}
		return c
	}
	c.id, c.epoch = *resp.MemberID, resp.MemberEpoch
	if resp.Assignment != nil {
		c.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			c.owned = append(c.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
		}
	}
	return c
}

func (c *member) joining() *kmsg.ConsumerGroupHeartbeatRequest {
	c.epoch = 0
	body := c.request()
	body.RebalanceTimeoutMillis = c.timeout
	body.RackID, body.ServerAssignor, body.SubscribedTopicRegex = c.rack, c.assignor, c.regex
	body.SubscribedTopicNames = c.topics
	if c.topics == nil && c.regex == nil {
		body.SubscribedTopicNames = []string{}
	}
	body.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return body
}

func (c *member) join() *member {
	c.t.Helper()
	return c.send(c.joining())
}

// beat says only that the member is there.
func (c *member) beat() *member {
	c.t.Helper()
	return c.send(c.request())
}

// ack says what the member has: what it was told.
func (c *member) ack() *member {
	c.t.Helper()
	body := c.request()
	body.Topics = c.owned
	return c.send(body)
}

func (c *member) leave(epoch int32) *member {
	c.t.Helper()
	c.epoch = epoch
	return c.send(c.request())
}

// has writes down what the member was told.
func (c *member) has() string {
	var out []string
	for _, o := range c.owned {
		t, _ := c.t.topics.TopicByID(o.TopicID)
		out = append(out, fmt.Sprintf("%s%v", t.Name, o.Partitions))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (c *member) want(code *kerr.Error) {
	c.t.Helper()
	if err := kerr.TypedErrorForCode(c.code); err != code {
		c.t.Fatalf("%s: got %v, want %v", c.id, err, code)
	}
}

func (c *member) wantHas(epoch int32, has string) {
	c.t.Helper()
	c.want(nil)
	if c.epoch != epoch || c.has() != has {
		c.t.Fatalf("%s: epoch %d with %q, want %d with %q", c.id, c.epoch, c.has(), epoch, has)
	}
}

// state describes the group.
func (t *tester) describe(group string) kmsg.ConsumerGroupDescribeResponseGroup {
	body := kmsg.NewPtrConsumerGroupDescribeRequest()
	body.Version = 1
	body.Groups = []string{group}
	return t.step(&Request{Body: body, Token: body}).(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
}

func (t *tester) wantState(state string) {
	t.Helper()
	if got := t.describe("g").State; got != state {
		t.Fatalf("the group is %s, want %s", got, state)
	}
}

func TestConsumerPartitionGoesToItsNewOwnerOnceTheOldGaveItUp(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 4, 1))
	a, b := tt.member("a", "x"), tt.member("b", "x")
	a.join().wantHas(1, "x[0 1 2 3]")
	tt.wantState("Stable")
	b.join().wantHas(2, "")
	tt.wantState("Reconciling")
	b.beat().wantHas(2, "")
	a.beat().wantHas(1, "x[0 1]") // it stays at its epoch until it has given up the others
	b.beat().wantHas(2, "")
	a.beat()
	if a.told {
		t.Error("a heartbeat without news has an assignment")
	}
	a.ack().wantHas(2, "x[0 1]")
	b.beat().wantHas(2, "x[2 3]")
	tt.wantState("Stable")
	if a.beat(); a.told {
		t.Error("a heartbeat without news has an assignment")
	}
	// A full request, as of a member that does not know where it stands.
	body := a.request()
	body.RebalanceTimeoutMillis, body.SubscribedTopicNames, body.Topics = a.timeout, a.topics, a.owned
	if a.send(body); !a.told || a.has() != "x[0 1]" {
		t.Errorf("a full request is answered %v, %q", a.told, a.has())
	}
	b.leave(-1).want(nil)
	a.beat().wantHas(3, "x[0 1 2 3]")
	a.leave(-1).want(nil)
	tt.wantState("Empty")
}

func TestConsumerHeartbeatIsRefused(t *testing.T) {
	empty, one := "", "one"
	for _, c := range []struct {
		name string
		edit func(*kmsg.ConsumerGroupHeartbeatRequest)
		want *kerr.Error
	}{
		{"no group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }, kerr.InvalidRequest},
		{"a long group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = strings.Repeat("g", 100<<10) }, kerr.InvalidGroupID},
		{"no member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }, kerr.InvalidRequest},
		{"a long member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = strings.Repeat("g", 100<<10) }, kerr.InvalidRequest},
		{"an empty instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &empty }, kerr.InvalidRequest},
		{"an empty rack", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = &empty }, kerr.InvalidRequest},
		{"no rebalance timeout", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 }, kerr.InvalidRequest},
		{"partitions not said", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil }, kerr.InvalidRequest},
		{"partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.Topics = make([]kmsg.ConsumerGroupHeartbeatRequestTopic, 1)
		}, kerr.InvalidRequest},
		{"no subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil }, kerr.InvalidRequest},
		{"a strange assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &one }, kerr.UnsupportedAssignor},
		{"a strange epoch", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 }, kerr.InvalidRequest},
		{"static leave without instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 }, kerr.InvalidRequest},
		{"a group that does not exist", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 1 }, kerr.GroupIDNotFound},
		{"leaving a group that does not exist", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 }, kerr.GroupIDNotFound},
		{"an invalid regular expression", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			bad := "("
			r.SubscribedTopicRegex = &bad
		}, kerr.InvalidRegularExpression},
		{"a large subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.SubscribedTopicNames = []string{strings.Repeat("x", 10<<20)}
		}, kerr.InvalidRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := newTester(t, fakeTopic("x", 1, 1))
			a := tt.member("a", "x")
			body := a.joining()
			c.edit(body)
			a.send(body).want(c.want)
			if len(tt.m.groups) > 0 || len(tt.log) > 0 {
				t.Errorf("%d groups and %d records are left", len(tt.m.groups), len(tt.log))
			}
		})
	}
}

func TestConsumerMemberIDsOfTheCoordinator(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 1, 1))
	a := tt.member("", "x")
	a.version = 0
	a.join().wantHas(1, "x[0]")
	if a.id == "" {
		t.Error("no member id is given")
	}
	a.beat().want(nil)
}

func TestConsumerEpochsAreChecked(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 2, 1))
	a, b := tt.member("a", "x"), tt.member("b", "x")
	a.join()
	b.join()
	a.beat()
	before := *a
	a.ack().wantHas(2, "x[0]")
	// The answer was lost: it says once more what it said.
	before.ack().wantHas(2, "x[0]")
	for _, c := range []struct {
		epoch int32
		owned []kmsg.ConsumerGroupHeartbeatRequestTopic
	}{{3, nil}, {1, nil}, {1, []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: tt.topics["x"].ID, Partitions: []int32{0, 1}}}}} {
		zombie := *a
		zombie.epoch, zombie.owned = c.epoch, c.owned
		zombie.ack().want(kerr.FencedMemberEpoch)
	}
	// Who was fenced joins again with its id and has what it had.
	a.join().wantHas(2, "x[0]")
	tt.member("c", "x").beatAt(2).want(kerr.UnknownMemberID)
}

func (c *member) beatAt(epoch int32) *member {
	c.t.Helper()
	c.epoch = epoch
	return c.beat()
}

func TestConsumerSessionEnds(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 2, 1))
	a, b := tt.member("a", "x"), tt.member("b", "x")
	a.join()
	tt.after(30 * time.Second)
	b.join()
	tt.after(20 * time.Second)
	a.beat().want(kerr.UnknownMemberID)
	b.beat().wantHas(3, "x[0 1]")
	tt.after(46 * time.Second)
	tt.wantState("Empty")
}

func TestConsumerThatDoesNotGiveUpIsFenced(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 2, 1))
	a, b := tt.member("a", "x"), tt.member("b", "x")
	a.timeout = 20_000
	a.join()
	b.join()
	a.beat()
	for range 5 {
		tt.after(5 * time.Second)
		a.beat()
		b.beat()
	}
	a.want(kerr.UnknownMemberID)
	b.wantHas(3, "x[0 1]")
}

func TestConsumerStaticMembers(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 4, 1))
	one, two := "one", "two"
	a, b := tt.member("a", "x"), tt.member("b", "x")
	a.instance, b.instance = &one, &two
	a.join()
	b.join()
	a.beat()
	a.ack().wantHas(2, "x[0 1]")
	b.beat().wantHas(2, "x[2 3]")

	other := tt.member("other", "x")
	other.instance = &one
	other.join().want(kerr.UnreleasedInstanceID)
	other.beatAt(2).want(kerr.FencedInstanceID)
	three := "three"
	other.instance = &three
	other.beatAt(2).want(kerr.UnknownMemberID)

	a.leave(-2).want(nil)
	if a.epoch != -2 {
		t.Errorf("leaving for a while is answered with epoch %d", a.epoch)
	}
	records := len(tt.log)
	other.instance = &one
	other.join().wantHas(2, "x[0 1]")
	if n := len(tt.log) - records; n > 8 {
		t.Errorf("coming back took %d records: it was a rebalance", n)
	}
	tt.wantState("Stable")
	b.beat().wantHas(2, "x[2 3]")
	a.beatAt(2).want(kerr.FencedInstanceID)

	other.leave(-2).want(nil)
	tt.after(40 * time.Second)
	b.beat().wantHas(2, "x[2 3]")
	tt.after(10 * time.Second)
	b.beat().wantHas(3, "x[0 1 2 3]")
	b.leave(-1).want(nil)
	tt.wantState("Empty")
}

func TestConsumerGroupIsFull(t *testing.T) {
	cfg := testConfig()
	cfg.ConsumerMaxSize = 1
	tt := newTesterWith(t, cfg, fakeTopic("x", 2, 1))
	a := tt.member("a", "x")
	a.join().want(nil)
	tt.member("b", "x").join().want(kerr.GroupMaxSizeReached)
	a.beat().want(nil)
	a.join().want(nil)
}

func TestConsumerSubscriptionChanges(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 2, 1), fakeTopic("y", 2, 2))
	a, b := tt.member("a", "x", "y"), tt.member("b", "y")
	a.join().wantHas(1, "x[0 1] y[0 1]")
	b.join().wantHas(2, "")
	a.beat().wantHas(1, "x[0 1]")
	a.ack().wantHas(2, "x[0 1]")
	b.beat().wantHas(2, "y[0 1]")
	body := a.request()
	body.SubscribedTopicNames = []string{"y"}
	a.send(body).wantHas(2, "")
	a.ack().wantHas(3, "")
	b.beat().wantHas(2, "y[0]")
	b.ack().wantHas(3, "y[0]")
	a.beat().wantHas(3, "y[1]")
	tt.wantState("Stable")
}

func TestConsumerTopicsChange(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 1, 1))
	a := tt.member("a", "x", "later")
	a.join().wantHas(1, "x[0]")
	tt.change(fakeTopic("unrelated", 1, 9))
	a.beat().wantHas(1, "x[0]")
	tt.change(fakeTopic("x", 3, 1))
	a.beat().wantHas(2, "x[0 1 2]")
	tt.change(fakeTopic("later", 1, 2))
	a.beat().wantHas(3, "later[0] x[0 1 2]")
	tt.change(fakeTopic("later", 1, 3)) // deleted, and made anew
	a.beat()
	a.ack().wantHas(4, "later[0] x[0 1 2]")
	tt.wantState("Stable")
}

func TestConsumerRegularExpression(t *testing.T) {
	tt := newTester(t, fakeTopic("x1", 1, 1), fakeTopic("y1", 1, 2))
	xs, all := "x.*", "[xy].*"
	a := tt.member("a")
	a.regex = &xs
	a.join().wantHas(1, "x1[0]")
	tt.change(fakeTopic("x2", 1, 3))
	tt.after(time.Second)
	a.beat().wantHas(2, "x1[0] x2[0]")
	body := a.request()
	body.SubscribedTopicRegex = &all
	a.send(body).wantHas(3, "x1[0] x2[0] y1[0]")
	b := tt.member("b", "y1")
	b.join()
	if got := tt.describe("g").Members[0].SubscribedTopicRegex; got == nil || *got != all {
		t.Errorf("described with %v", got)
	}
	none := ""
	body = a.request()
	body.SubscribedTopicRegex = &none
	a.send(body).want(nil)
	if n := len(tt.m.groups["g"].consumer.regexes); n != 0 {
		t.Errorf("%d regular expressions are left", n)
	}
}

func TestConsumerAssignorOfMost(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 1, 1))
	ranges := "range"
	a, b := tt.member("a", "x"), tt.member("b", "x")
	a.join()
	if got := tt.describe("g").AssignorName; got != "uniform" {
		t.Errorf("the default is %s", got)
	}
	b.assignor = &ranges
	b.join()
	if got := tt.describe("g").AssignorName; got != "range" {
		t.Errorf("a member asks for range, it is %s", got)
	}
	uniform := "uniform"
	body := b.request()
	body.ServerAssignor = &uniform
	if b.send(body); b.epoch != 3 || tt.describe("g").AssignorName != "uniform" {
		t.Errorf("it asks for another, and is at epoch %d", b.epoch)
	}
}

func TestConsumerCommitsAreChecked(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 2, 1))
	commit := func(id string, epoch int32, version int16, partition int32) *kerr.Error {
		body := kmsg.NewPtrOffsetCommitRequest()
		body.Version, body.Group, body.MemberID, body.Generation = version, "g", id, epoch
		body.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "x", TopicID: tt.topics["x"].ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: partition, Offset: 7}}}}
		resp := tt.step(&Request{Body: body, Token: body}).(*kmsg.OffsetCommitResponse)
		return kerr.TypedErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	a, b := tt.member("a", "x"), tt.member("b", "x")
	a.join()
	b.join()
	a.beat()
	a.ack().wantHas(2, "x[0]")
	b.beat().wantHas(2, "x[1]")
	for _, c := range []struct {
		id        string
		epoch     int32
		version   int16
		partition int32
		want      *kerr.Error
	}{
		{"a", 2, 9, 0, nil},
		{"a", 2, 10, 0, nil},
		{"a", 1, 9, 0, nil}, // it has had it since (KIP-1251)
		{"a", 1, 9, 1, kerr.StaleMemberEpoch},
		{"a", 3, 9, 0, kerr.StaleMemberEpoch},
		{"b", 1, 9, 1, kerr.StaleMemberEpoch},
		{"b", 2, 9, 1, nil},
		{"a", 2, 8, 0, kerr.UnsupportedVersion},
		{"c", 2, 9, 0, kerr.UnknownMemberID},
		{"", -1, 9, 0, kerr.UnknownMemberID},
	} {
		if got := commit(c.id, c.epoch, c.version, c.partition); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
	if code := tt.m.consumerCheckFetch(tt.m.groups["g"], "a", 1); code != kerr.StaleMemberEpoch.Code {
		t.Errorf("a fetch with an old epoch: %d", code)
	}
	a.leave(-1)
	b.leave(-1)
	if got := commit("", -1, 9, 0); got != nil {
		t.Errorf("a simple consumer, of an empty group: %v", got)
	}
}

func TestConsumerDescribe(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 1, 1))
	rack := "r"
	a := tt.member("a", "x")
	a.rack = &rack
	a.join()
	g := tt.describe("g")
	want := "[{a <nil> r 1 client-a /127.0.0.1 [x] <nil> x[0] x[0] 1}]"
	var got []string
	for _, m := range g.Members {
		got = append(got, fmt.Sprint(struct {
			id, instance, rack     string
			epoch                  int32
			client, host           string
			topics                 []string
			regex, assigned, wants string
			kind                   int8
		}{m.MemberID, orNil(m.InstanceID), orNil(m.RackID), m.MemberEpoch, m.ClientID, m.ClientHost, m.SubscribedTopics,
			orNil(m.SubscribedTopicRegex), assignment(m.Assignment), assignment(m.TargetAssignment), m.MemberType}))
	}
	if fmt.Sprint(got) != want || g.State != "Stable" || g.Epoch != 1 || g.AssignmentEpoch != 1 {
		t.Errorf("got %v, want %s: %+v", got, want, g)
	}
	if g := tt.describe("none"); g.ErrorCode != kerr.GroupIDNotFound.Code || g.ErrorMessage == nil {
		t.Errorf("a group that does not exist: %+v", g)
	}
}

func orNil(s *string) string {
	if s == nil {
		return "<nil>"
	}
	return *s
}

func assignment(a kmsg.Assignment) string {
	var out []string
	for _, t := range a.TopicPartitions {
		out = append(out, fmt.Sprintf("%s%v", t.Topic, t.Partitions))
	}
	return strings.Join(out, " ")
}

// What is calculated for a large group, and what is recorded, must not be once
// for each member that joins.
func TestConsumerManyJoinAtOnce(t *testing.T) {
	const members = 5000
	cfg := testConfig()
	cfg.ConsumerMaxSize = members
	cfg.MaxGroupBytes = 64 << 20
	cfg.ConsumerAssignmentInterval = time.Second
	tt := newTesterWith(t, cfg, fakeTopic("x", members, 1))
	all := make([]*member, members)
	for i := range all {
		all[i] = tt.member(fmt.Sprintf("member-%04d", i), "x")
		all[i].join().want(nil)
		tt.after(400 * time.Microsecond)
	}
	if n := tt.m.consumers.rebalances; n > 40 {
		t.Errorf("%d members joined in 2 s, which took %d target assignments", members, n)
	}
	for range 4 {
		tt.after(5 * time.Second)
		for _, c := range all {
			if c.beat(); c.told {
				c.ack()
			}
		}
	}
	for _, c := range all {
		if len(c.owned) != 1 || len(c.owned[0].Partitions) != 1 {
			t.Fatalf("%s has %s", c.id, c.has())
		}
	}
	tt.wantState("Stable")
	records := len(tt.log)
	all[0].leave(-1)
	if n := len(tt.log) - records; n > 6 {
		t.Errorf("one of %d members left, which took %d records", members, n)
	}
}

func BenchmarkConsumerHeartbeat(b *testing.B) {
	cfg := testConfig()
	cfg.ConsumerMaxSize, cfg.ConsumerAssignmentInterval = 5000, time.Second
	m := New(cfg, fakeTopics{"x": fakeTopic("x", 5000, 1)})
	now := time.UnixMilli(1_700_000_000_000)
	m.Activate(now)
	client := Client{ID: "c", Host: "/127.0.0.1"}
	for i := range 5000 {
		body := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		body.Version, body.Group, body.MemberID, body.RebalanceTimeoutMillis = 1, "g", fmt.Sprint("m", i), 60000
		body.SubscribedTopicNames, body.Topics = []string{"x"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		m.Step(now, &Request{Body: body, Client: client})
	}
	now = now.Add(time.Second)
	m.Step(now, Tick{})
	body := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	body.Version, body.Group, body.MemberID = 1, "g", "m17"
	body.MemberEpoch = m.groups["g"].consumer.members["m17"].epoch
	req := &Request{Body: body, Client: client}
	m.Step(now, req)
	body.MemberEpoch = m.groups["g"].consumer.members["m17"].epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		m.Step(now, req)
	}
}

func TestConsumerGroupConfigs(t *testing.T) {
	cfg := testConfig()
	cfg.ConsumerAssignmentInterval = time.Second
	none := time.Duration(0)
	cfg.Group = func(id string) GroupConfig {
		if id != "g" {
			return GroupConfig{}
		}
		return GroupConfig{ConsumerSessionTimeout: 10 * time.Second, ConsumerHeartbeatInterval: time.Second, ConsumerAssignmentInterval: &none}
	}
	tt := newTesterWith(t, cfg, fakeTopic("x", 1000, 1))
	a, other := tt.member("a", "x"), tt.member("a", "x")
	other.group = "other"
	a.join().want(nil)
	other.join().want(nil)
	b, late := tt.member("b", "x"), tt.member("b", "x")
	late.group = "other"
	b.join()
	late.join()
	if b.epoch != 2 || late.epoch != 1 {
		t.Errorf("without an interval the second member is at epoch %d, with one at %d", b.epoch, late.epoch)
	}
	tt.after(11 * time.Second)
	a.beat().want(kerr.UnknownMemberID)
	other.beat().want(nil)
}

func TestConsumerRacksChange(t *testing.T) {
	x := fakeTopic("x", 2, 1)
	x.Racks = [][]string{{"a", "b"}, {"b"}}
	tt := newTester(t, x)
	a := tt.member("m", "x")
	a.join().wantHas(1, "x[0 1]")
	x.Racks = [][]string{{"b", "a"}, {"b"}} // in another order
	tt.change(x)
	a.beat().wantHas(1, "x[0 1]")
	x.Racks = [][]string{{"b"}, {"b"}}
	tt.change(x)
	a.beat().wantHas(2, "x[0 1]")
}

func TestConsumerGroupsAreLimited(t *testing.T) {
	cfg := testConfig()
	cfg.MaxGroups, cfg.MaxGroupBytes = 1, 1000
	tt := newTesterWith(t, cfg, fakeTopic("x", 2, 1))
	a := tt.member("a", "x")
	a.join().want(nil)
	other := tt.member("a", "x")
	other.group = "other"
	other.join().want(kerr.GroupMaxSizeReached)
	tt.member("b", strings.Repeat("x", 999)).join().want(kerr.GroupMaxSizeReached)
	a.beat().wantHas(1, "x[0 1]")
}

func TestConsumerFetchesAreChecked(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 2, 1))
	a := tt.member("a", "x")
	a.join().want(nil)
	g := tt.m.groups["g"]
	for _, c := range []struct {
		id    string
		epoch int32
		want  *kerr.Error
	}{{"a", 1, nil}, {"a", 2, kerr.StaleMemberEpoch}, {"b", 1, kerr.UnknownMemberID}} {
		if got := kerr.TypedErrorForCode(tt.m.consumerCheckFetch(g, c.id, c.epoch)); got != c.want {
			t.Errorf("%q at %d: got %v, want %v", c.id, c.epoch, got, c.want)
		}
	}
}

// The records of a member that were not removed together leave no member behind.
func TestConsumerLeftoversOfMembers(t *testing.T) {
	tt := newTester(t, fakeTopic("x", 2, 1))
	a := tt.member("a", "x")
	a.join().want(nil)
	m := New(tt.cfg, tt.topics)
	for _, r := range tt.log {
		if key, _ := stored.ParseKey(r.Key); key == (stored.ConsumerGroupMemberMetadataKey{Group: "g", Member: "a"}) {
			continue
		}
		if err := m.Replay(r.Key, r.Value, tt.now); err != nil {
			t.Fatal(err)
		}
	}
	out := m.Activate(tt.now)
	if n := len(m.groups["g"].consumer.members); n != 0 || len(out.Records) < 3 {
		t.Errorf("%d members are left, %d records clear up", n, len(out.Records))
	}
}
