package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/broker"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// areas are the parts of the comparison, in order; each has topics of its own.
var areas = []struct {
	name string
	run  func(*pair)
}{
	{"ApiVersions", apiVersionsArea},
	{"Metadata", metadataArea},
	{"CreateTopics", createTopicsArea},
	{"DeleteTopics", deleteTopicsArea},
	{"CreatePartitions", createPartitionsArea},
	{"DescribeConfigs", describeConfigsArea},
	{"AlterConfigs", alterConfigsArea},
	{"Produce", produceArea},
	{"ProduceErrors", produceErrorsArea},
	{"Idempotence", idempotenceArea},
	{"ListOffsets", listOffsetsArea},
	{"DeleteRecords", deleteRecordsArea},
	{"Fetch", fetchArea},
	{"FetchSessions", fetchSessionsArea},
	{"OffsetForLeaderEpoch", offsetForLeaderEpochArea},
	{"Cluster", clusterArea},
	{"Groups", classicGroupsArea},
	{"ConsumerGroups", consumerGroupsArea},
}

// TestDifferential sends the same requests, in every version that Fanfold
// lists, to Fanfold and to Apache Kafka, and compares the answers field by
// field. A difference either is in expectedDifferences, with its reason, or
// fails the test. Answers of reads that differ are asked for again for a while:
// Apache Kafka's brokers learn of changes a moment after they were answered.
//
// It runs in full runs only (FANFOLD_INTEROP=full), and needs Apache Kafka,
// which setup.sh --kafka fetches with Maven.
func TestDifferential(t *testing.T) {
	if !suite.full {
		t.Skip("compares with Apache Kafka: in full runs only (run.sh --full)")
	}
	if os.Getenv("FANFOLD_BIN") == "none" {
		t.Skip("FANFOLD_BIN is none: there is nothing to compare with Apache Kafka")
	}
	p := startPair(t)
	for _, area := range areas {
		t.Run(area.name, func(t *testing.T) {
			p.t, p.area = t, area.name
			began := time.Now()
			area.run(p)
			t.Logf("%d requests, %d differences that are meant, in %v", p.requests, p.meant, time.Since(began).Round(time.Millisecond))
			p.requests, p.meant, p.failures = 0, 0, 0
			p.ran++
		})
	}
	p.t = t
	if p.ran == len(areas) {
		p.checkCoverage()
		p.checkExpectations()
	}
}

// startPair starts both brokers, or skips the test where Apache Kafka cannot
// be had.
func startPair(t *testing.T) *pair {
	t.Helper()
	kafka, err := referenceKind()
	if err != nil {
		t.Skipf("no Apache Kafka to compare with: %v", err)
	}
	bin, err := fanfoldBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, expected: matchers(expectedDifferences), asked: map[[2]int16]bool{}}
	started := make(chan error, 2)
	start := func(kind broker.Kind, at **side, name string) {
		b, err := broker.Start(context.Background(), kind, t.TempDir())
		if err == nil {
			*at = newSide(name, b)
		}
		started <- err
	}
	go start(kafka.With(withoutDelay), &p.kafka, "Kafka")
	go start(broker.Fanfold{Binary: bin}.With(withoutDelay), &p.fanfold, "Fanfold")
	err = errors.Join(<-started, <-started)
	for _, s := range []*side{p.kafka, p.fanfold} {
		if s != nil {
			t.Cleanup(s.stop(t))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// referenceKind is Apache Kafka, fetched with its tools where it is not there
// yet.
var referenceKind = sync.OnceValues(func() (kafka broker.Kafka, err error) {
	if kafka, err = kafkaKind(); err != nil {
		return kafka, err
	}
	for _, name := range []string{"kafka-4.4.0", "kafka-tools-4.3.1"} {
		lib, err := kafkaJars(name)
		if err != nil {
			return kafka, err
		}
		if _, err := os.Stat(filepath.Join(lib, "..", "done")); err == nil {
			continue
		}
		if out, err := exec.Command("bash", "setup.sh", "--kafka").CombinedOutput(); err != nil {
			return kafka, fmt.Errorf("setup.sh --kafka, which needs Java and Maven: %w\n%s", err, out)
		}
	}
	return kafka, nil
})

// checkCoverage fails where Fanfold lists a version that no area asked for.
func (p *pair) checkCoverage() {
	p.t.Helper()
	resp, err := p.fanfold.wire.ask(kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			if !p.asked[[2]int16{k.ApiKey, v}] {
				p.t.Errorf("%s version %d is listed, and nothing asked for it", kmsg.NameForKey(k.ApiKey), v)
			}
		}
	}
}

// checkExpectations fails where what is explained does not happen.
func (p *pair) checkExpectations() {
	p.t.Helper()
	for _, m := range p.expected {
		if m.used == 0 && !m.mayBe {
			p.t.Errorf("expected and not seen: %s: Kafka %s, Fanfold %s (%s)",
				m.expectation.path, m.expectation.kafka, m.expectation.fanfold, m.why)
		}
	}
}

// side is one of the two brokers, with what has to be known to ask it and to
// compare its answers.
type side struct {
	name          string
	broker        *broker.Broker
	wire          *wire
	cluster       string
	idNames       map[[16]byte]string // for answers
	idTopics      map[[16]byte]string
	ids           map[string][16]byte // of topics, the newest
	epochs        map[where]int32     // the first leader epoch of partitions
	producerNames map[int64]string
	producers     map[string]int64
	memberNames   map[string]string // for answers
	memberIDs     map[string]string // of groups' members
	joinedAt      int32             // the epoch that the first member of the group got; 0: not known
	session       int32             // that Fetch is in
	messages      []string
}

func newSide(name string, b *broker.Broker) *side {
	return &side{
		name: name, broker: b, wire: newWire(b.Addr), cluster: "?",
		idNames: map[[16]byte]string{}, idTopics: map[[16]byte]string{}, ids: map[string][16]byte{},
		epochs: map[where]int32{}, producerNames: map[int64]string{}, producers: map[string]int64{},
		memberNames: map[string]string{}, memberIDs: map[string]string{},
	}
}

func (s *side) stop(t *testing.T) func() {
	return func() {
		s.wire.close()
		if t.Failed() {
			t.Logf("%s's log ends:\n%s", s.name, s.broker.LogTail())
		}
		if err := s.broker.Stop(); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// pair is both brokers, and the comparison.
type pair struct {
	t              *testing.T
	area           string
	kafka, fanfold *side
	expected       []*matcher
	asked          map[[2]int16]bool // key and version
	requests       int
	meant          int
	failures       int
	ran            int
}

// reply is what one broker answered.
type reply struct {
	resp kmsg.Response
	err  error
	tree any
}

// againFor is how long answers of reads that differ are asked for again.
const againFor = 2 * time.Second

// mostFailures bounds what one area prints.
const mostFailures = 150

// do asks both brokers and compares. The request is built for each of them.
func (p *pair) do(label string, version int16, ask func(s *side) (kmsg.Response, error), again bool) (kafka, fanfold kmsg.Response) {
	p.t.Helper()
	p.requests++
	deadline := time.Now().Add(againFor)
	path := fmt.Sprintf("%s/%s v%d", p.area, label, version)
	for {
		k, f := p.both(ask)
		unexplained, meant := p.compare(path, k, f)
		if len(unexplained) == 0 || !again || time.Now().After(deadline) {
			p.meant += meant
			p.report(path, unexplained)
			return k.resp, f.resp
		}
		<-time.After(30 * time.Millisecond)
	}
}

func (p *pair) both(ask func(s *side) (kmsg.Response, error)) (kafka, fanfold reply) {
	one := func(s *side) (r reply) {
		s.messages = nil
		r.resp, r.err = ask(s)
		r.tree = s.answerTree(r.resp, r.err)
		return r
	}
	done := make(chan struct{})
	go func() {
		kafka = one(p.kafka)
		close(done)
	}()
	fanfold = one(p.fanfold)
	<-done
	return kafka, fanfold
}

// compare lists the differences that nothing explains, and counts the others.
func (p *pair) compare(path string, k, f reply) (unexplained []difference, meant int) {
	for _, d := range differences(path, k.tree, f.tree) {
		if m := p.explained(d); m != nil {
			m.used++
			meant++
			continue
		}
		unexplained = append(unexplained, d)
	}
	return unexplained, meant
}

func (p *pair) report(path string, list []difference) {
	p.t.Helper()
	if len(list) == 0 {
		return
	}
	for _, d := range list {
		if p.failures++; p.failures <= mostFailures {
			p.t.Errorf("%s", d)
		}
	}
	if m := append(p.kafka.messages, p.fanfold.messages...); len(m) > 0 && p.failures <= mostFailures {
		p.t.Logf("%s: Kafka says %q, Fanfold %q", path, p.kafka.messages, p.fanfold.messages)
	}
}

// ask sends one request in one version.
func (p *pair) ask(label string, version int16, build func(s *side) kmsg.Request) (kafka, fanfold kmsg.Response) {
	p.t.Helper()
	return p.do(label, version, func(s *side) (kmsg.Response, error) {
		req := build(s)
		req.SetVersion(version)
		if s == p.fanfold {
			p.asked[[2]int16{req.Key(), version}] = true
		}
		return s.wire.ask(req)
	}, readsOnly(build(p.fanfold)))
}

// readsOnly tells whether a request may be sent again.
func readsOnly(req kmsg.Request) bool {
	switch req := req.(type) {
	case *kmsg.MetadataRequest:
		return !req.AllowAutoTopicCreation
	case *kmsg.ApiVersionsRequest, *kmsg.ListOffsetsRequest, *kmsg.DescribeConfigsRequest, *kmsg.DescribeClusterRequest,
		*kmsg.DescribeTopicPartitionsRequest, *kmsg.DescribeProducersRequest, *kmsg.DescribeLogDirsRequest,
		*kmsg.OffsetForLeaderEpochRequest, *kmsg.ListConfigResourcesRequest, *kmsg.FindCoordinatorRequest,
		*kmsg.ListGroupsRequest, *kmsg.DescribeGroupsRequest, *kmsg.ConsumerGroupDescribeRequest, *kmsg.OffsetFetchRequest:
		return true
	}
	return false
}

// each sends a request in all versions from low to high.
func (p *pair) each(label string, low, high int16, build func(s *side, v int16) kmsg.Request) {
	p.t.Helper()
	for v := low; v <= high; v++ {
		p.ask(label, v, func(s *side) kmsg.Request { return build(s, v) })
	}
}

// topic makes a topic with both brokers and waits until it serves.
func (p *pair) topic(name string, partitions int32, configs ...string) {
	p.t.Helper()
	for _, s := range []*side{p.kafka, p.fanfold} {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 7, 10_000
		req.Topics = append(req.Topics, newTopicRequest(name, partitions, 1, configs...))
		resp, err := s.wire.ask(req)
		if err != nil {
			p.t.Fatalf("%s: create topic %s: %v", s.name, name, err)
		}
		if code := resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
			p.t.Fatalf("%s: create topic %s: %s", s.name, name, codeName(code))
		}
	}
	p.settle(name, partitions)
}

func newTopicRequest(name string, partitions int32, factor int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, factor
	for _, c := range configs {
		kv := kmsg.NewCreateTopicsRequestTopicConfig()
		var value string
		kv.Name, value, _ = strings.Cut(c, "=")
		kv.Value = &value
		rt.Configs = append(rt.Configs, kv)
	}
	return rt
}

// settle waits until both brokers serve all partitions of a topic, and takes
// down its id and first leader epochs.
func (p *pair) settle(name string, partitions int32) {
	p.t.Helper()
	for _, s := range []*side{p.kafka, p.fanfold} {
		deadline := time.Now().Add(20 * time.Second)
		for {
			err := s.learn(name, partitions)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				p.t.Fatalf("%s: topic %s: %v", s.name, name, err)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
}

func (s *side) learn(name string, partitions int32) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &name
	req.Topics = append(req.Topics, t)
	resp, err := s.wire.ask(req)
	if err != nil {
		return err
	}
	m := resp.(*kmsg.MetadataResponse)
	s.cluster = *m.ClusterID
	got := m.Topics[0]
	if got.ErrorCode != 0 || len(got.Partitions) != int(partitions) {
		return fmt.Errorf("%s, %d partitions", codeName(got.ErrorCode), len(got.Partitions))
	}
	for _, part := range got.Partitions {
		if part.ErrorCode != 0 {
			return errors.New(codeName(part.ErrorCode))
		}
		if err := s.serves(name, part.Partition); err != nil {
			return err
		}
		s.epochs[where{name, part.Partition}] = part.LeaderEpoch
	}
	s.know(name, got.TopicID)
	return nil
}

// know gives a topic's id a name.
func (s *side) know(topic string, id [16]byte) {
	if _, known := s.idNames[id]; known {
		return
	}
	label := topic + "'s id"
	for _, n := range s.idNames {
		if n == label {
			label = topic + "'s second id"
		}
	}
	s.idNames[id], s.idTopics[id], s.ids[topic] = label, topic, id
}

func (s *side) serves(topic string, partition int32) error {
	resp, err := s.wire.ask(listOffsetsRequest(7, topic, partition, -1, -1))
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		return errors.New(codeName(code))
	}
	return nil
}

func listOffsetsRequest(version int16, topic string, partition int32, timestamp int64, currentEpoch int32) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.TimeoutMillis = version, -1, 5_000
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp, part.CurrentLeaderEpoch = partition, timestamp, currentEpoch
	t.Partitions = append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	return req
}

// epoch is a leader epoch: so much above the one in which the partition began.
func (s *side) epoch(topic string, partition, above int32) int32 {
	return s.epochs[where{topic, partition}] + above
}
