package broker

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchRequest fetches partitions of a topic from their starts, without a
// session.
func fetchRequest(version int16, node *testNode, topic string, partitions ...int32) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(version)
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 100, 1, 50<<20
	ft := kmsg.FetchRequestTopic{Topic: topic}
	if t := node.Image().Topic(topic); t != nil {
		ft.TopicID = t.ID
	}
	for _, number := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes = number, 1<<20
		ft.Partitions = append(ft.Partitions, p)
	}
	r.Topics = append(r.Topics, ft)
	return r
}

func fetchedPartition(t *testing.T, resp kmsg.Response) kmsg.FetchResponseTopicPartition {
	t.Helper()
	r := resp.(*kmsg.FetchResponse)
	if r.ErrorCode != 0 || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		t.Fatalf("answered %+v; want one partition", r)
	}
	return r.Topics[0].Partitions[0]
}

func TestFetchReadsWhatWasProduced(t *testing.T) {
	for name, node := range map[string]*testNode{"memory": newTestNode(t), "file": newFileNode(t)} {
		t.Run(name, func(t *testing.T) {
			node.topic("t", 1, nil)
			r := node.replica("t", 0)
			large := strings.Repeat("x", 100_000) // sent by sendfile where there is a file
			want := []string{"a", "b", large, "c", large + large}
			for _, v := range want {
				r.produce(t, v)
			}
			c := dial(t, testServer(t, node, Config{}))
			var got []string
			for offset := int64(0); offset < 5; {
				req := fetchRequest(12, node, "t", 0)
				req.Topics[0].Partitions[0].FetchOffset = offset
				p := fetchedPartition(t, c.receive(req, c.send(req)))
				if p.ErrorCode != 0 || p.HighWatermark != 5 || p.LastStableOffset != 5 || p.LogStartOffset != 0 {
					t.Fatalf("answered %+v", p)
				}
				values := valuesOf(t, p.RecordBatches)
				got = append(got, values...)
				offset += int64(len(values))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d values were read, or in another order; want %d", len(got), len(want))
			}
		})
	}
}

func TestFetchErrors(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	node.replica("t", 0).produce(t, "a", "b", "c")
	node.replica("t", 0).DeleteRecords(2, func(int64, error) {})
	s := testServer(t, node, Config{})
	cases := []struct {
		what    string
		version int16
		change  func(*kmsg.FetchRequest)
		want    *kerr.Error
	}{
		{"below the start", 12, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = 1 }, kerr.OffsetOutOfRange},
		{"above the end", 12, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = 4 }, kerr.OffsetOutOfRange},
		{"no such topic", 12, func(r *kmsg.FetchRequest) { r.Topics[0].Topic = "none" }, kerr.UnknownTopicOrPartition},
		{"no such id", 13, func(r *kmsg.FetchRequest) { r.Topics[0].TopicID = newTopicID() }, kerr.UnknownTopicID},
		{"no such partition", 13, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 1 }, kerr.UnknownTopicOrPartition},
		{"a newer epoch", 12, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 2 }, kerr.UnknownLeaderEpoch},
	}
	for _, tc := range cases {
		t.Run(tc.what, func(t *testing.T) {
			req := fetchRequest(tc.version, node, "t", 0)
			req.MaxWaitMillis = 60_000 // errors do not wait
			req.Topics[0].Partitions[0].FetchOffset = 2
			tc.change(req)
			c := dial(t, s)
			p := fetchedPartition(t, c.receive(req, c.send(req)))
			if kerr.TypedErrorForCode(p.ErrorCode) != tc.want || len(p.RecordBatches) > 0 {
				t.Fatalf("answered %v with %d bytes; want %v", kerr.ErrorForCode(p.ErrorCode), len(p.RecordBatches), tc.want)
			}
			if tc.want == kerr.OffsetOutOfRange && p.LogStartOffset != 2 {
				t.Errorf("the log start is said to be %d; want 2", p.LogStartOffset)
			}
		})
	}
}

// The old id of a topic that was made anew is not the new topic's.
func TestFetchOfADeletedTopicsID(t *testing.T) {
	node := newTestNode(t)
	old := node.topic("t", 1, nil)
	node.replica("t", 0).produce(t, "old")
	c := dial(t, testServer(t, node, Config{}))
	req := fetchRequest(13, node, "t", 0)
	ask[*kmsg.DeleteTopicsResponse](c, 6, &kmsg.DeleteTopicsRequest{TimeoutMillis: 1000, Topics: []kmsg.DeleteTopicsRequestTopic{{TopicID: old.ID}}})
	node.topic("t", 1, nil)
	if p := fetchedPartition(t, c.receive(req, c.send(req))); p.ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("the old id is answered %v", kerr.ErrorForCode(p.ErrorCode))
	}
	byName := fetchRequest(12, node, "t", 0)
	byName.MaxWaitMillis = 0
	if p := fetchedPartition(t, c.receive(byName, c.send(byName))); p.ErrorCode != 0 || len(p.RecordBatches) != 0 {
		t.Errorf("the new topic is answered %v with %d bytes", kerr.ErrorForCode(p.ErrorCode), len(p.RecordBatches))
	}
}

func TestFetchKeepsToItsLimits(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 3, nil)
	one := len(testBatch(t, "0123456789"))
	for number := range int32(3) {
		for range 10 {
			node.replica("t", number).produce(t, "0123456789")
		}
	}
	c := dial(t, testServer(t, node, Config{}))
	sizes := func(maxBytes, partitionMaxBytes int) (batches []int) {
		req := fetchRequest(12, node, "t", 0, 1, 2)
		req.MaxBytes = int32(maxBytes)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = int32(partitionMaxBytes)
		}
		for _, p := range c.receive(req, c.send(req)).(*kmsg.FetchResponse).Topics[0].Partitions {
			batches = append(batches, len(p.RecordBatches)/one)
		}
		return batches
	}
	cases := []struct {
		maxBytes, partitionMaxBytes int
		want                        []int
	}{
		{1 << 20, 1 << 20, []int{10, 10, 10}},
		{1 << 20, 2*one + 1, []int{2, 2, 2}},
		{12 * one, 1 << 20, []int{10, 2, 0}},
		{1, 1 << 20, []int{1, 0, 0}},  // the first batch comes whole
		{1 << 20, 1, []int{1, 0, 0}},  // here, too
		{0, 1 << 20, []int{1, 0, 0}},  // nothing at all would never end
		{-1, 1 << 20, []int{1, 0, 0}}, // nor would less
	}
	for _, tc := range cases {
		if got := sizes(tc.maxBytes, tc.partitionMaxBytes); !slices.Equal(got, tc.want) {
			t.Errorf("%d bytes, %d a partition: %v batches; want %v", tc.maxBytes, tc.partitionMaxBytes, got, tc.want)
		}
	}
}

func TestFetchWaitsForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		node.topic("t", 1, nil)
		s := pipeServer(t, node, Config{})
		c := dialPipe(t, s)
		req := fetchRequest(12, node, "t", 0)
		req.MaxWaitMillis = 5000
		began := time.Now()
		p := fetchedPartition(t, c.receive(req, c.send(req)))
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("answered after %v; want 5 s", took)
		}
		if p.ErrorCode != 0 || len(p.RecordBatches) > 0 {
			t.Errorf("answered %+v", p)
		}
		_ = c.nc.Close()
		closeServer(t, s, node)
	})
}

func TestFetchWakesWhenThereIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		node.topic("t", 2, nil)
		s := pipeServer(t, node, Config{})
		c := dialPipe(t, s)
		one := len(testBatch(t, "0123456789"))
		req := fetchRequest(12, node, "t", 0, 1)
		req.MaxWaitMillis, req.MinBytes = 60_000, int32(3*one)
		node.replica("t", 0).produce(t, "0123456789") // not enough, and no reason to wait for all three
		began := time.Now()
		id := c.send(req)
		synctest.Wait()
		for _, number := range []int32{1, 0} {
			<-time.After(time.Second) // of virtual time
			if n := node.watchers(); n != 2 {
				t.Fatalf("%d watches; want 2", n)
			}
			node.replica("t", number).produce(t, "0123456789")
		}
		resp := c.receive(req, id).(*kmsg.FetchResponse)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("answered after %v; want 2 s", took)
		}
		total := 0
		for _, p := range resp.Topics[0].Partitions {
			total += len(p.RecordBatches)
		}
		if total != 3*one {
			t.Errorf("%d bytes; want %d", total, 3*one)
		}
		_ = c.nc.Close()
		closeServer(t, s, node)
	})
}

// A connection that ends takes its waiting fetches with it.
func TestWaitingFetchesEndWithTheirConnection(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 3, nil)
	s := testServer(t, node, Config{})
	c := dial(t, s)
	req := fetchRequest(12, node, "t", 0, 1, 2)
	req.MaxWaitMillis = 60_000
	for range 5 {
		c.send(req)
	}
	eventually(t, "all fetches wait", func() bool { return node.watchers() == 15 })
	_ = c.nc.Close()
	eventually(t, "no fetch waits", func() bool { return node.watchers() == 0 })
}

// A waiting fetch does not hold up what comes after it, but for its answer.
func TestRequestsBehindAWaitingFetchAreCarriedOut(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	fetch := fetchRequest(12, node, "t", 0)
	fetch.MaxWaitMillis = 60_000
	fetchID := c.send(fetch)
	produce := produceRequest("t", 0, -1, testBatch(t, "wakes it"))
	produceID := c.send(produce)
	if p := fetchedPartition(t, c.receive(fetch, fetchID)); !slices.Equal(valuesOf(t, p.RecordBatches), []string{"wakes it"}) {
		t.Errorf("the fetch reads %q", valuesOf(t, p.RecordBatches))
	}
	producedPartition(t, c.receive(produce, produceID))
}

// Fetches wait while all of them together watch no more partitions than they
// may; one above that is answered at once.
func TestFetchesThatMayNotWait(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 3, nil)
	s := testServer(t, node, Config{MaxWaitingPartitions: 4})
	c, other := dial(t, s), dial(t, s)
	req := fetchRequest(12, node, "t", 0, 1, 2)
	req.MaxWaitMillis = 60_000
	id := c.send(req)
	eventually(t, "the first waits", func() bool { return node.watchers() == 3 })
	other.receive(req, other.send(req))
	node.replica("t", 1).produce(t, "a")
	resp := c.receive(req, id).(*kmsg.FetchResponse)
	if name := resp.Topics[0].Topic; name != "t" || len(resp.Topics[0].Partitions[1].RecordBatches) == 0 {
		t.Errorf("the first is answered %+v", resp)
	}
}

// A fetch that waits does not hold up answers that are there behind it: it is
// answered with what there is.
func TestAnswersBehindAWaitingFetch(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	node.topic("other", 1, nil)
	other := node.replica("other", 0)
	c := dial(t, testServer(t, node, Config{}))
	fetch := fetchRequest(12, node, "t", 0)
	fetch.MaxWaitMillis = 60_000 // longer than the client waits
	for _, hold := range []bool{false, true} {
		other.setHold(hold)
		first := produceRequest("other", 0, -1, testBatch(t, "a"))
		firstID, fetchID := c.send(first), c.send(fetch)
		eventually(t, "the fetch waits", func() bool { return node.watchers() == 1 })
		metadata := metadataOf(9, false)
		metadataID := c.send(metadata)
		other.setHold(false)
		producedPartition(t, c.receive(first, firstID))
		if p := fetchedPartition(t, c.receive(fetch, fetchID)); p.ErrorCode != 0 || len(p.RecordBatches) > 0 {
			t.Errorf("the fetch is answered %+v", p)
		}
		c.receive(metadata, metadataID)
	}
}
