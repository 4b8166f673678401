package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
)

// DescribeProducers (61), version 0 (KIP-664).

func (c *conn) describeProducers(_ context.Context, req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	image := c.srv.node.Image()
	req.Topics = firstOf(req.Topics, func(t *kmsg.DescribeProducersRequestTopic) string { return t.Topic })
	resp.Topics = make([]kmsg.DescribeProducersResponseTopic, len(req.Topics))
	for i := range req.Topics {
		asked, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = asked.Topic
		asked.Partitions = firstOf(asked.Partitions, func(p *int32) int32 { return *p })
		out.Partitions = make([]kmsg.DescribeProducersResponseTopicPartition, len(asked.Partitions))
		for j, number := range asked.Partitions {
			p := &out.Partitions[j]
			p.Partition = number
			r, err := c.srv.replicaByName(image, asked.Topic, number)
			if invalid := cluster.ValidateTopicName(asked.Topic); invalid != nil {
				err = invalid
			}
			if err == nil {
				p.ActiveProducers = activeProducers(r)
			}
			fillError(&p.ErrorCode, &p.ErrorMessage, err)
		}
	}
	return resp
}

func activeProducers(r Replica) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	producers := r.Producers()
	list := make([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, len(producers))
	for i, state := range producers {
		list[i] = kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: state.ProducerID, ProducerEpoch: int32(state.ProducerEpoch),
			LastSequence: state.LastSequence, LastTimestamp: state.LastTimestamp,
			CoordinatorEpoch: -1, CurrentTxnStartOffset: -1,
		}
	}
	return list
}
