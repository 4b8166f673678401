package interop

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestChecks runs each client's own checks, most of them of its admin client.
func TestChecks(t *testing.T) {
	for _, p := range recordPrograms(t) {
		t.Run(p.name, func(t *testing.T) { p.check(t, suite.broker, "checks") })
	}
}

// TestAutoCreation: a topic that is not there is created when a client with
// its usual settings, or the setting that it has for this, writes to it.
func TestAutoCreation(t *testing.T) {
	for name, set := range map[string][]string{
		"java":       nil,
		"librdkafka": nil,
		"sarama":     nil,
		"kafka-go":   {"--set", "auto-create=true"},
		"kafkajs":    {"--set", "auto-create=true"},
	} {
		t.Run(name, func(t *testing.T) {
			topic := "auto-" + name
			file := filepath.Join(t.TempDir(), "records")
			records := []driver.Record{{Timestamp: t0, Value: []byte("first")}}
			if err := driver.WriteRecords(file, records, false); err != nil {
				t.Fatal(err)
			}
			named(t, name).run(t, suite.broker, "write", append([]string{"--topic", topic, "--records", file}, set...)...)
			adm := admin(t, suite.broker)
			ends, err := adm.ListEndOffsets(t.Context(), topic)
			if err != nil {
				t.Fatal(err)
			}
			if end, ok := ends.Lookup(topic, 0); !ok || end.Err != nil || end.Offset != 1 {
				t.Errorf("%s, topic %s: partition 0 ends at %+v, want 1", name, topic, end)
			}
			if _, err := adm.DeleteTopic(t.Context(), topic); err != nil {
				t.Error(err)
			}
		})
	}
}

// fetchWait is how long the long polls may wait at the broker.
const fetchWait = 20 * time.Second

// TestLongPoll: a Fetch that finds nothing waits at the broker, and is
// answered as soon as a record comes, with it.
func TestLongPoll(t *testing.T) {
	topic := newTopic(t, suite.broker, "long-poll", 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(suite.broker.Addr), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	meta, err := kadm.NewClient(cl).Metadata(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		resp *kmsg.FetchResponse
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		leader := cl.Broker(int(meta.Topics[topic].Partitions[0].Leader))
		resp, err := fetchRequest(topic, meta.Topics[topic].ID, fetchWait).RequestWith(t.Context(), leader)
		answers <- answer{resp, err}
	}()
	// The record is sent by another connection some time after the fetch.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	select {
	case a := <-answers:
		t.Fatalf("answered with nothing to read: %+v, %v", a.resp, a.err)
	case <-ctx.Done():
	}
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("now")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	a := <-answers
	if a.err != nil {
		t.Fatal(a.err)
	}
	if got := a.resp.Topics; len(got) != 1 || len(got[0].Partitions) != 1 || len(got[0].Partitions[0].RecordBatches) == 0 {
		t.Errorf("the fetch was answered without the record: %+v", a.resp)
	}
}

// TestFetchThatFindsNothing: its answer is empty and has no error.
func TestFetchThatFindsNothing(t *testing.T) {
	topic := newTopic(t, suite.broker, "no-records", 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(suite.broker.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	meta, err := kadm.NewClient(cl).Metadata(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	leader := cl.Broker(int(meta.Topics[topic].Partitions[0].Leader))
	wait := 300 * time.Millisecond
	started := time.Now()
	resp, err := fetchRequest(topic, meta.Topics[topic].ID, wait).RequestWith(t.Context(), leader)
	if err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(started); waited < wait {
		t.Errorf("answered after %v, before the %v that it may wait", waited, wait)
	}
	p := resp.Topics[0].Partitions[0]
	if resp.ErrorCode != 0 || p.ErrorCode != 0 || len(p.RecordBatches) != 0 || p.HighWatermark != 0 {
		t.Errorf("got %+v", resp)
	}
}

func fetchRequest(topic string, id kadm.TopicID, wait time.Duration) *kmsg.FetchRequest {
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	top := kmsg.NewFetchRequestTopic()
	top.Topic, top.TopicID, top.Partitions = topic, id, []kmsg.FetchRequestTopicPartition{p}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(wait.Milliseconds()), 1, 1<<20
	req.SessionEpoch = -1
	req.Topics = []kmsg.FetchRequestTopic{top}
	return req
}
