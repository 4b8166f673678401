package groupdiff

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/interop/broker"
)

// topicPartitions divides by 1, 2, 3 and 4: so many members have the same number
// of partitions, and no assignor has a choice how many move.
const topicPartitions = 12

// The topics of both brokers.
var topics = []string{"t1", "t2"}

// pair is both brokers and what is known of how they differ.
type pair struct {
	sides    [2]*side // kfake, Fanfold
	known    []*matcher
	asked    map[[2]int16]bool // key and version
	requests int
	meant    int
}

// side is one of the two brokers.
type side struct {
	name       string
	addr       string
	control    *wire // of no member
	arrived    func(c *client) error
	exact      bool // which partitions members get is to be the same
	topicNames map[[16]byte]string
	topicIDs   map[string][16]byte
	members    map[string]string // names of member ids
	clients    map[string]*client
}

// client is a connection that may be a member's, and what it was told.
type client struct {
	side       *side
	name       string
	wire       *wire
	probes     int64
	ids        int // that it got so far
	id         string
	generation int32
	leads      bool
	others     []string // members' ids, as a leader is told
	epoch      int32    // KIP-848
	owned      []kmsg.ConsumerGroupHeartbeatRequestTopic
}

// startPair starts both brokers with the same topics.
func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{known: matchers(knownDifferences), asked: map[[2]int16]bool{}}
	p.sides[0] = startKfake(t)
	p.sides[1] = startFanfold(t)
	for _, s := range p.sides {
		control, err := dial(s.addr, "control")
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		t.Cleanup(control.close)
		s.control = control
		if err := s.prepare(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	return p
}

func startKfake(t *testing.T) *side {
	t.Helper()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.GroupMaxSessionTimeout(30*time.Minute),
		kfake.SeedTopics(topicPartitions, topics...),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "5000"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	taken := make(chan struct{}, 1000)
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup} {
		cluster.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			taken <- struct{}{}
			return nil, nil, false // it goes its usual way
		})
	}
	s := newSide("kfake", cluster.ListenAddrs()[0])
	s.arrived = func(*client) error {
		select {
		case <-taken:
			return nil
		case <-time.After(answerWithin):
			return errors.New("kfake has not taken the request")
		}
	}
	return s
}

// settings take from Fanfold what kfake does not know: the delay that the first
// rebalance of an empty group has, and that between target assignments.
var settings = map[string]string{
	"group.initial.rebalance.delay.ms":      "0",
	"group.consumer.assignment.interval.ms": "0",
	"offsets.topic.num.partitions":          "3",
}

func startFanfold(t *testing.T) *side {
	t.Helper()
	bin := os.Getenv("FANFOLD_BIN")
	switch bin {
	case "none":
		t.Skip("FANFOLD_BIN is none: there is nothing to compare")
	case "":
		bin = filepath.Join(t.TempDir(), "fanfold")
		build := exec.Command("go", "build", "-o", bin, "./cmd/fanfold")
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build fanfold: %v\n%s", err, out)
		}
	}
	b, err := broker.Start(t.Context(), broker.Fanfold{Binary: bin, Settings: settings}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Fanfold's log ends:\n%s", b.LogTail())
		}
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := newSide("Fanfold", b.Addr)
	s.arrived = s.probe
	return s
}

func newSide(name, addr string) *side {
	return &side{
		name: name, addr: addr, topicNames: map[[16]byte]string{}, topicIDs: map[string][16]byte{},
		members: map[string]string{}, clients: map[string]*client{},
	}
}

// prepare sees that the topics are there, and the coordinator.
func (s *side) prepare() error {
	if s.name != "kfake" {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 5, 10_000
		for _, topic := range topics {
			t := kmsg.NewCreateTopicsRequestTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = topic, topicPartitions, 1
			req.Topics = append(req.Topics, t)
		}
		if _, err := s.control.ask(req); err != nil {
			return err
		}
	}
	return poll(func() error {
		if err := s.learnTopics(); err != nil {
			return err
		}
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorKey = 2, "any"
		resp, err := s.control.ask(req)
		if err != nil {
			return err
		}
		if code := resp.(*kmsg.FindCoordinatorResponse).ErrorCode; code != 0 {
			return errors.New(codeName(code))
		}
		return nil
	})
}

func (s *side) learnTopics() error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	resp, err := s.control.ask(req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode != 0 || len(t.Partitions) != topicPartitions {
			return fmt.Errorf("topic %s: %s, %d partitions", *t.Topic, codeName(t.ErrorCode), len(t.Partitions))
		}
		s.topicNames[t.TopicID], s.topicIDs[*t.Topic] = *t.Topic, t.TopicID
	}
	return nil
}

// poll tries until it works, or it takes too long.
func poll(try func() error) error {
	deadline := time.Now().Add(2 * answerWithin)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(time.Millisecond)
	}
}

// client is that of a name, connected.
func (s *side) client(name string) (*client, error) {
	c := s.clients[name]
	if c != nil {
		return c, nil
	}
	w, err := dial(s.addr, name)
	if err != nil {
		return nil, err
	}
	c = &client{side: s, name: name, wire: w, generation: -1}
	s.clients[name] = c
	return c, nil
}

// disconnect closes the connections of a sequence that is over.
func (s *side) disconnect() {
	for name, c := range s.clients {
		c.wire.close()
		delete(s.clients, name)
	}
	clear(s.members)
}

// probe returns when Fanfold has taken what the client sent before, answered or
// not: it takes the requests of a connection in their order, and does not wait
// for answers in between. So what the client sends now, to another group, can be
// seen when all before it has had its effect.
func (s *side) probe(c *client) error {
	c.probes++
	group := "probe of " + c.name
	commit := offsetCommit(2, group, "t1", 0, c.probes)
	if _, err := c.wire.send(commit); err != nil {
		return err
	}
	return poll(func() error {
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Version, fetch.Group = 5, group
		fetch.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t1", Partitions: []int32{0}}}
		resp, err := s.control.ask(fetch)
		if err != nil {
			return err
		}
		if got := resp.(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0].Offset; got != c.probes {
			return fmt.Errorf("Fanfold has not taken the request: the probe's offset is %d, not %d", got, c.probes)
		}
		return nil
	})
}

// offsetCommit commits an offset as one that is no member.
func offsetCommit(version int16, group, topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = version, group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// learn takes from an answer what the member has to know for its next requests.
func (c *client) learn(req kmsg.Request, resp kmsg.Response) {
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		c.learnJoin(resp)
	case *kmsg.ConsumerGroupHeartbeatResponse:
		c.learnHeartbeat(req.(*kmsg.ConsumerGroupHeartbeatRequest), resp)
	}
}

func (c *client) learnJoin(resp *kmsg.JoinGroupResponse) {
	c.nameID(resp.MemberID)
	switch codeName(resp.ErrorCode) {
	case "NONE":
		c.id, c.generation, c.leads = resp.MemberID, resp.Generation, resp.LeaderID == resp.MemberID
		c.others = nil
		for _, m := range resp.Members {
			c.others = append(c.others, m.MemberID)
		}
		slices.SortFunc(c.others, func(a, b string) int {
			return slices.Compare([]byte(c.side.memberName(a)), []byte(c.side.memberName(b)))
		})
	case "MEMBER_ID_REQUIRED":
		c.id = resp.MemberID
	case "UNKNOWN_MEMBER_ID", "FENCED_INSTANCE_ID":
		c.id, c.leads = "", false
	}
}

func (c *client) learnHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) {
	if resp.ErrorCode != 0 {
		return
	}
	if resp.MemberID != nil {
		c.id = *resp.MemberID
		c.nameID(c.id)
	}
	c.epoch = resp.MemberEpoch
	if req.MemberEpoch < 0 {
		c.owned = nil
	}
	if resp.Assignment == nil {
		return
	}
	c.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range resp.Assignment.Topics {
		c.owned = append(c.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
	}
}

// nameID names an id that the client was given.
func (c *client) nameID(id string) {
	if id == "" || c.side.members[id] != "" {
		return
	}
	c.ids++
	c.side.members[id] = fmt.Sprintf("%s's id %d", c.name, c.ids)
}
