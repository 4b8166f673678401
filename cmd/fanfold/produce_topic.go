package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// defaultMaxMessageBytes is Kafka's default of max.message.bytes, for
	// brokers that do not tell.
	defaultMaxMessageBytes = 1_048_588
	// appearing is how long a topic may take to appear after a broker was
	// told that it may create it; brokers say unknown at first.
	appearing = 3 * time.Second
	// appearInterval is how often the topic is asked for meanwhile.
	appearInterval = 50 * time.Millisecond
)

// prepareTopic waits until the topic exists and the partition asked for does,
// and returns the largest batch in bytes that it takes.
func (a *app) prepareTopic(ctx context.Context, f *produceFlags, source *recordSource, topic string) (int32, error) {
	limit := int32(defaultMaxMessageBytes)
	err := a.withClient(ctx, func(ctx context.Context, c *client) error {
		partitions, err := awaitTopic(ctx, c, topic, f.autoCreate)
		if err != nil {
			return err
		}
		if int(source.partition) >= partitions {
			return fmt.Errorf("topic %q has %s, numbered from 0, and no partition %d", topic, plural(int64(partitions), "partition"), source.partition)
		}
		limit = maxMessageBytes(ctx, c, topic)
		return nil
	})
	if f.batchBytes > 0 {
		limit = int32(f.batchBytes)
	}
	return limit, err
}

// awaitTopic asks for a topic until it is there, and returns the number of its
// partitions. Asking may create it.
func awaitTopic(ctx context.Context, c *client, topic string, create bool) (int, error) {
	deadline := time.Now().Add(appearing)
	for {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = create
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, c.Client)
		if err != nil {
			return 0, c.explain(ctx, "look for topic "+topic, err)
		}
		if len(resp.Topics) != 1 {
			return 0, fmt.Errorf("look for topic %s: the broker answers with %d topics", topic, len(resp.Topics))
		}
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		if err == nil {
			return len(resp.Topics[0].Partitions), nil
		}
		missing := errors.Is(err, kerr.UnknownTopicOrPartition)
		if !missing && !kerr.IsRetriable(err) || missing && !create || time.Now().After(deadline) {
			return 0, topicError(topic, err, "")
		}
		select {
		case <-time.After(appearInterval):
		case <-ctx.Done():
			return 0, c.explain(ctx, "look for topic "+topic, ctx.Err())
		}
	}
}

// maxMessageBytes is the topic's max.message.bytes, or Kafka's default where
// the broker does not tell.
func maxMessageBytes(ctx context.Context, c *client, topic string) int32 {
	resources, err := c.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return defaultMaxMessageBytes
	}
	resource, err := resources.On(topic, nil)
	if err != nil || resource.Err != nil {
		return defaultMaxMessageBytes
	}
	for _, config := range resource.Configs {
		if config.Key == "max.message.bytes" {
			return parseLimit(config)
		}
	}
	return defaultMaxMessageBytes
}

func parseLimit(config kadm.Config) int32 {
	n, err := strconv.ParseInt(config.MaybeValue(), 10, 32)
	if err != nil || n < 1 {
		return defaultMaxMessageBytes
	}
	return int32(n)
}
