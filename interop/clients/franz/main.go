// Command franz is the suite's program for github.com/twmb/franz-go.
// It takes no --set.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fanfold/fanfold/interop/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() { driver.Main(client{}) }

type client struct{}

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.NoCompression(), fmt.Errorf("no codec %q", name)
}

func dial(o driver.Options, opts ...kgo.Opt) (*kgo.Client, error) {
	c, err := codec(o.Codec)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(o.Brokers),
		kgo.ProducerBatchCompression(c),
		kgo.ProducerBatchMaxBytes(2 << 20),
	}, opts...)...)
}

// firstError keeps the first of the errors of records in flight.
type firstError struct {
	once sync.Once
	err  error
}

func (f *firstError) set(err error) { f.once.Do(func() { f.err = err }) }

func (client) Produce(ctx context.Context, o driver.Options, lines *driver.Lines, acked *driver.Acks) error {
	cl, err := dial(o, kgo.DefaultProduceTopic(o.Topic))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed firstError
	for line := range lines.All {
		cl.Produce(ctx, &kgo.Record{Key: line.Key, Value: line.Value}, func(r *kgo.Record, err error) {
			if err != nil {
				failed.set(fmt.Errorf("partition %d file %s record %d: %w", r.Partition, line.Key, line.Record, err))
				cancel()
				return
			}
			acked.Add(r.Partition, r.Offset, line.File, line.Record)
		})
		if ctx.Err() != nil {
			break
		}
	}
	if err := cl.Flush(ctx); err != nil {
		failed.set(err)
	}
	return failed.err
}

func (client) Consume(ctx context.Context, o driver.Options, add func(driver.Record) error) error {
	cl, err := dial(o)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, o.Topic)
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, o.Topic)
	if err != nil {
		return err
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		return err
	}
	left := map[int32]int64{}
	offsets := map[int32]kgo.Offset{}
	ends.Each(func(e kadm.ListedOffset) {
		offsets[e.Partition] = kgo.NewOffset().AtStart()
		if first, _ := starts.Lookup(o.Topic, e.Partition); e.Offset > first.Offset {
			left[e.Partition] = e.Offset
		}
	})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: offsets})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		for r := range fetches.RecordsAll() {
			if err := add(record(r)); err != nil {
				return err
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

func record(r *kgo.Record) driver.Record {
	out := driver.Record{
		Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value,
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, driver.Header{Name: h.Key, Value: h.Value})
	}
	return out
}

func (client) Write(ctx context.Context, o driver.Options, records []driver.Record) error {
	cl, err := dial(o, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{
			Topic: o.Topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Timestamp), Key: r.Key, Value: r.Value,
		}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
	}
	return cl.ProduceSync(ctx, out...).FirstErr()
}

func (client) Checks(ctx context.Context, o driver.Options, c *driver.Checks) {
	cl, err := dial(o)
	if err != nil {
		c.Run("connect", func() error { return err })
		return
	}
	defer cl.Close()
	adm, topic := kadm.NewClient(cl), o.Scratch+"-franz"
	c.Run("create topic", func() error {
		r, err := adm.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("3600000")}, topic)
		if err == nil && r.NumPartitions != 3 {
			err = fmt.Errorf("%d partitions", r.NumPartitions)
		}
		return err
	})
	c.Settle("describe config", func() error {
		configs, err := adm.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		r, err := configs.On(topic, nil)
		if err != nil {
			return err
		}
		for _, e := range r.Configs {
			if e.Key == "retention.ms" && e.MaybeValue() == "3600000" {
				return r.Err
			}
		}
		return fmt.Errorf("no retention.ms of 3600000 among %d configs", len(r.Configs))
	})
	c.Settle("leader epoch's end", func() error {
		var req kadm.OffsetForLeaderEpochRequest
		meta, err := adm.Metadata(ctx, topic)
		if err != nil {
			return err
		}
		p := meta.Topics[topic].Partitions[0]
		req.Add(topic, 0, p.LeaderEpoch)
		r, err := adm.OffsetForLeaderEpoch(ctx, req)
		if err != nil {
			return err
		}
		if e := r[topic][0]; e.Err != nil || e.EndOffset != 0 {
			return fmt.Errorf("end offset %d, error %v", e.EndOffset, e.Err)
		}
		return nil
	})
	c.Run("delete topic", func() error {
		r, err := adm.DeleteTopic(ctx, topic)
		if err != nil {
			return err
		}
		return r.Err
	})
}
