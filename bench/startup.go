package bench

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// retryEvery is how often FirstAck tries again.
const retryEvery = 2 * time.Millisecond

// FirstAck tries, until it succeeds, to write one record to a partition of a
// broker that may not even listen yet. It knows the partition's leader and
// needs no metadata. With create, it first creates the topic with one
// partition.
func FirstAck(ctx context.Context, address, topic string, partition int32, create bool) error {
	value := make([]byte, 100)
	newFiller(true).write(value, time.Now(), 0, 0)
	created := !create
	for {
		err := tryOnce(ctx, address, topic, partition, value, &created)
		if err == nil {
			return nil
		}
		if pause(ctx, time.Now().Add(retryEvery), nil) != nil {
			return fmt.Errorf("no acknowledgement: %w; the last attempt: %w", ctx.Err(), err)
		}
	}
}

func tryOnce(ctx context.Context, address, topic string, partition int32, value []byte, created *bool) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if !*created {
		if err := createOver(conn, topic); err != nil {
			return err
		}
		*created = true
	}
	k := newKafkaExchanger(conn, topic, partition, len(value))
	for {
		err := k.Exchange(value)
		if err == nil || !kerr.IsRetriable(err) || ctx.Err() != nil {
			return err
		}
		if err := pause(ctx, time.Now().Add(retryEvery), nil); err != nil {
			return err
		}
	}
}

// createOver creates a topic of one partition with version 4 of CreateTopics,
// the last before flexible ones.
func createOver(conn net.Conn, topic string) error {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 1, 1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.Topics, req.TimeoutMillis = 4, []kmsg.CreateTopicsRequestTopic{t}, 10_000
	answer, err := newWire(conn).ask(req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.CreateTopicsResponse)
	if len(resp.Topics) != 1 {
		return fmt.Errorf("the answer names %d topics", len(resp.Topics))
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil && err != kerr.TopicAlreadyExists {
		return err
	}
	return nil
}
