package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// DeleteRecords (21), versions 0–2.
//
//	1    the client waits out a throttle
//	2    flexible

// deletedRecords is the outcome for one partition.
type deletedRecords struct {
	out          *kmsg.DeleteRecordsResponseTopicPartition
	lowWatermark int64
	err          error
}

func (c *conn) deleteRecords(ctx context.Context, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	image := c.srv.node.Image()
	count := 0
	for i := range req.Topics {
		count += len(req.Topics[i].Partitions)
	}
	outcomes := make(chan deletedRecords, count) // room for all: nobody blocks
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	waiting := 0
	for i := range req.Topics {
		asked, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = asked.Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(asked.Partitions))
		for j := range asked.Partitions {
			p := &out.Partitions[j]
			p.Partition, p.LowWatermark = asked.Partitions[j].Partition, -1
			r, err := c.srv.replicaByName(image, asked.Topic, p.Partition)
			if err != nil {
				p.ErrorCode, _ = protocol.ErrorOf(err)
				continue
			}
			waiting++
			p.ErrorCode, _ = protocol.ErrorOf(context.DeadlineExceeded) // until it is done
			r.DeleteRecords(asked.Partitions[j].Offset, func(low int64, err error) {
				outcomes <- deletedRecords{p, low, err}
			})
		}
	}
	for range waiting {
		select {
		case o := <-outcomes:
			o.out.ErrorCode, _ = protocol.ErrorOf(o.err)
			o.out.LowWatermark = o.lowWatermark
		case <-ctx.Done():
			return resp
		}
	}
	return resp
}
