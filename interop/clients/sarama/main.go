// Command sarama is the suite's program for github.com/IBM/sarama.
// --set version=V sets Config.Version, such as 1.0.0.0; without it the
// library's newest is used.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/fanfold/fanfold/interop/driver"
)

func main() { driver.Main(client{}) }

type client struct{}

func config(o driver.Options) (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	if v := o.Set["version"]; v != "" {
		version, err := sarama.ParseKafkaVersion(v)
		if err != nil {
			return nil, err
		}
		c.Version = version
	}
	if err := c.Producer.Compression.UnmarshalText([]byte(o.Codec)); err != nil {
		return nil, err
	}
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.MaxMessageBytes = 2 << 20
	c.Producer.Return.Successes = true
	return c, nil
}

// place is where a record stands in the tree.
type place struct{ file, record int }

func (client) Produce(ctx context.Context, o driver.Options, lines *driver.Lines, acked *driver.Acks) error {
	c, err := config(o)
	if err != nil {
		return err
	}
	p, err := sarama.NewAsyncProducer([]string{o.Brokers}, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := sync.WaitGroup{}
	done.Go(func() {
		for m := range p.Successes() {
			at := m.Metadata.(place)
			acked.Add(m.Partition, m.Offset, at.file, at.record)
		}
	})
	done.Go(func() {
		for e := range p.Errors() {
			key, _ := e.Msg.Key.Encode()
			cancel(fmt.Errorf("partition %d file %s record %d: %w", e.Msg.Partition, key, e.Msg.Metadata.(place).record, e.Err))
		}
	})
	for line := range lines.All {
		m := &sarama.ProducerMessage{
			Topic: o.Topic, Key: sarama.ByteEncoder(line.Key), Value: sarama.ByteEncoder(line.Value),
			Metadata: place{line.File, line.Record},
		}
		select {
		case p.Input() <- m:
			continue
		case <-ctx.Done():
		}
		break
	}
	p.AsyncClose()
	done.Wait()
	return context.Cause(ctx)
}

func (client) Consume(ctx context.Context, o driver.Options, add func(driver.Record) error) error {
	c, err := config(o)
	if err != nil {
		return err
	}
	cl, err := sarama.NewClient([]string{o.Brokers}, c)
	if err != nil {
		return err
	}
	defer cl.Close()
	partitions, err := cl.Partitions(o.Topic)
	if err != nil {
		return err
	}
	consumer, err := sarama.NewConsumerFromClient(cl)
	if err != nil {
		return err
	}
	defer consumer.Close()
	errs := make([]error, len(partitions))
	var all sync.WaitGroup
	for i, p := range partitions {
		all.Go(func() { errs[i] = consumePartition(ctx, cl, consumer, o.Topic, p, add) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func consumePartition(ctx context.Context, cl sarama.Client, consumer sarama.Consumer, topic string, p int32, add func(driver.Record) error) error {
	end, err := cl.GetOffset(topic, p, sarama.OffsetNewest)
	if err != nil {
		return err
	}
	first, err := cl.GetOffset(topic, p, sarama.OffsetOldest)
	if err != nil || first == end {
		return err
	}
	pc, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("partition %d: %w", p, err)
	}
	defer pc.AsyncClose()
	for {
		select {
		case m, ok := <-pc.Messages():
			if !ok {
				return fmt.Errorf("partition %d: closed before offset %d", p, end)
			}
			if err := add(record(m)); err != nil {
				return err
			}
			if m.Offset+1 >= end {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func record(m *sarama.ConsumerMessage) driver.Record {
	out := driver.Record{
		Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp.UnixMilli(), Key: m.Key, Value: m.Value,
	}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, driver.Header{Name: string(h.Key), Value: h.Value})
	}
	return out
}

func encoder(b []byte) sarama.Encoder {
	if b == nil {
		return nil
	}
	return sarama.ByteEncoder(b)
}

func (client) Write(_ context.Context, o driver.Options, records []driver.Record) error {
	c, err := config(o)
	if err != nil {
		return err
	}
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Flush.Frequency = 20 * time.Millisecond
	p, err := sarama.NewSyncProducer([]string{o.Brokers}, c)
	if err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		m := &sarama.ProducerMessage{
			Topic: o.Topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Timestamp),
			Key: encoder(r.Key), Value: encoder(r.Value),
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
		}
		messages = append(messages, m)
	}
	return errors.Join(p.SendMessages(messages), p.Close())
}

func (client) Checks(_ context.Context, o driver.Options, c *driver.Checks) {
	cfg, err := config(o)
	if err != nil {
		c.Run("config", func() error { return err })
		return
	}
	adm, err := sarama.NewClusterAdmin([]string{o.Brokers}, cfg)
	if err != nil {
		c.Run("connect", func() error { return err })
		return
	}
	defer adm.Close()
	topic, retention := o.Scratch+"-sarama", "3600000"
	c.Run("create topic", func() error {
		return adm.CreateTopic(topic, &sarama.TopicDetail{
			NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention},
		}, false)
	})
	c.Run("create partitions", func() error { return adm.CreatePartitions(topic, 4, nil, false) })
	c.Settle("describe topic", func() error { return describeTopic(adm, topic) })
	c.Settle("describe config", func() error {
		found, err := adm.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic}}, sarama.DescribeConfigsOptions{})
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].ErrorCode != sarama.ErrNoError {
			return fmt.Errorf("answered %+v", found)
		}
		entries := found[0].Configs
		for _, e := range entries {
			if e.Name == "retention.ms" && e.Value == retention {
				return nil
			}
		}
		return fmt.Errorf("no retention.ms of %s among %d", retention, len(entries))
	})
	c.Run("alter config", func() error {
		value := "7200000"
		return adm.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &value}, false)
	})
	c.Run("describe cluster", func() error {
		brokers, controller, err := adm.DescribeCluster()
		if err == nil && (len(brokers) != 1 || controller != brokers[0].ID()) {
			err = fmt.Errorf("%d brokers, controller %d", len(brokers), controller)
		}
		return err
	})
	c.Settle("describe log dirs", func() error { return describeLogDirs(adm) })
	c.Run("delete records", func() error { return deleteRecords(adm, cfg, o.Brokers, topic) })
	groupChecks(adm, cfg, o.Brokers, topic, c)
	c.Run("delete topic", func() error { return adm.DeleteTopic(topic) })
}

func describeTopic(adm sarama.ClusterAdmin, topic string) error {
	meta, err := adm.DescribeTopics([]string{topic})
	if err != nil {
		return err
	}
	if len(meta) != 1 || meta[0].Err != sarama.ErrNoError || len(meta[0].Partitions) != 4 {
		return fmt.Errorf("%d topics, error %v, %d partitions", len(meta), meta[0].Err, len(meta[0].Partitions))
	}
	return nil
}

func describeLogDirs(adm sarama.ClusterAdmin) error {
	brokers, _, err := adm.DescribeCluster()
	if err != nil {
		return err
	}
	dirs, err := adm.DescribeLogDirs([]int32{brokers[0].ID()})
	if err != nil {
		return err
	}
	for _, dir := range dirs[brokers[0].ID()] {
		if dir.ErrorCode == sarama.ErrNoError && dir.Path != "" {
			return nil
		}
	}
	return fmt.Errorf("no folder without an error: %v", dirs)
}

func deleteRecords(adm sarama.ClusterAdmin, cfg *sarama.Config, broker, topic string) error {
	cl, err := sarama.NewClient([]string{broker}, cfg)
	if err != nil {
		return err
	}
	defer cl.Close()
	p, err := sarama.NewSyncProducerFromClient(cl)
	if err != nil {
		return err
	}
	defer p.Close()
	m := &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("v")}
	partition, offset, err := p.SendMessage(m)
	if err != nil {
		return err
	}
	if err := adm.DeleteRecords(topic, map[int32]int64{partition: offset + 1}); err != nil {
		return err
	}
	oldest, err := cl.GetOffset(topic, partition, sarama.OffsetOldest)
	if err == nil && oldest != offset+1 {
		err = fmt.Errorf("partition %d starts at %d, not %d", partition, oldest, offset+1)
	}
	return err
}
