package cluster

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/protocol"
)

// testCluster is a machine with its log's end.
type testCluster struct {
	*Machine
	t     *testing.T
	index uint64
	ids   byte
}

func newTestCluster(t *testing.T, nodes int) *testCluster {
	t.Helper()
	c := &testCluster{Machine: NewMachine(), t: t}
	c.must(&BootstrapCluster{ClusterID: "5L6g3nShT-eMCtK--X86sw", TimeMs: 1})
	for id := range nodes {
		c.must(&RegisterNode{Node: testNode(int32(id+1), "")})
	}
	return c
}

func testNode(id int32, rack string) Node {
	return Node{
		ID: id, Directory: [16]byte{byte(id), 1}, Rack: rack,
		Listeners: []Listener{{Name: "KAFKA", Host: "127.0.0.1", Port: 9092}},
	}
}

func (c *testCluster) apply(command Command) Result {
	c.index++
	return c.Apply(c.index, Encode(command))
}

func (c *testCluster) must(command Command) Result {
	c.t.Helper()
	r := c.apply(command)
	if r.Err != nil {
		c.t.Fatalf("apply %T: %v", command, r.Err)
	}
	return r
}

func (c *testCluster) newID() TopicID {
	c.ids++
	return TopicID{15: c.ids}
}

// create makes a topic the way a broker does.
func (c *testCluster) create(spec TopicSpec) *Topic {
	c.t.Helper()
	command, err := NewCreateTopic(c.Image(), c.newID(), 5, spec, testDefaults)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.must(command).Topic
}

var testDefaults = Defaults{Partitions: 1, ReplicationFactor: 1, Limits: Limits{Topics: 10, Partitions: 20}}

func topicSpec(name string) TopicSpec {
	return TopicSpec{Name: name, Partitions: -1, ReplicationFactor: -1}
}

// wantError checks the code, and that the text holds the words.
func wantError(t *testing.T, err error, code *kerr.Error, words string) {
	t.Helper()
	if code == nil {
		if err != nil {
			t.Errorf("got %v, want none", err)
		}
		return
	}
	var e *protocol.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("got %v, want %s with %q", err, code.Message, words)
	}
}

func TestTopicNames(t *testing.T) {
	for _, c := range []struct{ name, words string }{
		{"a", ""}, {"Order.lines_2-x", ""}, {"...", ""}, {strings.Repeat("x", 249), ""},
		{"", "empty"}, {".", "may not be"}, {"..", "may not be"}, {strings.Repeat("x", 250), "longer than 249"},
		{"a b", "illegal character at 1"}, {"a/b", "illegal"}, {"ä", "illegal"}, {"a\x00", "illegal"}, {"a:b", "illegal"},
	} {
		code := kerr.InvalidTopicException
		if c.words == "" {
			code = nil
		}
		wantError(t, ValidateTopicName(c.name), code, c.words)
	}
}

func TestCreateTopicRules(t *testing.T) {
	c := newTestCluster(t, 3)
	c.create(topicSpec("taken"))
	c.create(topicSpec("a.b"))
	hand := func(partitions ...PartitionReplicas) TopicSpec {
		s := topicSpec("t")
		s.Assignment = partitions
		return s
	}
	with := func(change func(*TopicSpec)) TopicSpec {
		s := topicSpec("t")
		change(&s)
		return s
	}
	config := func(name, value string) TopicSpec {
		return with(func(s *TopicSpec) { s.Configs = map[string]string{name: value} })
	}
	for _, test := range []struct {
		name  string
		spec  TopicSpec
		code  *kerr.Error
		words string
	}{
		{"defaults", topicSpec("t"), nil, ""},
		{"name", topicSpec("t/"), kerr.InvalidTopicException, "illegal"},
		{"taken", topicSpec("taken"), kerr.TopicAlreadyExists, "taken"},
		{"collision", topicSpec("a_b"), kerr.InvalidTopicException, `collides with topic "a.b"`},
		{"no partitions", with(func(s *TopicSpec) { s.Partitions = 0 }), kerr.InvalidPartitions, "positive"},
		{"negative partitions", with(func(s *TopicSpec) { s.Partitions = -2 }), kerr.InvalidPartitions, "positive"},
		{"too many at once", with(func(s *TopicSpec) { s.Partitions = 1 << 30 }), kerr.PolicyViolation, "at once"},
		{"too many in all", with(func(s *TopicSpec) { s.Partitions = 19 }), kerr.PolicyViolation, "max.partitions"},
		{"factor 0", with(func(s *TopicSpec) { s.ReplicationFactor = 0 }), kerr.InvalidReplicationFactor, "positive"},
		{"factor 4", with(func(s *TopicSpec) { s.ReplicationFactor = 4 }), kerr.InvalidReplicationFactor, "the cluster has 3"},
		{"by hand", hand(PartitionReplicas{1, []int32{2, 3}}, PartitionReplicas{0, []int32{1, 2}}), nil, ""},
		{"by hand and by number", with(func(s *TopicSpec) {
			s.Partitions, s.Assignment = 1, []PartitionReplicas{{0, []int32{1}}}
		}), kerr.InvalidRequest, "-1"},
		{"gap", hand(PartitionReplicas{1, []int32{1}}), kerr.InvalidReplicaAssignment, "without gaps"},
		{"twice", hand(PartitionReplicas{0, []int32{1}}, PartitionReplicas{0, []int32{1}}), kerr.InvalidReplicaAssignment, "twice"},
		{"nowhere", hand(PartitionReplicas{0, nil}), kerr.InvalidReplicaAssignment, "no replicas"},
		{"unknown node", hand(PartitionReplicas{0, []int32{4}}), kerr.InvalidReplicaAssignment, "not registered"},
		{"same node", hand(PartitionReplicas{0, []int32{1, 1}}), kerr.InvalidReplicaAssignment, "twice"},
		{"uneven", hand(PartitionReplicas{0, []int32{1, 2}}, PartitionReplicas{1, []int32{1}}), kerr.InvalidReplicaAssignment, "the first has 2"},
		{"config", config("retention.ms", "5"), nil, ""},
		{"unknown config", config("retention.mss", "5"), kerr.InvalidConfig, `did you mean "retention.ms"`},
		{"bad config", config("retention.ms", "x"), kerr.InvalidConfig, "not a whole number"},
		{"policy", config("cleanup.policy", "shrink"), kerr.InvalidConfig, "not one of delete, compact"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := c.Image()
			_, err := NewCreateTopic(before, TopicID{9}, 1, test.spec, testDefaults)
			wantError(t, err, test.code, test.words)
			if c.Image() != before {
				t.Error("validating changed the image")
			}
		})
	}
}

func TestTopicLimit(t *testing.T) {
	c := newTestCluster(t, 1)
	for n := range 10 {
		c.create(topicSpec(strings.Repeat("x", n+1)))
	}
	_, err := NewCreateTopic(c.Image(), c.newID(), 1, topicSpec("more"), testDefaults)
	wantError(t, err, kerr.PolicyViolation, "max.topics")
}

// TestRaces proposes from an image that is no longer the current one.
func TestRaces(t *testing.T) {
	c := newTestCluster(t, 1)
	old := c.Image()
	first, err := NewCreateTopic(old, c.newID(), 1, topicSpec("t"), testDefaults)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := NewCreateTopic(old, c.newID(), 1, topicSpec("t"), testDefaults)
	topic := c.must(first).Topic
	wantError(t, c.apply(second).Err, kerr.TopicAlreadyExists, "")

	more, err := NewCreatePartitions(c.Image(), topic, 2, nil, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c.must(more)
	wantError(t, c.apply(more).Err, kerr.InvalidPartitions, "no longer 1")

	c.must(&DeleteTopic{ID: topic.ID})
	wantError(t, c.apply(&DeleteTopic{ID: topic.ID}).Err, kerr.UnknownTopicID, "")
	wantError(t, c.apply(&AlterTopicConfigs{ID: topic.ID}).Err, kerr.UnknownTopicID, "")
	wantError(t, c.apply(more).Err, kerr.UnknownTopicID, "")
	if c.Image().Index() != c.index {
		t.Errorf("the image is at %d, the log at %d", c.Image().Index(), c.index)
	}
}

func TestDeletedTopicsStayKnownUntilPurged(t *testing.T) {
	c := newTestCluster(t, 2)
	spec := topicSpec("t")
	spec.Partitions, spec.ReplicationFactor = 3, 2
	topic := c.create(spec)
	c.must(&DeleteTopic{ID: topic.ID, TimeMs: 7})
	i := c.Image()
	if i.Topic("t") != nil || i.TopicByID(topic.ID) != nil || i.NumPartitions() != 0 {
		t.Error("the topic is still there")
	}
	gone := i.Deleted(topic.ID)
	if gone == nil || gone.Name != "t" || gone.Partitions != 3 || len(gone.Pending) != 2 || gone.DeletedMs != 7 {
		t.Fatalf("deleted: %+v", gone)
	}
	again := c.create(topicSpec("t"))
	if again.ID == topic.ID {
		t.Error("the new topic has the old id")
	}
	wantError(t, c.apply(&CreateTopic{Name: "u", ID: topic.ID, Assignment: [][]int32{{1}}}).Err, kerr.InvalidRequest, "taken")
	c.must(&TopicPurged{ID: topic.ID, Node: 1})
	c.must(&TopicPurged{ID: topic.ID, Node: 1})
	if gone := c.Image().Deleted(topic.ID); gone == nil || len(gone.Pending) != 1 || gone.Pending[0] != 2 {
		t.Fatalf("after one node: %+v", gone)
	}
	c.must(&TopicPurged{ID: topic.ID, Node: 2})
	for d := range c.Image().DeletedTopics() {
		t.Errorf("still there: %+v", d)
	}
	if len(gone.Pending) != 2 {
		t.Error("an older image changed")
	}
}

func TestCreatePartitionsRules(t *testing.T) {
	c := newTestCluster(t, 3)
	spec := topicSpec("t")
	spec.Partitions, spec.ReplicationFactor = 2, 2
	topic := c.create(spec)
	for _, test := range []struct {
		name       string
		count      int32
		assignment [][]int32
		code       *kerr.Error
		words      string
	}{
		{"more", 4, nil, nil, ""},
		{"same", 2, nil, kerr.InvalidPartitions, "already"},
		{"fewer", 1, nil, kerr.InvalidPartitions, "cannot become fewer"},
		{"negative", -1 << 31, nil, kerr.InvalidPartitions, "fewer"},
		{"many", 1<<31 - 1, nil, kerr.PolicyViolation, "at once"},
		{"limit", 21, nil, kerr.PolicyViolation, "max.partitions"},
		{"by hand", 3, [][]int32{{3, 1}}, nil, ""},
		{"too few by hand", 4, [][]int32{{3, 1}}, kerr.InvalidReplicaAssignment, "names 1"},
		{"other factor", 3, [][]int32{{3}}, kerr.InvalidReplicaAssignment, "replicas a partition"},
		{"unknown node", 3, [][]int32{{3, 9}}, kerr.InvalidReplicaAssignment, "not registered"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewCreatePartitions(c.Image(), topic, test.count, test.assignment, testDefaults.Limits)
			wantError(t, err, test.code, test.words)
		})
	}
	command, _ := NewCreatePartitions(c.Image(), topic, 3, [][]int32{{3, 1}}, Limits{})
	after := c.must(command).Topic
	if r := after.Partitions[2].Replicas; len(r) != 2 || r[0] != (Replica{3, 1}) || r[1] != (Replica{1, 1}) {
		t.Errorf("the new partition is %v", r)
	}
	if len(topic.Partitions) != 2 {
		t.Error("the old topic changed")
	}
	if _, on := after.Partitions[2].On(2); on {
		t.Error("the new partition is on node 2")
	}
}

func TestAlterTopicConfigs(t *testing.T) {
	c := newTestCluster(t, 1)
	topic := c.create(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"retention.ms": "5"}})
	broker := configs.BrokerConfig{}
	for _, test := range []struct {
		name  string
		ops   []ConfigOp
		code  *kerr.Error
		words string
	}{
		{"unknown", []ConfigOp{{Name: "segment.byte", Value: "1"}}, kerr.InvalidConfig, `did you mean "segment.bytes"`},
		{"unknown to delete", []ConfigOp{{Kind: ConfigDelete, Name: "x"}}, kerr.InvalidConfig, "unknown"},
		{"bad", []ConfigOp{{Name: "segment.bytes", Value: "1"}}, kerr.InvalidConfig, "at least 1048576"},
		{"twice", []ConfigOp{{Name: "segment.ms", Value: "1"}, {Kind: ConfigDelete, Name: "segment.ms"}}, kerr.InvalidRequest, "twice"},
		{"append to a number", []ConfigOp{{Kind: ConfigAppend, Name: "segment.ms", Value: "1"}}, kerr.InvalidConfig, "only lists"},
		{"append a policy", []ConfigOp{{Kind: ConfigAppend, Name: "cleanup.policy", Value: "shrink"}}, kerr.InvalidConfig, "not one of delete, compact"},
		{"subtract all", []ConfigOp{{Kind: ConfigSubtract, Name: "cleanup.policy", Value: "delete"}}, kerr.InvalidConfig, "empty policy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewAlterTopicConfigs(c.Image(), topic, false, test.ops, broker)
			wantError(t, err, test.code, test.words)
		})
	}
	alter := func(replace bool, ops ...ConfigOp) *Topic {
		t.Helper()
		command, err := NewAlterTopicConfigs(c.Image(), topic, replace, ops, broker)
		if err != nil {
			t.Fatal(err)
		}
		return c.must(command).Topic
	}
	got := alter(false, ConfigOp{Name: "segment.ms", Value: "9"}, ConfigOp{Kind: ConfigAppend, Name: "cleanup.policy", Value: "delete"})
	if len(got.Configs) != 3 || got.Configs["cleanup.policy"] != "delete" || got.ConfigVersion != 1 {
		t.Errorf("got %+v", got)
	}
	got = alter(true, ConfigOp{Name: "segment.ms", Value: "10"})
	if len(got.Configs) != 1 || got.Configs["segment.ms"] != "10" {
		t.Errorf("after a replacement: %v", got.Configs)
	}
	got = alter(false, ConfigOp{Kind: ConfigDelete, Name: "segment.ms"}, ConfigOp{Kind: ConfigDelete, Name: "retention.ms"})
	if len(got.Configs) != 0 || topic.Configs["retention.ms"] != "5" {
		t.Errorf("after deletions: %v, and the first topic has %v", got.Configs, topic.Configs)
	}
}

func TestAppendAndSubtractStartFromTheDefault(t *testing.T) {
	for _, c := range []struct {
		have  map[string]string
		op    ConfigOp
		after string
	}{
		{nil, ConfigOp{ConfigAppend, "l", "b, c,b", "a"}, "a,b,c"},
		{map[string]string{"l": "x, y"}, ConfigOp{ConfigAppend, "l", "y,z", "a"}, "x,y,z"},
		{map[string]string{"l": ""}, ConfigOp{ConfigAppend, "l", "y", "a"}, "y"},
		{nil, ConfigOp{ConfigSubtract, "l", "a,q", "a,b"}, "b"},
		{map[string]string{"l": "x"}, ConfigOp{ConfigSubtract, "l", "x", ""}, ""},
	} {
		if got := alter(c.have, false, []ConfigOp{c.op})["l"]; got != c.after {
			t.Errorf("%v and %+v make %q, want %q", c.have, c.op, got, c.after)
		}
	}
}

func TestAlterBrokerConfigs(t *testing.T) {
	c := newTestCluster(t, 2)
	set := func(name, value string) []ConfigOp { return []ConfigOp{{Name: name, Value: value}} }
	for _, test := range []struct {
		node  int32
		ops   []ConfigOp
		code  *kerr.Error
		words string
	}{
		{AllNodes, set("message.max.bytes", "2000000"), nil, ""},
		{1, set("message.max.bytes", "3000000"), nil, ""},
		{1, set("num.partitions", "3"), kerr.InvalidConfig, "read-only"},
		{1, set("log.retention.hours", "3"), kerr.InvalidConfig, "read-only"},
		{1, set("log.retention.m", "3"), kerr.InvalidConfig, `did you mean "log.retention.ms"`},
		{9, set("message.max.bytes", "3000000"), kerr.InvalidRequest, "not registered"},
		{AllNodes, set("message.max.bytes", "-1"), kerr.InvalidConfig, "below 0"},
	} {
		command, err := NewAlterBrokerConfigs(c.Image(), test.node, false, test.ops)
		wantError(t, err, test.code, test.words)
		if err == nil {
			c.must(command)
		}
	}
	for node, want := range map[int32]int32{1: 3000000, 2: 2000000} {
		effective, err := configs.EffectiveTopic(c.Image().BrokerConfig(node, nil), nil)
		if err != nil || effective.MaxMessageBytes != want {
			t.Errorf("on node %d topics have max.message.bytes %d, %v", node, effective.MaxMessageBytes, err)
		}
	}
	c.must(&AlterBrokerConfigs{Node: 1, Replace: true})
	if got := c.Image().BrokerConfig(1, nil).Dynamic; got != nil {
		t.Errorf("node 1 still has %v", got)
	}
}

func TestNodes(t *testing.T) {
	c := newTestCluster(t, 2)
	c.create(topicSpec("t"))
	again := testNode(1, "r")
	n := c.must(&RegisterNode{Node: again}).Node
	if n.Incarnation != 2 || n.Rack != "r" || n.Replicas() != 1 || len(c.Image().Nodes()) != 2 {
		t.Errorf("got %+v", n)
	}
	if l, ok := n.Listener("KAFKA"); !ok || l.Port != 9092 {
		t.Errorf("its listener is %v", l)
	}
	stranger := testNode(1, "")
	stranger.Directory = [16]byte{99}
	wantError(t, c.apply(&RegisterNode{Node: stranger}).Err, kerr.DuplicateBrokerRegistration, "another data directory")
	tomorrow := testNode(3, "")
	tomorrow.MinFeatureLevel, tomorrow.MaxFeatureLevel = 5, 6
	wantError(t, c.apply(&RegisterNode{Node: tomorrow}).Err, kerr.UnsupportedVersion, "feature levels 5 to 6")
	portless := testNode(3, "")
	portless.Listeners[0].Port = 0
	wantError(t, c.apply(&RegisterNode{Node: portless}).Err, kerr.InvalidRequest, "port 0")
	wantError(t, c.apply(&BootstrapCluster{ClusterID: "x"}).Err, kerr.InvalidRequest, "before")
	wantError(t, NewMachine().Apply(1, Encode(&RegisterNode{Node: testNode(1, "")})).Err, kerr.BrokerNotAvailable, "bootstrapped")
}

func TestProducerIDs(t *testing.T) {
	c := newTestCluster(t, 1)
	for n := range int64(3) {
		got := c.must(&AllocateProducerIDs{Node: 1, Count: ProducerIDBlockSize}).ProducerIDs
		if got != (ProducerIDBlock{First: n * 1000, Count: 1000}) {
			t.Errorf("block %d is %+v", n, got)
		}
	}
	wantError(t, c.apply(&AllocateProducerIDs{Node: 2, Count: 1000}).Err, kerr.BrokerIDNotRegistered, "")
	wantError(t, c.apply(&AllocateProducerIDs{Node: 1, Count: 0}).Err, kerr.InvalidRequest, "")
}
