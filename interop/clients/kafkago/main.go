// Command kafkago is the suite's program for github.com/segmentio/kafka-go.
// --set auto-create=true lets its writer create the topic.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fanfold/fanfold/interop/driver"
	"github.com/segmentio/kafka-go"
)

func main() { driver.Main(client{}) }

type client struct{}

func writer(o driver.Options) (*kafka.Writer, error) {
	w := &kafka.Writer{
		Addr:                   kafka.TCP(o.Brokers),
		Topic:                  o.Topic,
		Balancer:               &kafka.Hash{},
		RequiredAcks:           kafka.RequireAll,
		BatchBytes:             2 << 20,
		BatchSize:              1000,
		BatchTimeout:           20 * time.Millisecond,
		AllowAutoTopicCreation: o.Set["auto-create"] == "true",
	}
	if o.Codec != "none" {
		if err := w.Compression.UnmarshalText([]byte(o.Codec)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// place is where a record stands in the tree.
type place struct{ file, record int }

// produceAtOnce is how many records one WriteMessages call takes. It returns
// when they are acknowledged.
const produceAtOnce = 20_000

func (client) Produce(ctx context.Context, o driver.Options, lines *driver.Lines, acked *driver.Acks) error {
	w, err := writer(o)
	if err != nil {
		return err
	}
	w.Completion = func(messages []kafka.Message, err error) {
		if err != nil {
			return // WriteMessages returns it
		}
		for _, m := range messages {
			at := m.WriterData.(place)
			acked.Add(int32(m.Partition), m.Offset, at.file, at.record)
		}
	}
	var batch []kafka.Message
	flush := func() error {
		err := w.WriteMessages(ctx, batch...)
		if err != nil {
			err = fmt.Errorf("files %s to %s: %w", batch[0].Key, batch[len(batch)-1].Key, err)
		}
		batch = batch[:0]
		return err
	}
	for line := range lines.All {
		batch = append(batch, kafka.Message{Key: line.Key, Value: line.Value, WriterData: place{line.File, line.Record}})
		if len(batch) < produceAtOnce {
			continue
		}
		if err := flush(); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if len(batch) > 0 {
		err = flush()
	}
	return errors.Join(err, w.Close())
}

func partitions(o driver.Options) ([]kafka.Partition, error) {
	conn, err := kafka.Dial("tcp", o.Brokers)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ReadPartitions(o.Topic)
}

func (client) Consume(ctx context.Context, o driver.Options, add func(driver.Record) error) error {
	parts, err := partitions(o)
	if err != nil {
		return err
	}
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i, p := range parts {
		all.Go(func() {
			if err := consumePartition(ctx, o, p.ID, add); err != nil {
				errs[i] = fmt.Errorf("partition %d: %w", p.ID, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func consumePartition(ctx context.Context, o driver.Options, p int, add func(driver.Record) error) error {
	conn, err := kafka.DialLeader(ctx, "tcp", o.Brokers, o.Topic, p)
	if err != nil {
		return err
	}
	first, end, err := conn.ReadOffsets()
	if err := errors.Join(err, conn.Close()); err != nil || first == end {
		return err
	}
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{o.Brokers}, Topic: o.Topic, Partition: p, MaxBytes: 10 << 20,
		QueueCapacity: 1000, MaxWait: time.Second,
	})
	defer r.Close()
	if err := r.SetOffset(first); err != nil {
		return err
	}
	for {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if err := add(record(m)); err != nil {
			return err
		}
		if m.Offset+1 >= end {
			return nil
		}
	}
}

func record(m kafka.Message) driver.Record {
	out := driver.Record{
		Partition: int32(m.Partition), Offset: m.Offset, Timestamp: m.Time.UnixMilli(), Key: m.Key, Value: m.Value,
	}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, driver.Header{Name: h.Key, Value: h.Value})
	}
	return out
}

func (client) Write(ctx context.Context, o driver.Options, records []driver.Record) error {
	w, err := writer(o)
	if err != nil {
		return err
	}
	w.Balancer = kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(m.WriterData.(int32)) })
	var messages []kafka.Message
	for _, r := range records {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Timestamp), WriterData: r.Partition}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		messages = append(messages, m)
	}
	err = w.WriteMessages(ctx, messages...)
	// The library leaves this to its users: a topic that the writer has
	// created may still be unknown, or without a leader, when it writes.
	for tries := 0; w.AllowAutoTopicCreation && tries < 100 && temporary(err); tries++ {
		time.Sleep(100 * time.Millisecond)
		err = w.WriteMessages(ctx, messages...)
	}
	return errors.Join(err, w.Close())
}

func temporary(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.LeaderNotAvailable)
}

func (client) Checks(ctx context.Context, o driver.Options, c *driver.Checks) {
	cl := &kafka.Client{Addr: kafka.TCP(o.Brokers), Timeout: 30 * time.Second}
	topic := o.Scratch + "-kafkago"
	c.Run("create topic", func() error {
		r, err := cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
			Topic: topic, NumPartitions: 2, ReplicationFactor: 1,
			ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "3600000"}},
		}}})
		if err != nil {
			return err
		}
		return r.Errors[topic]
	})
	c.Run("create partitions", func() error {
		r, err := cl.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 3}},
		})
		if err != nil {
			return err
		}
		return r.Errors[topic]
	})
	c.Settle("metadata", func() error {
		r, err := cl.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err == nil && (len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 3) {
			err = fmt.Errorf("%+v", r.Topics)
		}
		return err
	})
	c.Settle("describe configs", func() error { return describeConfigs(ctx, cl, topic) })
	c.Run("incremental alter configs", func() error {
		r, err := cl.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
				Configs: []kafka.IncrementalAlterConfigsRequestConfig{{
					Name: "retention.ms", Value: "7200000", ConfigOperation: kafka.ConfigOperationSet,
				}},
			}},
		})
		if err != nil {
			return err
		}
		return r.Resources[0].Error
	})
	c.Settle("list offsets", func() error {
		r, err := cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}},
		})
		if err == nil && (len(r.Topics[topic]) != 1 || r.Topics[topic][0].LastOffset != 0) {
			err = fmt.Errorf("%+v", r.Topics)
		}
		return err
	})
	c.Run("init producer id", func() error { return initProducerID(ctx, cl) })
	groupChecks(ctx, cl, topic, c)
	c.Run("delete topic", func() error {
		r, err := cl.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		return r.Errors[topic]
	})
}

// initProducerID asks for a producer id, which this library does of the
// coordinator of a transaction. A broker without transactions says so.
func initProducerID(ctx context.Context, cl *kafka.Client) error {
	r, err := cl.InitProducerID(ctx, &kafka.InitProducerIDRequest{})
	if errors.Is(err, kafka.UnsupportedVersion) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Error == nil && r.Producer.ProducerID < 0 {
		return fmt.Errorf("producer id %d", r.Producer.ProducerID)
	}
	return r.Error
}

func describeConfigs(ctx context.Context, cl *kafka.Client, topic string) error {
	r, err := cl.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}},
	})
	if err != nil {
		return err
	}
	for _, e := range r.Resources[0].ConfigEntries {
		if e.ConfigName == "retention.ms" && e.ConfigValue == "3600000" {
			return nil
		}
	}
	return fmt.Errorf("no retention.ms of 3600000: %+v", r.Resources[0].Error)
}
