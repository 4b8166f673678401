package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

// produceRequest is a request of version 9 for one partition.
func produceRequest(topic string, partition int32, acks int16, batch []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(9)
	r.Acks, r.TimeoutMillis = acks, 10_000
	r.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: batch}}}}
	return r
}

func producedPartition(t *testing.T, resp kmsg.Response) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	r := resp.(*kmsg.ProduceResponse)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		t.Fatalf("answered %+v; want one partition", r)
	}
	return r.Topics[0].Partitions[0]
}

func TestProduceAnswersWithOffsets(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	for i, want := range []int64{0, 2, 4} {
		req := produceRequest("t", 0, -1, testBatch(t, "a", "b"))
		p := producedPartition(t, c.receive(req, c.send(req)))
		if p.ErrorCode != 0 || p.BaseOffset != want || p.LogAppendTime != -1 || p.LogStartOffset != 0 {
			t.Errorf("batch %d is answered %+v; want offset %d", i, p, want)
		}
	}
}

// A client sends many requests before it reads: batches are appended in their
// order, and answers come in it, however the requests complete.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	node := newTestNode(t)
	node.topic("fast", 1, nil)
	node.topic("slow", 1, nil)
	node.replica("slow", 0).setHold(true)
	c := dial(t, testServer(t, node, Config{}))
	const rounds = 30
	var all []byte
	var requests []kmsg.Request
	var ids []int32
	add := func(req kmsg.Request) {
		b, id := c.encode(req)
		all, requests, ids = append(all, b...), append(requests, req), append(ids, id)
	}
	for i := range rounds {
		add(produceRequest("slow", 0, -1, testBatch(t, fmt.Sprint("s", i))))
		add(produceRequest("fast", 0, -1, testBatch(t, fmt.Sprint("f", i))))
		metadata := kmsg.NewPtrMetadataRequest()
		metadata.SetVersion(9)
		add(metadata)
		add(fetchRequest(12, node, "fast", 0))
	}
	c.write(all)
	eventually(t, "all slow batches wait", func() bool { return node.replica("slow", 0).heldBatches() == rounds })
	node.replica("slow", 0).setHold(false)
	for i, req := range requests {
		resp := c.receive(req, ids[i])
		if p, ok := resp.(*kmsg.ProduceResponse); ok {
			if at := p.Topics[0].Partitions[0]; at.BaseOffset != int64(i/4) {
				t.Errorf("request %d was appended at %d; want %d", i, at.BaseOffset, i/4)
			}
		}
	}
}

func TestProduceOfManyPartitionsFailsForThoseAlone(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 4, nil)
	node.replica("t", 1).setFail(protocol.Errorf(kerr.NotEnoughReplicas, "1 of 2"))
	c := dial(t, testServer(t, node, Config{}))
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks = -1
	broken := testBatch(t, "broken")
	broken[len(broken)-1] ^= 1
	req.Topics = []kmsg.ProduceRequestTopic{
		{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{
			{Partition: 0, Records: testBatch(t, "fine")},
			{Partition: 1, Records: testBatch(t, "fine")},
			{Partition: 2, Records: broken},
			{Partition: 3, Records: nil},
			{Partition: 4, Records: testBatch(t, "fine")},
		}},
		{Topic: "none", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 0, Records: testBatch(t, "fine")}}},
	}
	resp := c.receive(req, c.send(req)).(*kmsg.ProduceResponse)
	want := []*kerr.Error{nil, kerr.NotEnoughReplicas, kerr.CorruptMessage, kerr.InvalidRecord, kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition}
	got := append(resp.Topics[0].Partitions, resp.Topics[1].Partitions...)
	for i, p := range got {
		if err := kerr.TypedErrorForCode(p.ErrorCode); err != want[i] {
			t.Errorf("partition %d of the request: %v; want %v", i, err, want[i])
		}
		if (p.ErrorMessage != nil) != (want[i] != nil) {
			t.Errorf("partition %d of the request has the message %v", i, p.ErrorMessage)
		}
	}
}

func TestProduceRefusesWholeRequests(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	s := testServer(t, node, Config{})
	transactional := produceRequest("t", 0, -1, testBatch(t, "a"))
	id := "tx"
	transactional.TransactionID = &id
	cases := []struct {
		what string
		req  *kmsg.ProduceRequest
		want *kerr.Error
	}{
		{"acks=2", produceRequest("t", 0, 2, testBatch(t, "a")), kerr.InvalidRequiredAcks},
		{"a transactional id", transactional, kerr.InvalidTxnState},
	}
	for _, tc := range cases {
		c := dial(t, s)
		p := producedPartition(t, c.receive(tc.req, c.send(tc.req)))
		if kerr.TypedErrorForCode(p.ErrorCode) != tc.want {
			t.Errorf("%s: answered %v; want %v", tc.what, kerr.ErrorForCode(p.ErrorCode), tc.want)
		}
	}
	if end := node.replica("t", 0).EndOffset(); end != 0 {
		t.Errorf("%d records were appended", end)
	}
}

func TestZstdNeedsItsVersion(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	s := testServer(t, node, Config{})
	for version, want := range map[int16]*kerr.Error{6: kerr.UnsupportedCompressionType, 7: nil} {
		req := produceRequest("t", 0, -1, codecBatch(t, record.Zstd, "a"))
		req.SetVersion(version)
		c := dial(t, s)
		p := producedPartition(t, c.receive(req, c.send(req)))
		if kerr.TypedErrorForCode(p.ErrorCode) != want {
			t.Errorf("version %d: answered %v; want %v", version, kerr.ErrorForCode(p.ErrorCode), want)
		}
	}
	// Apache Kafka gives zstd to clients of all versions: many knew the codec
	// before they knew the version.
	req := fetchRequest(9, node, "t", 0)
	c := dial(t, s)
	if p := fetchedPartition(t, c.receive(req, c.send(req))); p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
		t.Errorf("fetch version 9: answered %v with %d bytes", kerr.ErrorForCode(p.ErrorCode), len(p.RecordBatches))
	}
}

func TestAcksZeroHasNoAnswer(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	c.send(produceRequest("t", 0, 0, testBatch(t, "a")))
	req := produceRequest("t", 0, -1, testBatch(t, "b"))
	if p := producedPartition(t, c.receive(req, c.send(req))); p.BaseOffset != 1 {
		t.Errorf("the next batch is at %d; want 1", p.BaseOffset)
	}
}

// A client that asked for no answer learns of a failure by the connection's
// end, and then asks for metadata.
func TestAFailedProduceWithAcksZeroEndsTheConnection(t *testing.T) {
	node := newTestNode(t)
	c := dial(t, testServer(t, node, Config{}))
	c.send(produceRequest("none", 0, 0, testBatch(t, "a")))
	c.closed()
}

func TestProduceOfOldVersionsIsRefusedInItsOwnShape(t *testing.T) {
	node := newTestNode(t)
	s := testServer(t, node, Config{})
	for version := range int16(3) {
		req := produceRequest("t", 0, 1, []byte("a message set"))
		req.SetVersion(version)
		c := dial(t, s)
		p := producedPartition(t, c.receive(req, c.send(req)))
		if p.ErrorCode != kerr.UnsupportedVersion.Code {
			t.Errorf("version %d: answered %v", version, kerr.ErrorForCode(p.ErrorCode))
		}
		c.receive(kmsg.NewPtrMetadataRequest(), c.send(kmsg.NewPtrMetadataRequest())) // it stays open
	}
	c := dial(t, s)
	silent := produceRequest("t", 0, 0, []byte("a message set"))
	silent.SetVersion(2)
	c.send(silent)
	c.closed()
}

// What a partition does not acknowledge in time is answered; what becomes of it
// later does no harm, and its bytes count until then.
func TestProduceTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		node.topic("fast", 1, nil)
		node.topic("slow", 1, nil)
		slow := node.replica("slow", 0)
		slow.setHold(true)
		s := pipeServer(t, node, Config{})
		c := dialPipe(t, s)
		req := produceRequest("slow", 0, -1, testBatch(t, "a"))
		req.Topics = append(req.Topics, produceRequest("fast", 0, -1, testBatch(t, "b")).Topics...)
		began := time.Now()
		resp := c.receive(req, c.send(req)).(*kmsg.ProduceResponse)
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("answered after %v; want 10 s", took)
		}
		if p := resp.Topics[0].Partitions[0]; p.ErrorCode != kerr.RequestTimedOut.Code || !strings.Contains(*p.ErrorMessage, "10000 ms") {
			t.Errorf("the slow partition is answered %+v", p)
		}
		if p := resp.Topics[1].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 0 {
			t.Errorf("the fast partition is answered %+v", p)
		}
		if s.budget.used.Load() == 0 {
			t.Error("bytes that a partition still holds do not count any more")
		}
		slow.setHold(false)
		_ = c.nc.Close()
		closeServer(t, s, node)
	})
}

// A connection may end while its batches are under way.
func TestProducesOutliveTheirConnection(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	r := node.replica("t", 0)
	r.setHold(true)
	s := testServer(t, node, Config{})
	c := dial(t, s)
	for range 10 {
		c.send(produceRequest("t", 0, -1, testBatch(t, "a")))
	}
	eventually(t, "all batches wait", func() bool { return r.heldBatches() == 10 })
	_ = c.nc.Close()
	eventually(t, "the connection ends", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.mu.conns) == 0
	})
	r.setHold(false)
	if end := r.EndOffset(); end != 10 {
		t.Errorf("%d batches were appended; want 10", end)
	}
}

// Close lets batches that are under way come to their answers.
func TestCloseAnswersWhatWasBegun(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	r := node.replica("t", 0)
	r.setHold(true)
	cfg := Config{Listeners: []ListenerConfig{{Address: "127.0.0.1:0"}}, DrainTimeout: time.Minute}
	s, err := Listen(t.Context(), cfg)
	must(t, err)
	s.Serve(node)
	c := dial(t, s)
	produce := produceRequest("t", 0, -1, testBatch(t, "a"))
	fetch := fetchRequest(12, node, "t", 0)
	fetch.MaxWaitMillis = 60_000
	produceID, fetchID := c.send(produce), c.send(fetch)
	eventually(t, "both wait", func() bool { return r.heldBatches() == 1 && node.watchers() == 1 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		closeServer(t, s, node)
	}()
	eventually(t, "the server closes", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.mu.closing
	})
	r.setHold(false)
	if p := producedPartition(t, c.receive(produce, produceID)); p.ErrorCode != 0 {
		t.Errorf("the produce is answered %v", kerr.ErrorForCode(p.ErrorCode))
	}
	fetchedPartition(t, c.receive(fetch, fetchID))
	c.closed()
	<-done
}
